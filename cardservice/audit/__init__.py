# SPDX-License-Identifier: EUPL-1.2
"""The record of what was asked for and looked up: its open part, and its sealed part for two people at once."""
