# SPDX-License-Identifier: EUPL-1.2
"""Cards, their credentials and the keys that prove them."""
