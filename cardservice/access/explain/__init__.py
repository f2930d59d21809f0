# SPDX-License-Identifier: EUPL-1.2
"""Why a card is answered what it is answered at a point: every step, in the order of `docs/access.md`."""
