# SPDX-License-Identifier: EUPL-1.2
"""The key store where it lies: opened, rotated, closed, shared anew, brought from elsewhere. With a token or without.

Every change is made while no other program changes the file. A token gets its new masters before the file names them,
and loses its old ones after: a crash between the two leaves a master too many, which the next change finds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cardservice.cards.keys import sealing
from cardservice.cards.keys.divided import SHARED, DividedMasters
from cardservice.cards.keys.rules import CARD, USES, Generation, names_of, next_number, open_numbers
from cardservice.cards.keys.sealing import Opened, ShareScheme
from cardservice.cards.keys.shares import ShareRefused
from cardservice.cards.keys.software import CardMaster, SoftwareMasters, generate, require_allowed
from cardservice.cards.keystore import Contents, SealedKeyStore, new_contents, require_ours
from cardservice.cards.ports import KeyName, TokenKeys
from cardservice.errors import Conflict, KeyStoreError


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """What opens a file besides its passphrase, and how it is shared."""

    scheme: ShareScheme
    secret: bytes

    def __repr__(self) -> str:
        return f"SharedSecret({self.scheme})"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Where the keys lie. `token` None: all of them in the file."""

    path: Path
    passphrase: Callable[[], bytes]
    token: TokenKeys | None = None
    demonstration_allowed: bool = False

    def load(self) -> SealedKeyStore:
        """Return the keys.

        Raises:
            KeyStoreError: the file cannot be opened, or the token lacks a master of an open generation.
        """
        return self._store(self._contents(self._opened()))

    def scheme(self) -> ShareScheme | None:
        """Return how the file can be opened by shares, None: it cannot. Raises KeyStoreError: there is no file."""
        return sealing.scheme_of(self.path)

    def create(self, system_id: bytes, shared: SharedSecret | None, made_ms: int) -> SealedKeyStore:
        """Make a key store with the first generation of everything.

        Raises:
            KeyStoreError: there is one already, or the token refuses.
        """
        if self.path.exists():
            raise KeyStoreError(f"key store {self.path} exists already; it is never overwritten")
        names = [name for use in (*USES, CARD) for name in names_of(use, 1)]
        contents = replace(new_contents(system_id, self._made(names), made_ms=made_ms), token=self.token is not None)
        contents = replace(contents, generations=tuple(Generation(use, 1, made_ms) for use in (*USES, CARD)))
        opened = sealing.new(self.passphrase(), contents.document())
        if shared is not None:
            opened = opened.with_shares(shared.scheme, shared.secret)
        sealing.write_new(self.path, opened)
        return self._store(contents)

    def rotate(self, use: str, shared_secret: bytes | None, made_ms: int) -> int:
        """Make the next generation of a use; return its number.

        Raises:
            Conflict: two generations are open already.
            KeyStoreError: the file is opened by shares, and this is not what they make.
        """
        with sealing.changing(self.path):
            opened = self._opened()
            _require_shares(opened, shared_secret)
            contents = self._contents(opened)
            try:
                number = next_number(contents.generations, use)
            except ValueError as error:
                raise Conflict(str(error)) from None
            masters = self._made(names_of(use, number))
            self._write(opened, contents.with_generation(Generation(use, number, made_ms), masters))
        return number

    def close(self, due: Sequence[tuple[str, int, int]]) -> None:
        """Close generations (use, number, when): their masters are gone from file and token.

        Raises:
            KeyStoreError: the file cannot be changed, or the token refuses.
        """
        with sealing.changing(self.path):
            opened = self._opened()
            before = contents = self._contents(opened)
            for use, number, at_ms in due:
                contents = contents.without_generation(use, number, at_ms)
            if contents != before:
                # Else somebody else was faster: a running service looks every few seconds.
                self._write(opened, contents)
            if self.token is not None:
                gone = [name for use, number, _ in due for name in names_of(use, number) if name.purpose != SHARED]
                self.token.remove(gone)

    def require_opened_by(self, shared_secret: bytes) -> None:
        """Refuse shares that do not open the file. Raises ShareRefused, KeyStoreError."""
        _require_shares(self._opened(), shared_secret)

    def share_anew(self, shared_secret: bytes | None, fresh: SharedSecret) -> None:
        """Have other shares open the file from now on, and the old ones no more.

        Raises:
            KeyStoreError: this is not what opens it now.
        """
        with sealing.changing(self.path):
            opened = self._opened()
            _require_shares(opened, shared_secret)
            newest = self._newest_format(opened)
            sealing.rewrite(self.path, newest.with_shares(fresh.scheme, fresh.secret))

    def bring_in(self, source: Path, shared_secret: bytes) -> SealedKeyStore:
        """Make this installation's key store of a copy that its shares open; with a token, the masters move into it.

        Raises:
            KeyStoreError: there is a key store already, these shares do not open the copy, or a key is forbidden.
        """
        opened = sealing.open_with_shares(source, shared_secret)
        contents = Contents.of(opened.content)
        require_ours(source, contents, demonstration_allowed=self.demonstration_allowed)
        for master in contents.masters:
            require_allowed(master.name, master.key, demonstration=contents.demonstration)
        if contents.token and self.token is None:
            raise KeyStoreError(
                f'the masters of {source} are in a token; set keys.masters to "pkcs11" and name the token'
            )
        if self.path.exists():
            raise KeyStoreError(f"key store {self.path} exists already; it is never overwritten")
        if self.token is not None and not contents.token:
            contents = self._moved(contents, self.token)
        sealing.write_new(
            self.path, sealing.with_passphrase(opened.with_content(contents.document()), self.passphrase())
        )
        return self.load()

    def _moved(self, contents: Contents, token: TokenKeys) -> Contents:
        here = token.names()
        for master in contents.masters:
            if master.name.purpose != SHARED and master.name not in here:
                token.put(master.name, master.key)
        shared = tuple(one for one in contents.masters if one.purpose == SHARED)
        return replace(contents, masters=shared, token=True)

    def _made(self, names: Sequence[KeyName]) -> list[CardMaster]:
        if self.token is None:
            return generate(names)
        self.token.make([name for name in names if name.purpose != SHARED])
        return generate(name for name in names if name.purpose == SHARED)

    def _opened(self) -> Opened:
        return sealing.open_file(self.path, self.passphrase())

    def _contents(self, opened: Opened) -> Contents:
        contents = Contents.of(opened.content)
        require_ours(self.path, contents, demonstration_allowed=self.demonstration_allowed)
        if contents.token != (self.token is not None):
            where, said = ("a token", "sealed") if contents.token else ("the file", "pkcs11")
            raise KeyStoreError(
                f"the masters of key store {self.path} are in {where}, but keys.masters says {said!r}; "
                "'cardservice keys import' moves them from a file into a token"
            )
        return contents

    def _store(self, contents: Contents) -> SealedKeyStore:
        if self.token is None:
            return SealedKeyStore.of(contents)
        here = self.token.names()
        for name in _in_token(contents):
            if name not in here:
                raise KeyStoreError(f"the token holds no {name}, which key store {self.path} names")
        shared = SoftwareMasters(contents.masters, demonstration=contents.demonstration)
        return SealedKeyStore.of(contents, DividedMasters(shared, self.token))

    def _write(self, opened: Opened, contents: Contents) -> None:
        sealing.rewrite(self.path, self._newest_format(opened).with_content(contents.document()))

    def _newest_format(self, opened: Opened) -> Opened:
        if opened.header.get("format") == sealing.FORMAT:
            return opened
        # An older file has no key of its own yet; it gets one with the first change.
        return sealing.with_passphrase(opened, self.passphrase())


def _in_token(contents: Contents) -> list[KeyName]:
    return [
        name
        for use in (*USES, CARD)
        for number in open_numbers(contents.generations, use)
        for name in names_of(use, number)
        if name.purpose != SHARED
    ]


def _require_shares(opened: Opened, shared_secret: bytes | None) -> None:
    if opened.shares is not None and (shared_secret is None or not opened.is_opened_by(shared_secret)):
        raise ShareRefused("these shares do not open this key store; nothing was changed")


def check_values(store: SealedKeyStore) -> Mapping[str, str]:
    """Return what a ceremony's record names each open master by: a digest that tells nothing of it.

    It is of a card's key that no card has; so a token can be asked for it too, and two stores can be compared.
    """
    found = {}
    for use in USES:
        for number in open_numbers(store.generations, use):
            for name in names_of(use, number):
                key = store.application_key(name, bytes(12))
                found[str(name)] = key.cmac(b"cardservice check value")[:4].hex().upper()
    for number in open_numbers(store.generations, CARD):
        key = store.picc_key(number, bytes(12))
        found[str(names_of(CARD, number)[0])] = key.cmac(b"cardservice check value")[:4].hex().upper()
    return found
