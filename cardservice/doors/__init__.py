# SPDX-License-Identifier: EUPL-1.2
"""Doors: strike, contact, request to exit, alarms, open once from the desk, lockdown."""
