# SPDX-License-Identifier: EUPL-1.2
"""Doors: the first place of use."""
