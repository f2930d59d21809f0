# SPDX-License-Identifier: EUPL-1.2
"""The append-only record of what was decided."""
