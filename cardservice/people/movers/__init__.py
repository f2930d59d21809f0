# SPDX-License-Identifier: EUPL-1.2
"""Movers: whoever left a department group counts in it for a while longer, if they are in another one."""
