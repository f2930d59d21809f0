# SPDX-License-Identifier: EUPL-1.2
"""The sealed key store: master keys of the cards and the service's own secrets, in one encrypted file.

AES-256-GCM under a key that scrypt (RFC 7914) makes from a passphrase; the passphrase comes from a file or a systemd
credential. Nothing in it is ever printed, logged or handed out: callers get keys they can use, not bytes they can read.
"""

import json
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from cardservice.cards.forbidden import why_forbidden
from cardservice.chip.keys import CardKey, MasterKey, SoftwareAesKey, SoftwareMasterKey
from cardservice.errors import KeyStoreError

USES: Final = ("door", "timeclock", "printer", "canteen")
PURPOSES: Final = ("locate", "proof", "application_master")
_FORMAT: Final = "cardservice keys 1"
_SCRYPT: Final = {"n": 2**15, "r": 8, "p": 1}
_KEY_BYTES: Final = 16
_MAX_FILE_BYTES: Final = 1024 * 1024
_MAX_GENERATIONS: Final = 2


@dataclass(frozen=True, slots=True, repr=False)
class CardMaster:
    """One master key: of which use, for what, which generation (1..255)."""

    use: str
    purpose: str
    generation: int
    key: bytes

    def __repr__(self) -> str:
        return f"CardMaster({self.use}, {self.purpose}, generation {self.generation})"


class UseKeyRing:
    """The keys of one use that a tap needs (`chip.locate.UseKeys`)."""

    def __init__(self, masters: Sequence[CardMaster]) -> None:
        newest_first = sorted(masters, key=lambda master: -master.generation)
        self._locate = tuple(SoftwareAesKey(master.key) for master in newest_first if master.purpose == "locate")[
            :_MAX_GENERATIONS
        ]
        self._proof = {
            master.generation: SoftwareMasterKey(master.key) for master in masters if master.purpose == "proof"
        }

    @property
    def locate(self) -> Sequence[CardKey]:
        """The locate keys, newest first."""
        return self._locate

    def proof(self, generation: int) -> MasterKey | None:
        """Return the proof master of `generation`, None if it is unknown or withdrawn."""
        return self._proof.get(generation)


class SealedKeyStore:
    """An opened key store."""

    def __init__(
        self, root: bytes, system_id: bytes, masters: Sequence[CardMaster], *, demonstration: bool = False
    ) -> None:
        self._root = root
        self._rings = {use: UseKeyRing([m for m in masters if m.use == use]) for use in USES}
        self._secrets: dict[str, bytes] = {}
        self.system_id = system_id
        self.demonstration = demonstration

    def __repr__(self) -> str:
        return f"SealedKeyStore(demonstration={self.demonstration})"

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
            known = self._secrets[purpose] = hkdf.derive(self._root)
        return known


def generate_masters(generation: int = 1) -> list[CardMaster]:
    """Return fresh random masters of every use and purpose."""
    masters = []
    for use in USES:
        for purpose in PURPOSES:
            key = secrets.token_bytes(_KEY_BYTES)
            while why_forbidden(key):
                key = secrets.token_bytes(_KEY_BYTES)
            masters.append(CardMaster(use, purpose, generation, key))
    return masters


def create(
    path: Path, passphrase: bytes, *, system_id: bytes, masters: Sequence[CardMaster], demonstration: bool = False
) -> None:
    """Write a new key store, mode 0600.

    Raises:
        KeyStoreError: the file exists, the system id is not 1 to 16 bytes, or a key is forbidden.
    """
    if not 1 <= len(system_id) <= 16:
        raise KeyStoreError(f"a system id of {len(system_id)} bytes; allowed are 1 to 16")
    for master in masters:
        why = why_forbidden(master.key, demonstration=demonstration)
        if len(master.key) != _KEY_BYTES or why:
            raise KeyStoreError(
                f"the {master.purpose} key of {master.use} is refused: {why or 'it is not 16 bytes long'}"
            )
    content = {
        "demonstration": demonstration,
        "root": secrets.token_hex(32),
        "system_id": system_id.hex(),
        "masters": [
            {"use": m.use, "purpose": m.purpose, "generation": m.generation, "key": m.key.hex()} for m in masters
        ],
    }
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    header = {"format": _FORMAT, "scrypt": _SCRYPT, "salt": salt.hex(), "nonce": nonce.hex()}
    sealed = AESGCM(_stretch(passphrase, salt, _SCRYPT)).encrypt(nonce, json.dumps(content).encode(), _aad(header))
    _write_new(path, json.dumps(header | {"sealed": sealed.hex()}, indent=1).encode())


def open_store(path: Path, passphrase: bytes, *, demonstration_allowed: bool = False) -> SealedKeyStore:
    """Open the key store at `path`.

    Raises:
        KeyStoreError: missing, readable by others, damaged, wrong passphrase, or a demonstration store outside
            demonstration mode.
    """
    header = _read(path)
    try:
        sealed = bytes.fromhex(header.pop("sealed"))
        key = _stretch(passphrase, bytes.fromhex(header["salt"]), header["scrypt"])
        content = json.loads(AESGCM(key).decrypt(bytes.fromhex(header["nonce"]), sealed, _aad(header)))
    except (InvalidTag, TypeError, ValueError):
        raise KeyStoreError(f"key store {path}: wrong passphrase, or the file was changed") from None
    if content["demonstration"] and not demonstration_allowed:
        raise KeyStoreError(
            f"key store {path} holds the published demonstration keys; they are refused outside the demonstration. "
            "Make one of your own with 'cardservice keys create'"
        )
    masters = [CardMaster(m["use"], m["purpose"], m["generation"], bytes.fromhex(m["key"])) for m in content["masters"]]
    return SealedKeyStore(
        bytes.fromhex(content["root"]),
        bytes.fromhex(content["system_id"]),
        masters,
        demonstration=content["demonstration"],
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyStoreError(f"key store {path}: {error.strerror}") from error
    if mode & 0o077:
        raise KeyStoreError(f"key store {path} has mode {mode:04o}; others must not read it: chmod 600 {path}")
    if len(raw) > _MAX_FILE_BYTES:
        raise KeyStoreError(f"key store {path} is larger than {_MAX_FILE_BYTES} bytes; it is not one of ours")
    header = _parsed(raw)
    if header is None:
        raise KeyStoreError(f"key store {path}: not a file of the form {_FORMAT!r}")
    return header


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    wanted = {"format", "scrypt", "salt", "nonce", "sealed"}
    fits = isinstance(header, dict) and header.keys() == wanted and header["format"] == _FORMAT
    return header if fits else None


def _stretch(passphrase: bytes, salt: bytes, cost: Mapping[str, int]) -> bytes:
    if cost != _SCRYPT:
        raise KeyStoreError("the key store asks for another scrypt cost than this program uses; it was changed")
    return Scrypt(salt=salt, length=32, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase)


def _aad(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True).encode()


def _write_new(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyStoreError(f"key store {path} exists already; it is never overwritten") from None
    except OSError as error:
        raise KeyStoreError(f"key store {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
