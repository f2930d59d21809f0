# SPDX-License-Identifier: EUPL-1.2
"""Encoding cards: personalised, erased and re-keyed by the centre through the reader of any agent."""
