# SPDX-License-Identifier: EUPL-1.2
"""Four eyes: what somebody asks for, and what happens only once somebody else has approved exactly that."""
