# SPDX-License-Identifier: EUPL-1.2
"""Masters of the cards in a PKCS#11 token; the one place that imports its library."""

from integrations.pkcs11.masters import TokenMasters
from integrations.pkcs11.token import Token, TokenSettings

__all__ = ["Token", "TokenMasters", "TokenSettings"]
