# SPDX-License-Identifier: EUPL-1.2
"""The keys of the cards: how they are sealed, made by several people, rotated, and which card has which generation."""
