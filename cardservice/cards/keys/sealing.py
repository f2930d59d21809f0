# SPDX-License-Identifier: EUPL-1.2
"""The sealed file: AES-256-GCM under a key of its own, which a passphrase unwraps (scrypt, RFC 7914), or shares.

    file key ── wrapped by scrypt(passphrase) ──┐
             └─ wrapped by the shared secret ───┴──▶ sealed content

A file is never written in place: the new one is on disk before it takes the name, and the one before is kept beside it.
"""

import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from cardservice.errors import KeyStoreError

FORMAT: Final = "cardservice keys 2"
_FORMAT_1: Final = "cardservice keys 1"
SCRYPT: Final = {"n": 2**15, "r": 8, "p": 1}
_MAX_FILE_BYTES: Final = 1024 * 1024
_FILE_KEY_BYTES: Final = 32
# How long a change waits for another program's.
LOCK_S: Final = 10.0
_WRONG: Final = "wrong passphrase, or the file was changed"


@dataclass(frozen=True, slots=True)
class ShareScheme:
    """How the secret that also opens a file is shared: any `needed` of `count`; `set_id` tells one set from another."""

    needed: int
    count: int
    set_id: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was opened: what it says openly, its file key, and its content. Format 1 has no key of its own."""

    header: Mapping[str, Any]
    content: Mapping[str, Any] = field(repr=False)
    file_key: bytes = field(repr=False)

    @property
    def shares(self) -> ShareScheme | None:
        """How the file can be opened by shares, None if it cannot."""
        return _scheme(self.header)

    def with_content(self, content: Mapping[str, Any]) -> "Opened":
        """Return the same file with another content."""
        return replace(self, content=content)

    def with_shares(self, scheme: ShareScheme, shared_secret: bytes) -> "Opened":
        """Return the same file, opened by these shares from now on and by no others."""
        slot = {"needed": scheme.needed, "count": scheme.count, "set": scheme.set_id}
        return replace(self, header={**self.header, "shares": _wrap(self.file_key, _share_key(shared_secret), slot)})

    def is_opened_by(self, shared_secret: bytes) -> bool:
        """Tell whether this shared secret opens the file."""
        try:
            return _unwrap(self.header["shares"], _share_key(shared_secret)) == self.file_key
        except (InvalidTag, KeyError, TypeError, ValueError):
            return False


def new(passphrase: bytes, content: Mapping[str, Any]) -> Opened:
    """Return a file that is not written yet."""
    salt, file_key = secrets.token_bytes(16), secrets.token_bytes(_FILE_KEY_BYTES)
    slot = _wrap(file_key, stretch(passphrase, salt, SCRYPT), {"scrypt": SCRYPT, "salt": salt.hex()})
    return Opened({"format": FORMAT, "passphrase": slot, "shares": None}, content, file_key)


def with_passphrase(opened: Opened, passphrase: bytes) -> Opened:
    """Return the same file under another passphrase, in the newest format."""
    fresh = new(passphrase, opened.content)
    if "shares" not in opened.header:
        return fresh
    salt = secrets.token_bytes(16)
    slot = _wrap(opened.file_key, stretch(passphrase, salt, SCRYPT), {"scrypt": SCRYPT, "salt": salt.hex()})
    return replace(opened, header={**opened.header, "passphrase": slot})


def open_file(path: Path, passphrase: bytes) -> Opened:
    """Open a file with its passphrase; both formats.

    Raises:
        KeyStoreError: missing, readable by others, damaged, or the wrong passphrase.
    """
    header = _read(path)
    try:
        sealed = bytes.fromhex(header.pop("sealed"))
        nonce = bytes.fromhex(header["nonce"])
        if header["format"] == _FORMAT_1:
            file_key = stretch(passphrase, bytes.fromhex(header["salt"]), header["scrypt"])
        else:
            slot = header["passphrase"]
            file_key = _unwrap(slot, stretch(passphrase, bytes.fromhex(slot["salt"]), slot["scrypt"]))
        content = json.loads(AESGCM(file_key).decrypt(nonce, sealed, _aad(header)))
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise KeyStoreError(f"key store {path}: {_WRONG}") from None
    return Opened({name: value for name, value in header.items() if name != "nonce"}, content, file_key)


def open_with_shares(path: Path, shared_secret: bytes) -> Opened:
    """Open a file with what its shares make together.

    Raises:
        KeyStoreError: as `open_file`, or the file is not opened by shares, or not by these.
    """
    header = _read(path)
    try:
        sealed = bytes.fromhex(header.pop("sealed"))
        file_key = _unwrap(header["shares"], _share_key(shared_secret))
        content = json.loads(AESGCM(file_key).decrypt(bytes.fromhex(header["nonce"]), sealed, _aad(header)))
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise KeyStoreError(f"key store {path}: these shares do not open it, or the file was changed") from None
    return Opened({name: value for name, value in header.items() if name != "nonce"}, content, file_key)


def scheme_of(path: Path) -> ShareScheme | None:
    """Return how a file can be opened by shares, None if it cannot; no passphrase is needed.

    Raises:
        KeyStoreError: missing, readable by others, or no key store.
    """
    return _scheme(_read(path))


def write_new(path: Path, opened: Opened) -> None:
    """Write a file that is not there yet, mode 0600.

    Raises:
        KeyStoreError: it is there, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyStoreError(f"key store {path} exists already; it is never overwritten") from None
    except OSError as error:
        raise KeyStoreError(f"key store {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(_sealed(opened))
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def rewrite(path: Path, opened: Opened) -> None:
    """Put a file in the place of the one before, which stays beside it as NAME.previous. Hold `changing` around it.

    Raises:
        KeyStoreError: it cannot be written; the file before stands unchanged.
    """
    waiting, previous = path.with_name(path.name + ".new"), path.with_name(path.name + ".previous")
    try:
        # What a crash left; nobody else writes while `changing` is held.
        waiting.unlink(missing_ok=True)
        write_new(waiting, opened)
        if os.geteuid() == 0:
            # The service's own user has to read what an administrator changed.
            owner = path.stat()
            os.chown(waiting, owner.st_uid, owner.st_gid)
        previous.unlink(missing_ok=True)
        os.link(path, previous)
        waiting.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise KeyStoreError(f"key store {path}: {error.strerror}; it was not changed") from error


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Keep every other program from changing a file meanwhile.

    Raises:
        KeyStoreError: another one is changing it now.
    """
    try:
        # The folder: a file of its own would belong to whoever was first, and shut out the other user.
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeyStoreError(f"key store {path}: {error.strerror}; it was not changed") from error
    try:
        _lock(path, descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    """Wait for whoever changes the file now; that takes a second at most, a token's thread included."""
    until_s = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= until_s:
                raise KeyStoreError(f"key store {path}: another program is changing it; try again") from None
            time.sleep(0.05)
        else:
            return


def stretch(passphrase: bytes, salt: bytes, cost: Mapping[str, int]) -> bytes:
    """Return 32 bytes of a passphrase. Takes 32 MiB and a tenth of a second, on purpose.

    Raises:
        KeyStoreError: another cost than this program's.
    """
    if cost != SCRYPT:
        raise KeyStoreError("the key store asks for another scrypt cost than this program uses; it was changed")
    return Scrypt(salt=salt, length=32, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase)


def _share_key(shared_secret: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=None, info=b"cardservice shares").derive(shared_secret)


def _wrap(file_key: bytes, by: bytes, slot: Mapping[str, Any]) -> dict[str, Any]:
    nonce = secrets.token_bytes(12)
    said = {**slot, "nonce": nonce.hex()}
    return {**said, "wrapped": AESGCM(by).encrypt(nonce, file_key, _aad(said)).hex()}


def _unwrap(slot: Mapping[str, Any], by: bytes) -> bytes:
    said = {name: value for name, value in slot.items() if name != "wrapped"}
    return AESGCM(by).decrypt(bytes.fromhex(slot["nonce"]), bytes.fromhex(slot["wrapped"]), _aad(said))


def _sealed(opened: Opened) -> bytes:
    nonce = secrets.token_bytes(12)
    header = {**opened.header, "nonce": nonce.hex()}
    sealed = AESGCM(opened.file_key).encrypt(nonce, json.dumps(opened.content).encode(), _aad(header))
    return json.dumps({**header, "sealed": sealed.hex()}, indent=1).encode()


def _aad(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True).encode()


def _scheme(header: Mapping[str, Any]) -> ShareScheme | None:
    slot = header.get("shares")
    try:
        return None if slot is None else ShareScheme(int(slot["needed"]), int(slot["count"]), str(slot["set"]))
    except (KeyError, TypeError, ValueError):
        return None


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
        raise KeyStoreError(f"key store {path}: not a file of the form {FORMAT!r}")
    return header


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict):
        return None
    wanted = {
        _FORMAT_1: {"format", "scrypt", "salt", "nonce", "sealed"},
        FORMAT: {"format", "passphrase", "shares", "nonce", "sealed"},
    }
    said = header.get("format")
    return header if isinstance(said, str) and header.keys() == wanted.get(said) else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
