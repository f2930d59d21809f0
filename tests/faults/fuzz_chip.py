# SPDX-License-Identifier: EUPL-1.2
"""Every reader of the card language and what it is fed: bytes as they are, or cut into the answers of a card.

One table for the properties and for the fuzzer that is guided by coverage; seeds are in `tests/vectors/fuzz/chip`.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from faults.fuzz_bounds import Parser
from unit.chip.authority import NOW
from unit.chip.virtual import PICC_KEY, SYSTEM_ID, UseKeys, plan

from cardservice.chip import tlv
from cardservice.chip.apdu import CommandApdu, ResponseApdu
from cardservice.chip.conversation import Conversation, drive
from cardservice.chip.desfire_application import CardApplication
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_erase import erase
from cardservice.chip.desfire_formats import AccessRights, ChipVersion, FileSettings, KeySettings
from cardservice.chip.desfire_messaging import unpad
from cardservice.chip.desfire_personalise import personalise
from cardservice.chip.errors import ChipError
from cardservice.chip.layout import CardUse, NumberFile
from cardservice.chip.locate import identify
from cardservice.chip.originality import is_original
from cardservice.chip.piv import authenticate_card
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer, check_card_auth_certificate
from cardservice.chip.piv_formats import ApplicationProperties, Chuid, Discovery, ObjectId, Slot, unwrap_certificate
from cardservice.chip.piv_keys import Algorithm, public_key_from
from cardservice.chip.piv_management import ManagementAlgorithm, SoftwareManagementKey
from cardservice.chip.piv_session import PivSession
from cardservice.chip.piv_yubico import Metadata, YubicoExtensions
from cardservice.chip.probe import probe

SEEDS = Path(__file__).parents[1] / "vectors" / "fuzz" / "chip"
ISSUER = x509.load_der_x509_certificate((SEEDS / "issuer.der").read_bytes())
TRUST = CardAuthTrust((TrustedIssuer(ISSUER, lambda _: False),))
MANAGEMENT = SoftwareManagementKey(ManagementAlgorithm.AES_128, bytes(range(16)))
PEER = ec.derive_private_key(5, ec.SECP256R1()).public_key()
UID_SIGNED = bytes(7)


def answers_of(data: bytes) -> list[bytes]:
    """Cut bytes into a card's answers, each behind its length (2 bytes); what is left is the last one."""
    answers: list[bytes] = []
    while len(data) >= 2:
        length = int.from_bytes(data[:2], "big")
        answers.append(data[2 : 2 + length])
        data = data[2 + length :]
    return answers


class Replay:
    """A card that gives these answers in turn, and then the last one for ever."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers, self._at = answers or [b""], 0

    def __call__(self, _: bytes) -> bytes:
        answer = self._answers[self._at]
        self._at = min(self._at + 1, len(self._answers) - 1)
        return answer


def any_of(attempts: Iterable[Callable[[], Any]]) -> None:
    """Makes all the attempts; one that is not refused is enough."""
    refused: list[ChipError] = []
    taken = 0
    for attempt in attempts:
        try:
            attempt()
            taken += 1
        except ChipError as error:
            refused.append(error)
    if not taken:
        raise refused[0]


def talking(name: str, *begin: Callable[[], Conversation[Any]]) -> Parser:
    """Conversations, each with a card that gives the answers from the first on."""

    def talk(data: bytes) -> None:
        answers = answers_of(data)
        any_of(lambda one=conversation: drive(one(), Replay(answers)) for conversation in begin)

    return Parser(name, talk, (ChipError,))


def reading(name: str, parse: Callable[[bytes], Any]) -> Parser:
    return Parser(name, parse, (ChipError,))


def _of_some_algorithm(answer: bytes) -> None:
    any_of(lambda one=algorithm: public_key_from(answer, one) for algorithm in Algorithm)


def _original(signature: bytes) -> None:
    """No signature that is made up is the maker's."""
    assert not is_original(UID_SIGNED, signature)


def _card_level(command: str) -> Callable[[], Conversation[Any]]:
    def begin() -> Conversation[Any]:
        return getattr(CardLevel(bytes(3)), command)()

    return begin


def _yubico(command: str, *arguments: Any) -> Callable[[], Conversation[Any]]:
    return lambda: getattr(YubicoExtensions(PivSession()), command)(*arguments)


READERS = (
    reading("tlv", tlv.parse),
    reading("tlv-path", lambda data: tlv.descend(data, 0x7C, 0x82)),
    reading("command-apdu", CommandApdu.from_bytes),
    reading("response-apdu", ResponseApdu.from_bytes),
    reading("properties", ApplicationProperties.from_bytes),
    reading("discovery", Discovery.from_bytes),
    reading("chuid", Chuid.from_bytes),
    reading("certificate-object", unwrap_certificate),
    reading("certificate", lambda der: check_card_auth_certificate(der, TRUST, at=NOW)),
    reading("public-key", _of_some_algorithm),
    reading("metadata", Metadata.from_bytes),
    reading("number-file", NumberFile.from_bytes),
    reading("chip-version", ChipVersion.from_bytes),
    reading("key-settings", KeySettings.from_bytes),
    reading("access-rights", AccessRights.from_bytes),
    reading("file-settings", FileSettings.from_bytes),
    reading("padding", unpad),
    reading("originality", _original),
)

TALKS = (
    talking("piv-select", PivSession.select),
    talking(
        "piv-objects",
        *(lambda tag=tag: PivSession().get_data(tag) for tag in (ObjectId.CHUID, ObjectId.DISCOVERY)),
    ),
    talking(
        "piv-authentication",
        lambda: PivSession().mutual_authenticate(MANAGEMENT, random_bytes=bytes),
        lambda: PivSession().external_authenticate(MANAGEMENT),
        lambda: PivSession().agree(Slot.KEY_MANAGEMENT, PEER),
        lambda: PivSession().sign(Slot.AUTHENTICATION, PEER, bytes(32)),
        lambda: PivSession().verify_status(),
    ),
    talking(
        "yubico",
        *(_yubico(command) for command in ("get_version", "get_serial")),
        *(_yubico(command, Slot.AUTHENTICATION) for command in ("get_metadata", "attest")),
    ),
    talking("piv-proof", lambda: authenticate_card(b"fuzz", TRUST, at=NOW, random_bytes=bytes)),
    talking("probe", probe),
    talking(
        "desfire-card",
        *(_card_level(command) for command in ("get_version", "get_key_settings", "get_application_ids")),
        *(_card_level(command) for command in ("free_memory", "read_signature")),
        lambda: CardApplication(CardUse.DOOR.aid).get_file_ids(),
        lambda: CardApplication(CardUse.DOOR.aid).get_file_settings(1),
        lambda: CardApplication(CardUse.DOOR.aid).get_key_set_versions(),
    ),
    talking("tap", lambda: identify(CardUse.DOOR, UseKeys(CardUse.DOOR), system_id=SYSTEM_ID, random_bytes=bytes)),
    talking("encoding", lambda: personalise(plan(), random_bytes=bytes), lambda: erase(PICC_KEY)),
)

EVERYTHING = {reader.name: reader for reader in (*READERS, *TALKS)}


def seeds(name: str) -> Iterator[bytes]:
    """What one reader is made for."""
    for file in sorted(SEEDS.glob(f"{name}.*.bin")):
        yield file.read_bytes()
