# SPDX-License-Identifier: EUPL-1.2
"""The authorization path: who may do what, where and when."""
