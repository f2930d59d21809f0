# SPDX-License-Identifier: EUPL-1.2
"""The management key of a PIV card, key reference 9B (SP 800-73-4 Part 1 table 4b, Part 2 appendix A)."""

from collections.abc import Callable
from enum import IntEnum, unique
from typing import Final, Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes


@unique
class ManagementAlgorithm(IntEnum):
    """Algorithm identifiers of management keys (SP 800-78-5, table 9)."""

    TDES = 0x03
    """Withdrawn by SP 800-78-5; cards leave their factory with it, and none of ours keeps it."""
    AES_128 = 0x08
    AES_192 = 0x0A
    AES_256 = 0x0C

    @property
    def key_bytes(self) -> int:
        """The length of a key."""
        return _KEY_BYTES[self]

    @property
    def block_bytes(self) -> int:
        """The length of witness, challenge and response."""
        return 8 if self is ManagementAlgorithm.TDES else 16


_KEY_BYTES: Final = {
    ManagementAlgorithm.TDES: 24,
    ManagementAlgorithm.AES_128: 16,
    ManagementAlgorithm.AES_192: 24,
    ManagementAlgorithm.AES_256: 32,
}


class ManagementKey(Protocol):
    """A management key that is used, never read."""

    @property
    def algorithm(self) -> ManagementAlgorithm:
        """What kind of key it is."""
        ...

    def encrypt_block(self, block: bytes) -> bytes:
        """One block in ECB mode."""
        ...

    def decrypt_block(self, block: bytes) -> bytes:
        """The inverse of `encrypt_block`."""
        ...

    def wrap_for_change(self, encipher: Callable[[bytes], bytes]) -> bytes:
        """What `encipher` makes of the key's bytes: the message that brings it to the card (`keys.KeyToWrite`)."""
        ...

    def judged_by(self, why_forbidden: Callable[[bytes], str | None]) -> str | None:
        """What a rule says about the key's bytes: why they must not be used, None if nothing speaks against them."""
        ...


class SoftwareManagementKey:
    """A `ManagementKey` whose bytes are in this process's memory; its repr shows nothing of them."""

    __slots__ = ("_algorithm", "_bytes", "_cipher")

    def __init__(self, algorithm: ManagementAlgorithm, key: bytes) -> None:
        if len(key) != algorithm.key_bytes:
            raise ValueError(f"a management key of {algorithm.name} has {algorithm.key_bytes} bytes, not {len(key)}")
        self._algorithm, self._bytes = algorithm, key
        self._cipher: BlockCipherAlgorithm = (
            TripleDES(key) if algorithm is ManagementAlgorithm.TDES else algorithms.AES(key)
        )

    def __repr__(self) -> str:
        return "SoftwareManagementKey(<hidden>)"

    @property
    def algorithm(self) -> ManagementAlgorithm:
        """See `ManagementKey.algorithm`."""
        return self._algorithm

    def encrypt_block(self, block: bytes) -> bytes:
        """See `ManagementKey.encrypt_block`."""
        encryptor = Cipher(self._cipher, modes.ECB()).encryptor()  # noqa: S305 - one block, as the standard has it
        return encryptor.update(block) + encryptor.finalize()

    def decrypt_block(self, block: bytes) -> bytes:
        """See `ManagementKey.decrypt_block`."""
        decryptor = Cipher(self._cipher, modes.ECB()).decryptor()  # noqa: S305 - one block, as the standard has it
        return decryptor.update(block) + decryptor.finalize()

    def wrap_for_change(self, encipher: Callable[[bytes], bytes]) -> bytes:
        """See `ManagementKey.wrap_for_change`."""
        return encipher(self._bytes)

    def judged_by(self, why_forbidden: Callable[[bytes], str | None]) -> str | None:
        """See `ManagementKey.judged_by`."""
        return why_forbidden(self._bytes)
