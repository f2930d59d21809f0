# SPDX-License-Identifier: EUPL-1.2
"""The life of cards: giving, replacing, standing in for one another, taking back; and what is in stock."""
