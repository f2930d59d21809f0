# SPDX-License-Identifier: EUPL-1.2
"""Cards that lie: honest answers bent at some step, answers no card gives, and answers that cost the most to read."""

import gzip
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from unit.agents.desk import DISABLED, ENTITLED, ISSUER, NOW, STRANGER, desfire_card, piv_card

from cardservice.chip.layout import NumberFile
from cardservice.chip.piv_formats import PIV_AID
from cardservice.chip.tlv import Tlv, build, descend, only, parse
from cardsim.certificates import Flaw
from cardsim.interfaces import Card

PrivateKey = Ed25519PrivateKey | X25519PrivateKey | X448PrivateKey
STATUS_WORDS = tuple(
    bytes.fromhex(word)
    for word in (
        *(
            "9000",
            "9100",
            "91af",
            "91ae",
            "91a0",
            "911c",
            "911e",
            "9140",
            "919d",
            "91f0",
            "910b",
            "6100",
            "61ff",
            "6110",
        ),
        *("6c00", "6cff", "6c10", "6700", "6881", "6982", "6983", "63c0", "63cf", "6a80", "6a81", "6a82", "6a88"),
        *("910b", "6d00", "6e00", "6f00", "ffff", "0000"),
    )
)
# What the wire lets through of one answer, and what a card can give at most.
LENGTHS = (0, 1, 2, 3, 16, 18, 31, 34, 255, 256, 257, 258, 65_537, 65_538, 65_539, 65_544)
GENUINE = (
    lambda: desfire_card(ENTITLED),
    lambda: piv_card(ENTITLED),
)
OTHERS = (
    lambda: desfire_card(STRANGER),
    lambda: desfire_card(DISABLED),
    lambda: desfire_card(ENTITLED, proof_master=bytes(16)),
    lambda: piv_card(STRANGER),
    lambda: piv_card(ENTITLED, flaw=Flaw.OTHER_KEY),
    lambda: piv_card(ENTITLED, flaw=Flaw.WRONG_EKU),
)


def bend_answer(dice: random.Random, answer: bytes, heard: Sequence[bytes]) -> bytes:
    """Return something else than `answer`, often close to it; `heard` is what cards said before."""
    at = dice.randrange(len(answer)) if answer else 0
    bends: tuple[Callable[[], bytes], ...] = (
        lambda: answer[:at] + bytes((answer[at] ^ (1 << dice.randrange(8)),)) + answer[at + 1 :] if answer else b"\x90",
        lambda: answer[:-2] + dice.choice(STATUS_WORDS),
        lambda: dice.choice(STATUS_WORDS),
        lambda: answer[:at],
        lambda: answer[:at] + dice.randbytes(dice.randint(1, 40)) + answer[at:],
        lambda: dice.choice(heard) if heard else b"\x91\x00",
        lambda: dice.randbytes(len(answer) - 2) + answer[-2:] if len(answer) > 2 else dice.randbytes(34),
        lambda: dice.randbytes(dice.choice(LENGTHS[:12])) + dice.choice(STATUS_WORDS),
        lambda: (dice.randbytes(64) * 1_030)[: dice.choice(LENGTHS)],
        lambda: bytes(_some_tlv(dice, answer[:-2])) + b"\x90\x00",
    )
    return dice.choice(bends)()


def _some_tlv(dice: random.Random, content: bytes) -> Tlv:
    tag = dice.choice((0x53, 0x61, 0x4F, 0x70, 0x71, 0x7C, 0x82, 0xFE, 0x5FC101))
    return build(tag, content[: dice.randint(0, len(content))], *([build(0x71, b"\x01")] * dice.randint(0, 2)))


class LyingCard:
    """The agent's end of a tap: `card` answers, but from a certain exchange on `bend` may change what arrives.

    `changed` is whether anything was, `proof_changed` whether the newest batch of answers was.
    """

    def __init__(self, dice: random.Random, card: Card, *, honest: int, heard: list[bytes]) -> None:
        self._dice = dice
        self._card = card
        self._honest = honest
        self._heard = heard
        self.rounds = 0
        self.changed = False
        self.proof_changed = False
        card.power_on("contactless")

    async def __call__(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        """Answer as an agent hands it over."""
        self.rounds += 1
        true = [self._card.transmit(command) for command in commands]
        told = self._told(true)
        self.proof_changed = told != tuple(true)
        self.changed |= self.proof_changed
        if len(self._heard) < 500:
            self._heard.extend(answer for answer in true if len(answer) > 2)
        return told

    def _told(self, true: Sequence[bytes]) -> tuple[bytes, ...]:
        dice = self._dice
        if self.rounds <= self._honest or dice.random() < 0.3:
            return tuple(true)
        what = dice.random()
        if what < 0.05:
            return tuple(true[: dice.randrange(len(true))])
        if what < 0.1:
            return (*true, dice.choice(STATUS_WORDS))
        if what < 0.15:
            return tuple(reversed(true))
        at = dice.randrange(len(true))
        return (*true[:at], bend_answer(dice, true[at], self._heard), *true[at + 1 :])


class SlowCard:
    """Says the same thing for some exchanges, then another, and from then on answers like `card`."""

    def __init__(self, first: bytes, times: int, then: bytes, card: Card) -> None:
        self.name = f"{times} times {first[-2:].hex()} ({len(first)} bytes), then {then[-2:].hex()}"
        self.rounds = 0
        self._first = first
        self._times = times
        self._then = then
        self._card = card
        card.power_on("contactless")

    async def __call__(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        """Answer as an agent hands it over."""
        self.rounds += 1
        if self.rounds > self._times + 1:
            return tuple(self._card.transmit(command) for command in commands)
        return tuple(self._first if self.rounds <= self._times else self._then for _ in commands)


def slow_cards() -> Iterator[SlowCard]:
    """Yield cards that never come to an end, or come to it just before or after the desk loses patience."""
    loops = (b"\x61\x00", b"\x6c\x10", b"\x91\xaf", bytes(16) + b"\x91\xaf", bytes(1_000) + b"\x61\xff")
    ends = (b"\x6a\x82", b"\x91\xa0", b"\x6d\x00", b"\x90\x00", b"\x91\x00", bytes(32) + b"\x91\x00")
    for first in loops:
        for then in ends:
            for times in (1, 3, 57, 58, 59, 60, 1_000):
                yield SlowCard(first, times, then, desfire_card(ENTITLED))


_MOST = 65_530
_BOMBS = {
    "empty objects": b"\x01\x00" * (_MOST // 2),
    "empty objects of the tag looked for": b"\x53\x00" * (_MOST // 2),
    "long tags": b"\x5f\x81\x01\x00" * (_MOST // 4),
    "long lengths": b"\x01\x84\x00\x00\x00\x00" * (_MOST // 6),
    "noise": random.Random(0).randbytes(_MOST),
    "zeros": bytes(_MOST),
}
_CERTIFICATES = {
    "certificate with many names": {"names": 2_700},
    "certificate with many alternative names": {"uris": 31_000},
    "certificate with many purposes": {"purposes": 20_000},
    "certificate with many extensions": {"extensions": 5_000},
}
HEAVY_CONTENTS = (*_BOMBS, *_CERTIFICATES)


@cache
def heavy_content(name: str) -> bytes:
    """Return what a card can put where a certificate object is expected, made to cost as much as possible."""
    if name in _BOMBS:
        return bytes(Tlv(0x53, _BOMBS[name][: _MOST - 10]))
    der = _certificate(**_CERTIFICATES[name])
    return bytes(build(0x53, build(0x70, der), build(0x71, b"\x00"), build(0xFE)))


def _certificate(
    *, names: int = 0, uris: int = 0, purposes: int = 0, extensions: int = 0, key: PrivateKey | None = None
) -> bytes:
    """Return a certificate that says it is of the trusted issuer, and is not."""
    issuing = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .issuer_name(ISSUER.certificate.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, "5")] * names))
        .public_key((key or issuing).public_key())
        .serial_number(5)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
    )
    if uris:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("")] * uris), critical=False
        )
    if purposes:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2")] * purposes), critical=False
        )
    for number in range(extensions):
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.{number}"), b""), critical=False
        )
    der = builder.sign(issuing, hashes.SHA256()).public_bytes(Encoding.DER)
    assert len(der) < 65_000, f"{len(der)} bytes do not fit into a certificate object"
    return der


def card_objects() -> list[bytes]:
    """Return what honest cards hold: certificates plain and packed, their objects, templates, number files."""
    objects: list[bytes] = []
    for made in (piv_card(ENTITLED), piv_card(STRANGER), piv_card(ENTITLED, flaw=Flaw.EXPIRED)):
        made.power_on("contactless")
        made.transmit(bytes.fromhex("00a4040009a0000003080000100000"))
        answer = made.transmit(bytes.fromhex("00cb3fff055c035fc10100"))
        content = bytearray(answer[:-2])
        while answer[-2] == 0x61:
            answer = made.transmit(bytes.fromhex("00c0000000"))
            content += answer[:-2]
        certificate_object = descend(bytes(content), 0x53)
        der = only(parse(certificate_object), 0x70)
        packed = gzip.compress(der)
        objects += [bytes(content), certificate_object, der, packed]
        objects.append(bytes(build(0x70, packed)) + bytes(build(0x71, b"\x01")))
    objects += [_certificate(key=kind.generate()) for kind in (Ed25519PrivateKey, X25519PrivateKey, X448PrivateKey)]
    application = bytes(build(0x61, build(0x4F, PIV_AID[5:])))
    return [*objects, application, bytes(NumberFile(1, ENTITLED)), application + b"\x90\x00"]
