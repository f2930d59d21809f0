# SPDX-License-Identifier: EUPL-1.2
"""`cardservice.cards.ports.Masters` in a token: masters never leave it, and cards' keys are derived inside it.

AN10922 of two blocks is one CBC encryption under the master: the token does it by CKM_AES_CBC_ENCRYPT_DATA, and what
comes of it is a key in the token that cannot be read. K1 and K2, which the padding needs, come from one ECB of zeros;
so a master has the rights to derive and to encrypt, and whoever is logged in to the token could have it make any card's
key.
"""

import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as p11

from cardservice.cards.ports import KeyName, KeyRefused, TokenTrouble
from cardservice.chip.keys import (
    BLOCK_BYTES,
    CardKey,
    MasterKey,
    SoftwareWritableKey,
    WritableKey,
    an10922_blocks,
    cmac_subkeys_of,
)
from integrations.pkcs11.token import Token

_PREFIX: Final = "cardservice"
_ZEROS: Final = bytes(BLOCK_BYTES)
_USABLE: Final[dict[Attribute, Any]] = {
    Attribute.TOKEN: False,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.ENCRYPT: True,
    Attribute.DECRYPT: True,
    Attribute.SIGN: True,
    Attribute.DERIVE: False,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
}
# A master derives and encrypts, and nobody can read it, give it away or change what it may do.
_MASTER: Final[dict[Attribute, Any]] = {
    Attribute.DERIVE: True,
    Attribute.ENCRYPT: True,
    Attribute.SENSITIVE: True,
    Attribute.PRIVATE: True,
    Attribute.DECRYPT: False,
    Attribute.SIGN: False,
    Attribute.EXTRACTABLE: False,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
    Attribute.MODIFIABLE: False,
}
# The rights that no master may have: with one of them it could be read or given away.
_MUST_NOT: Final = (Attribute.EXTRACTABLE, Attribute.WRAP, Attribute.UNWRAP)

# Told of a check value (the first block of zeros enciphered): why the key is known to everybody, None if it is not.
WhyForbidden = Callable[[bytes], str | None]


class TokenMasters:
    """The masters of one token. May be used from many threads."""

    def __init__(self, token: Token, why_forbidden: WhyForbidden, *, why_key_forbidden: WhyForbidden) -> None:
        self._token, self._why, self._why_key = token, why_forbidden, why_key_forbidden

    def __repr__(self) -> str:
        return f"TokenMasters({self._token!r})"

    def names(self) -> Collection[KeyName]:
        """See `ports.Masters.names`."""

        def listed(session: pkcs11.Session, _: int) -> set[KeyName]:
            labels = [
                str(one[Attribute.LABEL]) for one in session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
            ]
            return {name for label in labels if (name := _name_of(label)) is not None}

        return self._token.run(listed)

    def master(self, name: KeyName) -> MasterKey:
        """See `ports.Masters.master`."""
        return _TokenMaster(self._checked(name))

    def writable(self, name: KeyName, diversification_input: bytes) -> WritableKey:
        """See `ports.TokenKeys.writable`.

        Raises:
            KeyRefused: the master is not there, or everybody knows what came of it.
        """
        stored = self._checked(name)
        key = stored.encrypt_cbc_from_zeros(*an10922_blocks(stored.subkeys(), diversification_input))
        why = self._why_key(key)
        if why:
            raise KeyRefused(f"the {name.purpose} key of {name.use} is refused: {why}")
        return SoftwareWritableKey(key)

    def make(self, names: Collection[KeyName]) -> None:
        """Generate masters inside the token, which nobody can ever read; those that are there already stay.

        Raises:
            KeyRefused: the token made a key that everybody knows.
        """
        here = self.names()
        for name in names:
            if name in here:
                continue

            def generated(session: pkcs11.Session, _: int, name: KeyName = name) -> None:
                session.generate_key(KeyType.AES, 128, label=_label(name), store=True, template=_MASTER)

            self._token.run(generated)
            self._checked(name)

    def put(self, name: KeyName, key: bytes) -> None:
        """Import a master, which nobody can read from then on. Raises KeyRefused: it is there, or known."""
        why = self._why_key(key)
        if why:
            raise KeyRefused(f"the {name.purpose} key of {name.use} is refused: {why}")
        if name in self.names():
            raise KeyRefused(f"the token holds the {name} already; it is never overwritten")
        template = _MASTER | {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.TOKEN: True,
            Attribute.LABEL: _label(name),
            Attribute.VALUE: key,
        }
        self._token.run(lambda session, _: session.create_object(template))

    def remove(self, names: Collection[KeyName]) -> None:
        """Destroy masters; those that are not there are gone already."""
        for name in names:

            def destroyed(session: pkcs11.Session, _: int, name: KeyName = name) -> None:
                for one in session.get_objects(
                    {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: _label(name)}
                ):
                    one.destroy()

            self._token.run(destroyed)

    def _checked(self, name: KeyName) -> "_Stored":
        stored = _Stored(self._token, name)
        for attribute in _MUST_NOT:
            if stored.has(attribute):
                raise KeyRefused(f"the {name} could be taken out of the token ({attribute.name}); it is refused")
        why = self._why(stored.encrypt_cbc_from_zeros(_ZEROS))
        if why:
            raise KeyRefused(f"the {name.purpose} key of {name.use} is refused: {why}")
        return stored


def _label(name: KeyName) -> str:
    return f"{_PREFIX} {name.use} {name.purpose} {name.generation} {name.protection}"


def _name_of(label: str) -> KeyName | None:
    parts = label.split(" ")
    if len(parts) != 5 or parts[0] != _PREFIX or not parts[3].isdecimal():
        return None
    return KeyName(parts[1], parts[2], int(parts[3]), parts[4])


class _Stored:
    """A key that lies in the token; found anew after each new session."""

    def __init__(self, token: Token, name: KeyName) -> None:
        self.token, self.name = token, name
        self._found: tuple[int, Any] | None = None
        self._subkeys: tuple[bytes, bytes] | None = None

    def __repr__(self) -> str:
        return f"_Stored({self.name})"

    def handle(self, session: pkcs11.Session, epoch: int) -> Any:
        """Return the key of this session."""
        found = self._found
        if found is None or found[0] != epoch:
            found = self._found = (epoch, self._find(session))
        return found[1]

    def has(self, attribute: Attribute) -> bool:
        """Tell whether the key may be used so."""
        return bool(self.token.run(lambda session, epoch: self.handle(session, epoch)[attribute]))

    def encrypt_cbc_from_zeros(self, first: bytes, last: bytes = b"") -> bytes:
        """Return the last block of CBC over one or two blocks; of one, that is ECB."""

        def enciphered(session: pkcs11.Session, epoch: int) -> bytes:
            key = self.handle(session, epoch)
            whole = key.encrypt(first + last, mechanism=Mechanism.AES_CBC, mechanism_param=_ZEROS)
            return bytes(whole)[-BLOCK_BYTES:]

        return self.token.run(enciphered)

    def subkeys(self) -> tuple[bytes, bytes]:
        """Return K1 and K2 of CMAC; asked of the token once."""
        if self._subkeys is None:
            self._subkeys = cmac_subkeys_of(self.encrypt_cbc_from_zeros(_ZEROS))
        return self._subkeys

    def _find(self, session: pkcs11.Session) -> Any:
        try:
            return session.get_key(ObjectClass.SECRET_KEY, KeyType.AES, label=_label(self.name))
        except p11.NoSuchKey:
            raise TokenTrouble(f"the token holds no {self.name}") from None
        except p11.MultipleObjectsReturned:
            raise TokenTrouble(f"the token holds more than one {self.name}") from None


@dataclass(frozen=True, slots=True)
class _TokenMaster:
    """`MasterKey` of a key that lies in the token."""

    stored: _Stored

    def diversify(self, diversification_input: bytes) -> CardKey:
        return _Derived(self.stored, an10922_blocks(self.stored.subkeys(), diversification_input))


class _Derived:
    """One card's key, made inside the token and gone from it with this object; made again after each new session."""

    def __init__(self, stored: _Stored, blocks: tuple[bytes, bytes]) -> None:
        self._stored, self._blocks = stored, blocks
        self._made: tuple[int, Any] | None = None

    def __repr__(self) -> str:
        return "_Derived(<hidden>)"

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        return self._stored.token.run(lambda session, epoch: _cbc(self._handle(session, epoch), iv, data))

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        return self._stored.token.run(lambda session, epoch: _uncbc(self._handle(session, epoch), iv, data))

    def cmac(self, data: bytes) -> bytes:
        return self._stored.token.run(lambda session, epoch: _cmac(self._handle(session, epoch), data))

    def _handle(self, session: pkcs11.Session, epoch: int) -> Any:
        made = self._made
        if made is None or made[0] != epoch:
            key = self._derived(session, epoch)
            weakref.finalize(self, self._stored.token.discard, key, epoch).atexit = False
            made = self._made = (epoch, key)
        return made[1]

    def _derived(self, session: pkcs11.Session, epoch: int) -> Any:
        master = self._stored.handle(session, epoch)
        first, last = self._blocks
        start = bytes(master.encrypt(first, mechanism=Mechanism.AES_CBC, mechanism_param=_ZEROS))
        return master.derive_key(
            KeyType.AES, 128, mechanism=Mechanism.AES_CBC_ENCRYPT_DATA, mechanism_param=(start, last), template=_USABLE
        )


def _cbc(key: Any, iv: bytes, data: bytes) -> bytes:
    return bytes(key.encrypt(data, mechanism=Mechanism.AES_CBC, mechanism_param=iv))


def _uncbc(key: Any, iv: bytes, data: bytes) -> bytes:
    return bytes(key.decrypt(data, mechanism=Mechanism.AES_CBC, mechanism_param=iv))


def _cmac(key: Any, data: bytes) -> bytes:
    return bytes(key.sign(data, mechanism=Mechanism.AES_CMAC))
