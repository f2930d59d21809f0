# SPDX-License-Identifier: EUPL-1.2
"""The other end of a virtual PIV card, written from the standard: commands as bytes, answers as data and status."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cardsim import tlv
from cardsim.card import VirtualCard
from cardsim.personalise import personalise_piv
from cardsim.piv_administration import ManagementKey
from cardsim.piv_keys import PivSlot

SELECT_PIV = bytes.fromhex("00A4040009A00000030800001000")
CARD_UUID = UUID("0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0")
PIN, PUK = b"123456\xff\xff", b"12345678"
KEY = ManagementKey(0x08, bytes(range(16)))
DIGEST = bytes(range(32))
Answer = tuple[bytes, str]


@cache
def slots() -> Mapping[int, PivSlot]:
    """One P-256 key for each slot, made once for all tests of a process."""
    return {number: PivSlot(ec.generate_private_key(ec.SECP256R1()), b"") for number in (0x9A, 0x9C, 0x9D, 0x9E)}


def new_card(*, key: ManagementKey = KEY, contactless: bool = True) -> VirtualCard:
    """A personalised card with its administration key known, without power."""
    piv = personalise_piv(CARD_UUID, pin="123456", puk="12345678", slots=slots())
    piv.management_key = key
    return VirtualCard("card", "card", piv=piv, piv_contactless=contactless)


@dataclass
class Terminal:
    """A reader with a card in it."""

    card: VirtualCard

    def power(self, interface: str = "contact") -> "Terminal":
        """Begin anew at one interface and select PIV."""
        self.card.power_on(interface)  # type: ignore[arg-type]
        assert self.card.transmit(SELECT_PIV + b"\x00")[-2:] == b"\x90\x00"
        return self

    def send(self, header: str, data: bytes = b"", *, le: bool = True) -> Answer:
        """One short command, chained where the data are long; the whole answer, fetched by GET RESPONSE."""
        cla, rest = int(header[:2], 16), bytes.fromhex(header[2:])
        while len(data) > 255:
            answer = self.card.transmit(bytes([cla | 0x10]) + rest + b"\xff" + data[:255])
            if answer != b"\x90\x00":
                return b"", answer.hex().upper()
            data = data[255:]
        body = bytes([len(data)]) + data if data else b""
        answer = self.card.transmit(bytes([cla]) + rest + body + (b"\x00" if le else b""))
        whole = answer[:-2]
        while answer[-2] == 0x61:
            answer = self.card.transmit(b"\x00\xc0\x00\x00" + answer[-1:])
            whole += answer[:-2]
        return whole, answer[-2:].hex().upper()

    def status(self, header: str, data: bytes = b"") -> str:
        """The status word alone of a command without Le."""
        return self.send(header, data, le=False)[1]

    def verify(self, pin: bytes = PIN) -> str:
        """VERIFY of the PIN."""
        return self.status("00200080", pin)

    def get(self, tag: bytes) -> Answer:
        """GET DATA."""
        return self.send("00CB3FFF", tlv.encode(b"\x5c", tag))

    def put(self, tag: bytes, content: bytes) -> str:
        """PUT DATA of an object with tag 53."""
        return self.status("00DB3FFF", tlv.encode(b"\x5c", tag) + tlv.encode(b"\x53", content))

    def generate(self, slot: int, mechanism: int, more: bytes = b"") -> Answer:
        """GENERATE ASYMMETRIC KEY PAIR."""
        return self.send(f"004700{slot:02X}", tlv.encode(b"\xac", tlv.encode(b"\x80", bytes([mechanism])) + more))

    def use(self, slot: int, value: bytes = DIGEST, *, algorithm: int = 0x11, tag: int = 0x81) -> Answer:
        """GENERAL AUTHENTICATE with a private key: what the answer's template holds."""
        template = tlv.encode(b"\x7c", tlv.encode(b"\x82", b"") + tlv.encode(bytes([tag]), value))
        answer, ended = self.send(f"0087{algorithm:02X}{slot:02X}", template)
        return (tlv.decode(tlv.decode(answer)[0x7C])[0x82] if answer else b""), ended

    def step(self, algorithm: int, *members: bytes) -> tuple[dict[int, bytes], str]:
        """One step of an authentication with key 9B; members are encoded."""
        answer, ended = self.send(f"0087{algorithm:02X}9B", tlv.encode(b"\x7c", b"".join(members)))
        return (tlv.decode(tlv.decode(answer)[0x7C]) if answer else {}), ended

    def administrate(self, key: ManagementKey = KEY) -> str:
        """External authentication (appendix A.1); returns its last status word."""
        answer, ended = self.step(key.algorithm, b"\x81\x00")
        if ended != "9000":
            return ended
        return self.step(key.algorithm, tlv.encode(b"\x82", encrypt(key, answer[0x81])))[1]


def encrypt(key: ManagementKey, block: bytes, *, backwards: bool = False) -> bytes:
    """One block by the other end's own hands."""
    cipher = Cipher(TripleDES(key.value) if key.algorithm == 0x03 else algorithms.AES(key.value), modes.ECB())
    return (cipher.decryptor() if backwards else cipher.encryptor()).update(block)
