# SPDX-License-Identifier: EUPL-1.2
"""The central service of the one-card system."""

__version__ = "0.1.0"
