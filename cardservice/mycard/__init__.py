# SPDX-License-Identifier: EUPL-1.2
"""My card: what is stored about whoever is signed in, who looked at it, why they were refused, and reporting a loss."""
