# SPDX-License-Identifier: EUPL-1.2
"""A PIV card as Yubico makes them (firmware 5.4.3): its own instructions beside the standard's.

Written from Yubico's published command reference. Differences that clients rely on: every SELECT begins anew, any
8 bytes are a PIN to be compared, every slot signs and agrees, keys have PIN policies of their own, an object without
content is deleted, a command without Le is answered as if it had asked for 256 bytes, and what leaves the factory has
well-known secrets and a 3DES management key. A touch is never asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cardsim.apdu import ApduError, CommandApdu, StatusWord
from cardsim.piv import PIN_REFERENCE, PUK_REFERENCE, SELECT, PivApplet
from cardsim.piv_administration import ADMINISTRATION, DES, ManagementKey
from cardsim.piv_commands import mechanism_to_generate
from cardsim.piv_keys import RETIRED_KEY_MANAGEMENT, KeyUse, PivSlot, generate_key
from cardsim.piv_objects import CERTIFICATES, DISCOVERY, discovery
from cardsim.piv_reference import ReferenceData, is_reference, padded_pin
from cardsim.piv_variant import CardRules, Handler
from cardsim.yubico_keys import imported_slot, pin_policy_from
from cardsim.yubico_metadata import key_metadata, management_metadata, reference_metadata

FIRMWARE = (5, 4, 3)
SERIAL = 20_261_122
FACTORY_PIN, FACTORY_PUK = "123456", b"12345678"
FACTORY_MANAGEMENT_KEY = ManagementKey(DES, bytes.fromhex("0102030405060708") * 3)
MANAGER_ID = bytes.fromhex("A000000527471117")
IMPORT_KEY = 0xFE
OBJECT_BYTES = 3063
MAX_TRIES = 15
PIV_CAPABILITY, KEYCHAIN = 0x10, 0x01


def _capacity_of(tag: bytes) -> int | None:
    return OBJECT_BYTES if tag[:1] in (b"\x5f", b"\x7e", b"\x7f") else None


def _use_of(_slot: int) -> KeyUse:
    return KeyUse(signs=True, agrees=True, any_digest=True)


RULES = CardRules(
    "yubico",
    is_pin=is_reference,
    capacity_of=_capacity_of,
    use_of=_use_of,
    generated_algorithms=frozenset({0x07, 0x11, 0x14}),
    generated_slots=frozenset({*CERTIFICATES, *RETIRED_KEY_MANAGEMENT}),
    chained=frozenset({0x87, 0xDB, 0x47, IMPORT_KEY}),
    forgets_on_select=True,
    deletes_empty=True,
    unasked_length=256,
)


@dataclass(frozen=True)
class YubicoCard:
    """The variant.

    Args:
        serial: the number on the case.
    """

    serial: int = SERIAL
    rules: CardRules = RULES

    def instructions(self, applet: PivApplet) -> Mapping[int, Handler]:
        """Yubico's own, and GENERATE with policies."""
        return _Instructions(self, applet).by_number()

    def application(self, aid: bytes) -> Mapping[int, Handler] | None:
        """The manager, which says what the device can do."""
        if aid != MANAGER_ID:
            return None
        return {SELECT: self._greet, 0x1D: self._capabilities}

    def _greet(self, _command: CommandApdu) -> bytes:
        version = ".".join(str(part) for part in FIRMWARE)
        return f"Virtual mgr - FW version {version}".encode("ascii")

    def _capabilities(self, command: CommandApdu) -> bytes:
        if (command.p1, command.p2) != (0, 0):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        members = b"\x01\x01" + bytes([PIV_CAPABILITY]) + b"\x02\x04" + self.serial.to_bytes(4, "big")
        members += b"\x03\x01" + bytes([PIV_CAPABILITY]) + b"\x04\x01" + bytes([KEYCHAIN])
        members += b"\x05\x03" + bytes(FIRMWARE) + b"\x0a\x01\x00"
        return bytes([len(members)]) + members


def factory_card(serial: int = SERIAL) -> PivApplet:
    """A card as it leaves the factory: no key, the discovery object alone, well-known secrets."""
    pin, puk = ReferenceData(padded_pin(FACTORY_PIN)), ReferenceData(FACTORY_PUK)
    return PivApplet({DISCOVERY: discovery()}, {}, pin, puk, FACTORY_MANAGEMENT_KEY, YubicoCard(serial))


class _Instructions:
    """Yubico's instructions on one card."""

    def __init__(self, make: YubicoCard, applet: PivApplet) -> None:
        self._make = make
        self._applet = applet

    def by_number(self) -> Mapping[int, Handler]:
        return {
            0x47: self._generate,
            0xF7: self._metadata,
            0xF8: lambda _command: self._make.serial.to_bytes(4, "big"),
            0xF9: self._attest,
            0xFA: self._set_tries,
            0xFB: self._reset,
            0xFD: lambda _command: bytes(FIRMWARE),
            IMPORT_KEY: self._import,
            0xFF: self._set_management_key,
        }

    def _generate(self, command: CommandApdu) -> bytes:
        self._applet.require_administrator()
        self._require_slot(command.p2)
        mechanism, others = mechanism_to_generate(command.data)
        if mechanism not in RULES.generated_algorithms:
            raise ApduError(StatusWord.WRONG_DATA)
        policy = pin_policy_from(others)
        return self._applet.generate(command.p2, PivSlot(generate_key(mechanism), b"", policy))

    def _import(self, command: CommandApdu) -> bytes:
        self._applet.require_administrator()
        self._require_slot(command.p2)
        if command.p1 not in RULES.generated_algorithms:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        self._applet.store_key(command.p2, imported_slot(command.p1, command.data))
        return b""

    def _metadata(self, command: CommandApdu) -> bytes:
        applet = self._applet
        if command.p2 == PIN_REFERENCE:
            return reference_metadata(applet.pin, padded_pin(FACTORY_PIN))
        if command.p2 == PUK_REFERENCE:
            return reference_metadata(applet.puk, FACTORY_PUK)
        if command.p2 == ADMINISTRATION:
            return management_metadata(applet.management_key, FACTORY_MANAGEMENT_KEY)
        slot = applet.slots.get(command.p2)
        if slot is None:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)
        return key_metadata(command.p2, slot)

    def _attest(self, _command: CommandApdu) -> bytes:
        """Refused: a simulated card vouches for nothing."""
        raise ApduError(StatusWord.FUNCTION_NOT_SUPPORTED)

    def _set_tries(self, command: CommandApdu) -> bytes:
        """New numbers of tries; the PIN and the PUK are the factory's again."""
        self._applet.require_administrator()
        if not self._applet.pin_verified:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        if not (1 <= command.p1 <= MAX_TRIES and 1 <= command.p2 <= MAX_TRIES):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        self._applet.pin = ReferenceData(padded_pin(FACTORY_PIN), command.p1)
        self._applet.puk = ReferenceData(FACTORY_PUK, command.p2)
        return b""

    def _reset(self, _command: CommandApdu) -> bytes:
        """Back to the factory's state, which is only possible when neither PIN nor PUK is left."""
        applet, new = self._applet, factory_card(self._make.serial)
        if applet.pin.remaining or applet.puk.remaining:
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED)
        applet.objects, applet.slots = new.objects, new.slots
        applet.pin, applet.puk, applet.management_key = new.pin, new.puk, new.management_key
        applet.administrator.forget()
        return b""

    def _set_management_key(self, command: CommandApdu) -> bytes:
        self._applet.require_administrator()
        head, value = command.data[:3], command.data[3:]
        if len(head) != 3 or head[1:] != bytes([ADMINISTRATION, len(value)]):
            raise ApduError(StatusWord.WRONG_DATA)
        try:
            self._applet.management_key = ManagementKey(head[0], value)
        except ValueError as error:
            raise ApduError(StatusWord.WRONG_DATA) from error
        return b""

    def _require_slot(self, number: int) -> None:
        if number not in RULES.generated_slots:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
