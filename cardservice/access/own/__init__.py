# SPDX-License-Identifier: EUPL-1.2
"""What somebody's own cards would do at the points of one use, for their own eyes."""
