# SPDX-License-Identifier: EUPL-1.2
"""Reader agents: the wire, who they are, and what they may do."""
