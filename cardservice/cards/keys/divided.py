# SPDX-License-Identifier: EUPL-1.2
"""Masters in a token, shared keys in the sealed file.

A locate key is written to every card as it is, and no token enciphers a ChangeKey message: so its bytes are needed
where cards are made. It only lets its owner read a number; what makes a card genuine is derived inside the token.
"""

from collections.abc import Collection
from typing import Final

from cardservice.cards.keys.software import SoftwareMasters
from cardservice.cards.ports import KeyName, TokenKeys
from cardservice.chip.keys import CardKey, MasterKey, WritableKey
from cardservice.errors import KeyStoreError

SHARED: Final = "locate"


class DividedMasters:
    """`ports.Masters` of a token and a file."""

    # A token may be at the other end of a network.
    may_wait: Final = True

    def __init__(self, file: SoftwareMasters, token: TokenKeys) -> None:
        self._file, self._token = file, token

    def __repr__(self) -> str:
        return f"DividedMasters({self._token!r})"

    def names(self) -> Collection[KeyName]:
        """See `ports.Masters.names`."""
        return {*self._file.names(), *self._token.names()}

    def shared_key(self, name: KeyName) -> CardKey:
        """See `ports.Masters.shared_key`."""
        return self._file.shared_key(name)

    def master(self, name: KeyName) -> MasterKey:
        """See `ports.Masters.master`."""
        return self._token.master(name)

    def writable(self, name: KeyName, diversification_input: bytes | None) -> WritableKey:
        """See `ports.Masters.writable`."""
        if (name.purpose == SHARED) != (diversification_input is None):
            raise KeyStoreError(
                f"the {name} is {'the same on every card' if name.purpose == SHARED else 'of one card'}"
            )
        if diversification_input is None:
            return self._file.writable(name, None)
        return self._token.writable(name, diversification_input)
