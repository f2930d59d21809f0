# SPDX-License-Identifier: EUPL-1.2
"""The key store: master keys of the cards with their generations, and the service's own secrets.

What it knows lies in one sealed file (`keys/sealing.py`). The masters lie there too, or in a PKCS#11 token: both are
behind `ports.Masters`. Nothing is ever printed, logged or handed out: callers get keys they can use, not bytes they
can read.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cardservice.cards.keys import sealing
from cardservice.cards.keys.rules import CARD, MAX_OPEN, PICC, PURPOSES, USES, Generation, open_numbers
from cardservice.cards.keys.software import CardMaster, SoftwareMasters, generate_masters, require_allowed
from cardservice.cards.ports import STANDARD, KeyName, Masters
from cardservice.chip.keys import CardKey, MasterKey, WritableKey
from cardservice.chip.layout import CardUse, diversification_input
from cardservice.errors import KeyStoreError

__all__ = [
    "PURPOSES",
    "USES",
    "CardMaster",
    "Contents",
    "SealedKeyStore",
    "UseKeyRing",
    "create",
    "generate_masters",
    "open_store",
]
_PICC_AID: Final = bytes(3)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a sealed file holds. `generations` names every one there ever was; `masters` are those kept in the file."""

    root: bytes = field(repr=False)
    system_id: bytes
    demonstration: bool
    masters: tuple[CardMaster, ...]
    generations: tuple[Generation, ...]
    # The masters are in a token.
    token: bool = False

    def document(self) -> Mapping[str, Any]:
        """Return it as the file says it."""
        return {
            "demonstration": self.demonstration,
            "root": self.root.hex(),
            "system_id": self.system_id.hex(),
            "token": self.token,
            "masters": [{**one.name._asdict(), "key": one.key.hex()} for one in self.masters],
            "generations": [
                {
                    "use": one.use,
                    "number": one.number,
                    "made_ms": one.made_ms,
                    "closed_ms": one.closed_ms,
                    "protection": one.protection,
                }
                for one in self.generations
            ],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Contents":
        """Return what a file says; of an older one, no generation's date is known.

        Raises:
            KeyStoreError: it is none of ours, although it was sealed with the right key.
        """
        try:
            masters = tuple(
                CardMaster(
                    m["use"], m["purpose"], m["generation"], bytes.fromhex(m["key"]), m.get("protection", STANDARD)
                )
                for m in document["masters"]
            )
            known = {(one.use, one.generation, one.protection) for one in masters}
            said = [Generation(**one) for one in document.get("generations", ())]
            older = sorted(known - {(one.use, one.number, one.protection) for one in said})
            return cls(
                bytes.fromhex(document["root"]),
                bytes.fromhex(document["system_id"]),
                bool(document["demonstration"]),
                masters,
                (*said, *(Generation(use, number, None, None, protection) for use, number, protection in older)),
                bool(document.get("token", False)),
            )
        except (KeyError, TypeError, ValueError):
            raise KeyStoreError("the key store was sealed by another program; it cannot be read") from None

    def with_generation(self, made: Generation, masters: Sequence[CardMaster]) -> "Contents":
        """Return it with one more generation."""
        return replace(self, generations=(*self.generations, made), masters=(*self.masters, *masters))

    def without_generation(self, use: str, number: int, at_ms: int) -> "Contents":
        """Return it with a generation closed and its masters gone."""
        return replace(
            self,
            generations=tuple(
                replace(one, closed_ms=at_ms)
                if (one.use, one.number) == (use, number) and one.closed_ms is None
                else one
                for one in self.generations
            ),
            masters=tuple(one for one in self.masters if (one.use, one.generation) != (use, number)),
        )


class UseKeyRing:
    """The keys of one use that a tap needs (`chip.locate.UseKeys`)."""

    def __init__(self, locate: Sequence[CardKey], proof: Mapping[int, MasterKey]) -> None:
        self._locate, self._proof = tuple(locate), dict(proof)

    @property
    def locate(self) -> Sequence[CardKey]:
        """The locate keys, newest first."""
        return self._locate

    def proof(self, generation: int) -> MasterKey | None:
        """Return the proof master of `generation`, None if it is unknown or closed."""
        return self._proof.get(generation)


class SealedKeyStore:
    """An opened key store (`ports.KeyStore`)."""

    def __init__(
        self, root: bytes, system_id: bytes, masters: Sequence[CardMaster], *, demonstration: bool = False
    ) -> None:
        made = sorted({(one.use, one.generation, one.protection) for one in masters})
        generations = tuple(Generation(use, number, None, None, protection) for use, number, protection in made)
        self._secrets: dict[str, bytes] = {}
        self.use(Contents(root, system_id, demonstration, tuple(masters), generations))

    @classmethod
    def of(cls, contents: Contents, masters: Masters | None = None) -> "SealedKeyStore":
        """Return the store of a file that was opened; `masters` are those of a token, None: those of the file itself.

        Raises:
            KeyStoreError: a master that an open generation needs is not in the token.
        """
        store = cls(contents.root, contents.system_id, ())
        store.use(contents, masters)
        return store

    def use(self, contents: Contents, masters: Masters | None = None) -> None:
        """Use what a file holds from now on."""
        self._contents = contents
        self._masters = masters or SoftwareMasters(contents.masters, demonstration=contents.demonstration)
        self._rings = {use: self._ring_of(use) for use in USES}

    def take_over(self, newer: "SealedKeyStore") -> None:
        """Use what the same key store holds by now: generations come and go, the rest of it never changes.

        Raises:
            KeyStoreError: it is another one.
        """
        same = (newer.system_id, newer.secret("")) == (self.system_id, self.secret(""))
        if not same:
            raise KeyStoreError("the file holds another key store; restart the service to use it")
        self.use(newer._contents, newer._masters)  # noqa: SLF001  # another of its own class

    def __repr__(self) -> str:
        return f"SealedKeyStore(demonstration={self.demonstration})"

    @property
    def system_id(self) -> bytes:
        """See `ports.KeyStore.system_id`."""
        return self._contents.system_id

    @property
    def demonstration(self) -> bool:
        """Whether these are the published demonstration keys."""
        return self._contents.demonstration

    @property
    def generations(self) -> Sequence[Generation]:
        """Every generation there ever was."""
        return self._contents.generations

    @property
    def may_wait(self) -> bool:
        """See `ports.KeyStore.may_wait`."""
        return self._masters.may_wait

    def ring(self, use: str) -> UseKeyRing:
        """Return the keys of one use.

        Raises:
            KeyStoreError: the use has no keys here.
        """
        ring = self._rings.get(use)
        if ring is None or not ring.locate:
            raise KeyStoreError(f"the key store holds no keys for {use!r}")
        return ring

    def secret(self, purpose: str) -> bytes:
        """Return the service's own 32-byte secret for `purpose` (HKDF-SHA-256, RFC 5869)."""
        known = self._secrets.get(purpose)
        if known is None:
            hkdf = HKDF(hashes.SHA256(), length=32, salt=None, info=b"cardservice " + purpose.encode())
            known = self._secrets[purpose] = hkdf.derive(self._contents.root)
        return known

    def newest(self, use: str) -> int:
        """See `ports.KeyStore.newest`."""
        accepted = open_numbers(self._contents.generations, use)
        if not accepted:
            raise KeyStoreError(f"the key store holds no keys for {use!r}; 'cardservice keys rotate {use}' makes them")
        return accepted[0]

    def application_key(self, name: KeyName, number: bytes) -> WritableKey:
        """See `ports.KeyStore.application_key`.

        Raises:
            KeyStoreError: there is no such key, its generation is closed, or everybody knows what came of it.
            ValueError: a number of another length, or a use without an application.
        """
        self._require_open(name)
        if name.purpose == "locate":
            return self._masters.writable(name, None)
        message = diversification_input(number, CardUse(name.use), self.system_id)
        return self._masters.writable(name, message)

    def picc_key(self, generation: int, badge_number: bytes) -> WritableKey:
        """See `ports.KeyStore.picc_key`.

        Raises:
            KeyStoreError: there is no such key, or everybody knows what came of it.
            ValueError: a badge number of another length.
        """
        if len(badge_number) != 12:
            raise ValueError(f"a badge number has 12 bytes, not {len(badge_number)}")
        name = KeyName(CARD, PICC, generation)
        self._require_open(name)
        return self._masters.writable(name, badge_number + _PICC_AID + self.system_id)

    def _require_open(self, name: KeyName) -> None:
        if name.generation not in open_numbers(self._contents.generations, name.use, name.protection):
            raise KeyStoreError(f"the key store holds no {name} that is open")

    def _ring_of(self, use: str) -> UseKeyRing:
        here = self._masters.names()
        accepted = open_numbers(self._contents.generations, use)
        locate = [KeyName(use, "locate", number) for number in accepted]
        proof = {number: KeyName(use, "proof", number) for number in accepted}
        return UseKeyRing(
            [self._masters.shared_key(name) for name in locate if name in here][:MAX_OPEN],
            {number: self._masters.master(name) for number, name in proof.items() if name in here},
        )


def create(  # noqa: PLR0913  # one file, described once
    path: Path,
    passphrase: bytes,
    *,
    system_id: bytes,
    masters: Sequence[CardMaster],
    demonstration: bool = False,
    made_ms: int | None = None,
) -> None:
    """Write a new key store, mode 0600.

    Raises:
        KeyStoreError: the file exists, the system id is not 1 to 16 bytes, or a key is forbidden.
    """
    contents = new_contents(system_id, masters, demonstration=demonstration, made_ms=made_ms)
    sealing.write_new(path, sealing.new(passphrase, contents.document()))


def new_contents(
    system_id: bytes, masters: Sequence[CardMaster], *, demonstration: bool = False, made_ms: int | None = None
) -> Contents:
    """Return what a new file holds: these masters and a fresh root of the service's own secrets.

    Raises:
        KeyStoreError: the system id is not 1 to 16 bytes, or a key is forbidden.
    """
    if not 1 <= len(system_id) <= 16:
        raise KeyStoreError(f"a system id of {len(system_id)} bytes; allowed are 1 to 16")
    for master in masters:
        require_allowed(master.name, master.key, demonstration=demonstration)
    made = sorted({(one.use, one.generation, one.protection) for one in masters})
    generations = tuple(Generation(use, number, made_ms, None, protection) for use, number, protection in made)
    return Contents(secrets.token_bytes(32), system_id, demonstration, tuple(masters), generations)


def open_store(path: Path, passphrase: bytes, *, demonstration_allowed: bool = False) -> SealedKeyStore:
    """Open the key store at `path`, with the masters of the file; those of a token are not asked for.

    Raises:
        KeyStoreError: missing, readable by others, damaged, wrong passphrase, or a demonstration store outside
            demonstration mode.
    """
    return SealedKeyStore.of(open_contents(path, passphrase, demonstration_allowed=demonstration_allowed))


def open_contents(path: Path, passphrase: bytes, *, demonstration_allowed: bool = False) -> Contents:
    """Return what the file at `path` holds. Raises as `open_store`."""
    contents = Contents.of(sealing.open_file(path, passphrase).content)
    require_ours(path, contents, demonstration_allowed=demonstration_allowed)
    return contents


def require_ours(path: Path, contents: Contents, *, demonstration_allowed: bool) -> None:
    """Refuse published demonstration keys outside the demonstration.

    Raises:
        KeyStoreError: they are.
    """
    if contents.demonstration and not demonstration_allowed:
        raise KeyStoreError(
            f"key store {path} holds the published demonstration keys; they are refused outside the demonstration. "
            "Make one of your own with 'cardservice keys create'"
        )
