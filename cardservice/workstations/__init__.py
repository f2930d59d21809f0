# SPDX-License-Identifier: EUPL-1.2
"""Workstations: the holder's own session is unlocked by the card in the reader, and locked when it is taken away."""
