# SPDX-License-Identifier: EUPL-1.2
"""What is kept about people ends by itself: which table holds what for how long, and what erases it."""
