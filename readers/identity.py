# SPDX-License-Identifier: EUPL-1.2
"""The agent's own Ed25519 key (RFC 8032): made on the agent, never leaves it, proves who says hello."""

import os
import stat
from pathlib import Path
from typing import Self

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardservice.agents.messages import hello_signing_input
from readers.errors import IdentityFault

_MAX_KEY_BYTES = 4_096


class Identity:
    """The key of one agent."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"Identity({self.public_key_hex()})"

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a key and write it to a new file with mode 0600 (PKCS#8, PEM), durable before it returns.

        Raises:
            IdentityFault: the file exists or cannot be written.
        """
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                file.write(pem)
                file.flush()
                os.fsync(descriptor)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileExistsError as error:
            raise IdentityFault(f"key file {path} already exists; it is never overwritten") from error
        except OSError as error:
            raise IdentityFault(f"key file {path} cannot be written: {error.strerror}") from error
        return cls(key)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key from `path`.

        Raises:
            IdentityFault: missing, open to others, or not an Ed25519 key.
        """
        pem = _read_private(path)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
            # The last: a key shorter than its algorithm's. The cause is left out on purpose: it could quote what the
            # file contains.
            raise IdentityFault(f"key file {path} is not an unencrypted PKCS#8 PEM key") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise IdentityFault(f"key file {path} holds another kind of key; Ed25519 is needed")
        return cls(key)

    def public_key_hex(self) -> str:
        """Return the 32 bytes of the public key as hexadecimal text, as an administrator enrols them."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign_hello(self, nonce: str, agent: str, epoch: int) -> str:
        """Return the signature (64 bytes, hexadecimal) that answers the centre's challenge."""
        return self._key.sign(hello_signing_input(nonce, agent, epoch)).hex()


def _read_private(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise IdentityFault(f"there is no key file {path}; `init` makes one") from error
    except OSError as error:
        raise IdentityFault(f"key file {path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise IdentityFault(f"key file {path} is not a plain file")
        if status.st_uid not in {os.geteuid(), 0} or status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise IdentityFault(
                f"key file {path} must belong to the agent's user with mode 0600, not {mode:04o}: others can read it"
            )
        return os.read(descriptor, _MAX_KEY_BYTES)
    finally:
        os.close(descriptor)
