# SPDX-License-Identifier: EUPL-1.2
"""The time clock: a tap books that somebody came, went or has a break, exactly once, and shows the day's total."""
