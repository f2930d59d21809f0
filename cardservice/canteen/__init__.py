# SPDX-License-Identifier: EUPL-1.2
"""Paying in the canteen, from a wallet per person."""
