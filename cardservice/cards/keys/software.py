# SPDX-License-Identifier: EUPL-1.2
"""Masters in the memory of this process, as the sealed file holds them."""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cardservice.cards.forbidden import why_forbidden
from cardservice.cards.keys.rules import USES, names_of
from cardservice.cards.ports import STANDARD, KeyName
from cardservice.chip.keys import (
    CardKey,
    MasterKey,
    SoftwareAesKey,
    SoftwareMasterKey,
    SoftwareWritableKey,
    WritableKey,
    an10922_aes128,
)
from cardservice.errors import KeyStoreError

KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True, repr=False)
class CardMaster:
    """One master key: of which use, for what, which generation (1..255), which protection class."""

    use: str
    purpose: str
    generation: int
    key: bytes = field(repr=False)
    protection: str = STANDARD

    def __repr__(self) -> str:
        return f"CardMaster({self.use}, {self.purpose}, generation {self.generation})"

    @property
    def name(self) -> KeyName:
        """What the master is called."""
        return KeyName(self.use, self.purpose, self.generation, self.protection)


class SoftwareMasters:
    """`ports.Masters` of a sealed file. Its repr shows nothing."""

    may_wait: Final = False

    def __init__(self, masters: Iterable[CardMaster], *, demonstration: bool = False) -> None:
        self._keys: Mapping[KeyName, bytes] = {one.name: one.key for one in masters}
        self._demonstration = demonstration

    def __repr__(self) -> str:
        return f"SoftwareMasters({len(self._keys)} masters)"

    def names(self) -> Collection[KeyName]:
        """See `ports.Masters.names`."""
        return self._keys.keys()

    def shared_key(self, name: KeyName) -> CardKey:
        """See `ports.Masters.shared_key`."""
        return SoftwareAesKey(self._key(name))

    def master(self, name: KeyName) -> MasterKey:
        """See `ports.Masters.master`."""
        return SoftwareMasterKey(self._key(name))

    def writable(self, name: KeyName, diversification_input: bytes | None) -> WritableKey:
        """See `ports.Masters.writable`."""
        key = self._key(name)
        if diversification_input is not None:
            key = an10922_aes128(SoftwareAesKey(key), diversification_input)
        require_allowed(name, key, demonstration=self._demonstration)
        return SoftwareWritableKey(key)

    def _key(self, name: KeyName) -> bytes:
        key = self._keys.get(name)
        if key is None:
            raise KeyStoreError(f"the key store holds no {name}")
        return key


def require_allowed(name: KeyName, key: bytes, *, demonstration: bool) -> None:
    """Refuse a key that everybody knows.

    Raises:
        KeyStoreError: it is one, or has not 16 bytes.
    """
    why = why_forbidden(key, demonstration=demonstration)
    if len(key) != KEY_BYTES or why:
        raise KeyStoreError(f"the {name.purpose} key of {name.use} is refused: {why or 'it is not 16 bytes long'}")


def generate(names: Iterable[KeyName], random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> list[CardMaster]:
    """Return fresh random masters; a key that everybody knows is thrown away and made anew.

    Raises:
        KeyStoreError: the source of random numbers gives nothing else.
    """
    masters = []
    for name in names:
        tried = (random_bytes(KEY_BYTES) for _ in range(100))
        key = next((key for key in tried if not why_forbidden(key)), None)
        if key is None:
            raise KeyStoreError("the source of random numbers gives known keys only; it is broken")
        masters.append(CardMaster(*name[:3], key, name.protection))
    return masters


def generate_masters(generation: int = 1) -> list[CardMaster]:
    """Return fresh random masters of every use and purpose."""
    return generate(name for use in USES for name in names_of(use, generation))
