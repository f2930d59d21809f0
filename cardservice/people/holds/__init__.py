# SPDX-License-Identifier: EUPL-1.2
"""Losses of many people at once that nobody believes: kept as they were until an administrator decides."""
