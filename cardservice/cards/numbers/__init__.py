# SPDX-License-Identifier: EUPL-1.2
"""Numbers of cards that were there before: how they are written, and what is meant by them."""
