# SPDX-License-Identifier: EUPL-1.2
"""Reviews of grants: their owners say what is still needed; what nobody answers for ends by itself."""
