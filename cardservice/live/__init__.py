# SPDX-License-Identifier: EUPL-1.2
"""Taps as they happen, for people who look after points: never who, and no more than the record keeps."""
