# SPDX-License-Identifier: EUPL-1.2
"""The administration key 9B: external and mutual authentication (SP 800-73-4 part 2 appendix A.1 and A.2).

The key never answers a bare challenge: a card that encrypted what it is given would hand out what it asks for itself.
"""

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes

from cardsim import tlv
from cardsim.apdu import ApduError, StatusWord
from cardsim.interfaces import RandomBytes

ADMINISTRATION = 0x9B
DES = 0x03
AES_128, AES_192, AES_256 = 0x08, 0x0A, 0x0C
# SP 800-78-4 table 6-2: 00 is another name of 03.
SYNONYMS = {0x00: DES}
KEY_LENGTHS = {DES: 24, AES_128: 16, AES_192: 24, AES_256: 32}

TEMPLATE = 0x7C
WITNESS, CHALLENGE, RESPONSE = 0x80, 0x81, 0x82


@dataclass(frozen=True)
class ManagementKey:
    """A symmetric key with its algorithm identifier (SP 800-78-4 table 6-2)."""

    algorithm: int
    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.value) != KEY_LENGTHS.get(self.algorithm, -1):
            raise ValueError(f"algorithm {self.algorithm:02X} has no key of {len(self.value)} bytes")

    @property
    def block_length(self) -> int:
        """Bytes of one block."""
        return self._cipher().block_size // 8

    def encrypt(self, block: bytes) -> bytes:
        """One block in ECB."""
        return Cipher(self._cipher(), modes.ECB()).encryptor().update(block)  # noqa: S305 - as the standard says

    def _cipher(self) -> BlockCipherAlgorithm:
        return TripleDES(self.value) if self.algorithm == DES else algorithms.AES(self.value)


class Administrator:
    """The security status of key 9B, and the authentication that is under way.

    Args:
        random_bytes: source of challenges and witnesses.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self.forget()

    def forget(self) -> None:
        """The state after a reset."""
        self.authenticated = False
        self._challenge: bytes | None = None
        self._witness: bytes | None = None

    def answer(self, key: ManagementKey, data: bytes) -> bytes:
        """One step of an authentication; one that fails or is begun anew ends what was proved before.

        Raises:
            ApduError: 6A80 for a template that fits no step, 6982 where the other side does not hold the key.
        """
        challenge, witness = self._challenge, self._witness
        self.forget()
        request = _request(data)
        tags = set(request)
        if request == {CHALLENGE: b""}:
            self._challenge = self._random_bytes(key.block_length)
            return _template(CHALLENGE, self._challenge)
        if request == {WITNESS: b""}:
            self._witness = self._random_bytes(key.block_length)
            return _template(WITNESS, key.encrypt(self._witness))
        if tags == {RESPONSE}:
            self._require(None if challenge is None else key.encrypt(challenge), request[RESPONSE])
            return b""
        if tags - {RESPONSE} == {WITNESS, CHALLENGE} and not request.get(RESPONSE):
            if len(request[CHALLENGE]) != key.block_length:
                raise ApduError(StatusWord.WRONG_DATA)
            self._require(witness, request[WITNESS])
            return _template(RESPONSE, key.encrypt(request[CHALLENGE]))
        raise ApduError(StatusWord.WRONG_DATA)

    def _require(self, expected: bytes | None, given: bytes) -> None:
        if expected is None or not hmac.compare_digest(expected, given):
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        self.authenticated = True


def _request(data: bytes) -> dict[int, bytes]:
    try:
        outer = tlv.decode(data)
        if set(outer) == {TEMPLATE}:
            return tlv.decode(outer[TEMPLATE])
    except ValueError:
        pass
    raise ApduError(StatusWord.WRONG_DATA)


def _template(tag: int, value: bytes) -> bytes:
    return tlv.encode(bytes([TEMPLATE]), tlv.encode(bytes([tag]), value))
