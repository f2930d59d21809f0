# SPDX-License-Identifier: EUPL-1.2
"""Writes `tests/vectors/fuzz/chip`: what every reader of the card language is made for, out of virtual cards.

Run by hand after a reader was added: `python -m faults.fuzz_chip_seeds FOLDER`, with `tests` and `hardware-sim` on the
path. The private keys of the certificates are nowhere but in the memory of that run.
"""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from unit.chip.authority import CARD_UUID, NOW, Authority, Request, certificate_object, der
from unit.chip.virtual import SYSTEM_ID, Field, UseKeys, plan
from unit.chip.virtual_piv import PIN, PivField, plain_applet, yubico_field

from cardservice.chip.conversation import Conversation, drive
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_formats import AccessRights
from cardservice.chip.desfire_personalise import personalise
from cardservice.chip.layout import CardUse, NumberFile
from cardservice.chip.locate import identify
from cardservice.chip.piv import authenticate_card
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer
from cardservice.chip.piv_formats import CERTIFICATE_OF, Chuid, ObjectId, Slot, wrap_certificate
from cardservice.chip.piv_keys import Algorithm
from cardservice.chip.piv_management import ManagementAlgorithm, SoftwareManagementKey
from cardservice.chip.piv_session import PivSession
from cardservice.chip.piv_yubico import YubicoExtensions
from cardservice.chip.probe import probe
from cardservice.chip.tlv import build
from cardsim.card import VirtualCard
from cardsim.piv_keys import PivSlot
from cardsim.yubico import FACTORY_MANAGEMENT_KEY

MANAGEMENT_KEY = bytes(range(16))
DISCOVERY = bytes(build(0x4F, bytes.fromhex("A000000308000010000100"))) + bytes(build(0x5F2F, b"\x40\x00"))
PROPERTIES = build(
    0x61,
    build(0x4F, bytes.fromhex("000010000100")),
    build(0x79, build(0x4F, bytes.fromhex("A000000308"))),
    build(0x50, b"PIV"),
    build(0x5F50, b"http://csrc.nist.gov/npivp"),
    build(0xAC, build(0x80, b"\x07"), build(0x80, b"\x11"), build(0x06, b"\x00")),
)


def heard(card: Callable[[bytes], bytes], *conversations: Conversation[Any]) -> list[bytes]:
    """What a card answers, whatever becomes of it."""
    answers: list[bytes] = []

    def listening(apdu: bytes) -> bytes:
        answers.append(card(apdu))
        return answers[-1]

    for conversation in conversations:
        drive(conversation, listening)
    return answers


def joined(answers: list[bytes]) -> bytes:
    """Answers one after the other, each behind its length."""
    return b"".join(len(answer).to_bytes(2, "big") + answer for answer in answers)


def plain_seeds() -> dict[str, bytes]:
    """Contents that stand alone."""
    field = yubico_field()
    key = SoftwareManagementKey(ManagementAlgorithm.TDES, FACTORY_MANAGEMENT_KEY.value)
    session = field.administer(key)
    public = {
        algorithm.name: b"".join(heard(field, session.generate_asymmetric_key_pair(Slot.SIGNATURE, algorithm)))
        for algorithm in (Algorithm.ECC_P256, Algorithm.ECC_P384)
    }
    metadata = {
        f"metadata.{reference:02x}": heard(field, YubicoExtensions(session).get_metadata(reference))[0][:-2]
        for reference in (0x80, 0x9B, 0x9C)
    }
    chip = drive(CardLevel.select(), Field())
    version = drive(chip.get_version(), Field())
    chuid = bytes(Chuid(CARD_UUID, NOW.date()))
    return {
        "tlv.chuid": bytes(build(0x53, chuid)),
        "tlv-path.response": bytes(build(0x7C, build(0x82, bytes(16)))),
        "command-apdu.select": bytes.fromhex("00A404000BA00000030800001000010000"),
        "command-apdu.extended": bytes.fromhex("00CB3FFF0000055C035FC1050000"),
        "response-apdu.found": bytes.fromhex("530101009000"),
        "properties.nist": bytes(PROPERTIES),
        "discovery.piv": DISCOVERY,
        "chuid.ours": chuid,
        **{f"public-key.{name.lower()}": answer[:-2] for name, answer in public.items()},
        **metadata,
        "number-file.door": bytes(NumberFile(1, bytes(range(12)))),
        "chip-version.ev2": version.hardware + version.software + version.uid + version.production,
        "key-settings.aes": bytes.fromhex("0B83"),
        "access-rights.ours": bytes(AccessRights(read=2, write=0, read_write=0, change=0)),
        "file-settings.standard": bytes.fromhex("000300200E0000"),
        "padding.full": b"abc\x80" + bytes(12),
        "originality.made-up": bytes(range(56)),
    }


def certified_seeds() -> dict[str, bytes]:
    """A genuine certificate, and the tap on the card that holds its key."""
    authority, request = Authority("Fuzz CA"), Request()
    certificate = der(authority.issue(request))
    trust = CardAuthTrust((TrustedIssuer(authority.certificate, lambda _: False),))
    applet = plain_applet()
    applet.store_key(0x9E, PivSlot(request.key, certificate))
    stored = bytes(build(0x53, wrap_certificate(certificate)))
    tag = CERTIFICATE_OF[Slot.CARD_AUTHENTICATION]
    applet.objects = {**applet.objects, tag.to_bytes(3, "big"): stored}
    proof = authenticate_card(b"fuzz", trust, at=NOW, random_bytes=bytes)
    return {
        "issuer": authority.certificate.public_bytes(Encoding.DER),
        "certificate.card": certificate,
        "certificate-object.plain": certificate_object(certificate),
        "certificate-object.gzip": certificate_object(gzip.compress(certificate, mtime=0), b"\x01"),
        "piv-proof.genuine": joined(heard(PivField(applet), proof)),
    }


def spoken_seeds() -> dict[str, bytes]:
    """Whole conversations with virtual cards."""
    piv = PivField(plain_applet(ManagementAlgorithm.AES_128, MANAGEMENT_KEY))
    key = SoftwareManagementKey(ManagementAlgorithm.AES_128, MANAGEMENT_KEY)
    selected = heard(piv, PivSession.select())
    mutual = heard(piv, PivSession().mutual_authenticate(key, random_bytes=bytes))
    external = heard(piv, PivSession().external_authenticate(key))
    drive(PivSession().put_data(ObjectId.CHUID, bytes(Chuid(CARD_UUID, NOW.date()))), piv)
    chuid = heard(piv, PivSession().get_data(ObjectId.CHUID))
    status = heard(piv, PivSession().verify_status(), PivSession().verify(PIN))
    yubico = yubico_field()
    yubico.select()
    version = heard(yubico, YubicoExtensions(PivSession()).get_version())
    field = Field()
    encoding = heard(field, personalise(plan(), random_bytes=bytes))
    field.activate()
    tap = heard(field, identify(CardUse.DOOR, UseKeys(CardUse.DOOR), system_id=SYSTEM_ID, random_bytes=bytes))
    both = VirtualCard("fuzz", "fuzz", desfire=Field().card.desfire, piv=plain_applet(), piv_contactless=True)
    both.power_on("contactless")
    return {
        "piv-select.standard": joined(selected),
        "piv-objects.chuid": joined(chuid),
        "piv-authentication.mutual": joined(mutual),
        "piv-authentication.external": joined(external),
        "piv-authentication.status": joined(status[:1]),
        "yubico.version": joined(version),
        "probe.both": joined(heard(both.transmit, probe())),
        "desfire-card.version": joined(heard(Field(), CardLevel.select(), CardLevel(bytes(3)).get_version())[1:]),
        "tap.genuine": joined(tap),
        "encoding.fresh": joined(encoding),
    }


def main() -> None:
    """Write all of them."""
    folder = Path(sys.argv[1])
    for name, content in {**plain_seeds(), **certified_seeds(), **spoken_seeds()}.items():
        (folder / ("issuer.der" if name == "issuer" else f"{name}.bin")).write_bytes(content)


if __name__ == "__main__":
    main()
