# SPDX-License-Identifier: EUPL-1.2
"""Options of points: what one may be, whichever place they are of."""
