# SPDX-License-Identifier: EUPL-1.2
"""People and groups, kept current with the corporate directory."""
