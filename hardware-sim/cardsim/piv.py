# SPDX-License-Identifier: EUPL-1.2
"""The PIV card application (SP 800-73-4 part 2), without management commands: a card as it leaves the encoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cardsim import tlv
from cardsim.apdu import ApduError, CommandApdu, StatusWord
from cardsim.interfaces import Interface
from cardsim.piv_keys import (
    CARD_AUTHENTICATION,
    DIGITAL_SIGNATURE,
    PivSlot,
    algorithm_of,
    general_authenticate,
)
from cardsim.piv_objects import APPLICATION_ID, FREE_AT_CONTACTLESS
from cardsim.piv_reference import REFERENCE_LENGTH, ReferenceData, is_padded_pin

SELECT = 0xA4
PIN_REFERENCE = 0x80
PUK_REFERENCE = 0x81
RID_LENGTH = 5
# Application property template: PIX with version, and the authority that gave the RID.
APPLICATION_PROPERTIES = bytes.fromhex("61114F0600001000010079074F05A000000308")


@dataclass
class PivApplet:
    """The PIV application of one card.

    Args:
        objects: data objects by tag, as GET DATA returns them.
        slots: keys by slot number (9A, 9C, 9D, 9E).
        pin: the PIV PIN (reference 80).
        puk: its unblocking key (reference 81).
    """

    objects: Mapping[bytes, bytes] = field(repr=False)
    slots: Mapping[int, PivSlot]
    pin: ReferenceData
    puk: ReferenceData

    def __post_init__(self) -> None:
        self.reset("contact")

    def reset(self, interface: Interface) -> None:
        """Forget selection and PIN; retry counters stay."""
        self._contactless = interface == "contactless"
        self._selected = False
        self._pin_verified = False
        self._pin_fresh = False

    def handle(self, command: CommandApdu) -> bytes:
        """The data of a successful answer.

        Raises:
            ApduError: with the status word of any other answer.
        """
        if command.ins == SELECT:
            return self._select(command)
        handlers: dict[int, Callable[[CommandApdu], bytes]] = {
            0x20: self._verify,
            0x24: self._change_reference_data,
            0x2C: self._reset_retry_counter,
            0x87: self._general_authenticate,
            0xCB: self._get_data,
        }
        if not self._selected or command.ins not in handlers:
            raise ApduError(StatusWord.INSTRUCTION_NOT_SUPPORTED)
        return handlers[command.ins](command)

    def _select(self, command: CommandApdu) -> bytes:
        if (command.p1, command.p2) != (0x04, 0x00):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        if len(command.data) < RID_LENGTH or not APPLICATION_ID.startswith(command.data):
            raise ApduError(StatusWord.NOT_FOUND)
        self._selected = True
        self._forget_pin()
        return APPLICATION_PROPERTIES

    def _get_data(self, command: CommandApdu) -> bytes:
        if (command.p1, command.p2) != (0x3F, 0xFF):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        try:
            request = tlv.decode(command.data)
        except ValueError as error:
            raise ApduError(StatusWord.WRONG_DATA) from error
        if set(request) != {0x5C}:
            raise ApduError(StatusWord.WRONG_DATA)
        tag = request[0x5C]
        if tag not in self.objects:
            raise ApduError(StatusWord.NOT_FOUND)
        if self._contactless and tag not in FREE_AT_CONTACTLESS:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        return self.objects[tag]

    def _verify(self, command: CommandApdu) -> bytes:
        self._require_reference(command, PIN_REFERENCE)
        self._require_contact()
        if command.p1 == 0xFF and not command.data:
            self._forget_pin()
            return b""
        if command.p1 != 0:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        if not command.data:
            if self._pin_verified:
                return b""
            raise ApduError(StatusWord.VERIFICATION_FAILED | self.pin.remaining)
        if not is_padded_pin(command.data):
            raise ApduError(StatusWord.WRONG_DATA)
        self._check_pin(command.data)
        return b""

    def _change_reference_data(self, command: CommandApdu) -> bytes:
        self._require_reference(command, PIN_REFERENCE, PUK_REFERENCE)
        self._require_contact()
        old, new = _two_secrets(command)
        if command.p2 == PUK_REFERENCE:
            self.puk.verify(old)
            self.puk.replace(new)
            return b""
        if not is_padded_pin(new):
            raise ApduError(StatusWord.WRONG_DATA)
        self._check_pin(old)
        self.pin.replace(new)
        return b""

    def _reset_retry_counter(self, command: CommandApdu) -> bytes:
        self._require_reference(command, PIN_REFERENCE)
        self._require_contact()
        puk, new = _two_secrets(command)
        if not is_padded_pin(new):
            raise ApduError(StatusWord.WRONG_DATA)
        self._forget_pin()
        self.puk.verify(puk)
        self.pin.replace(new)
        return b""

    def _general_authenticate(self, command: CommandApdu) -> bytes:
        slot = self.slots.get(command.p2)
        if slot is None:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)
        if command.p1 != algorithm_of(slot.private_key):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        self._require_right_to_use(command.p2)
        self._pin_fresh = False
        return general_authenticate(command.p2, slot.private_key, command.data)

    def _require_right_to_use(self, slot_number: int) -> None:
        """9E is free; 9A and 9D want the PIN once, 9C directly before each use; all three want the contacts."""
        if slot_number == CARD_AUTHENTICATION:
            return
        allowed = self._pin_fresh if slot_number == DIGITAL_SIGNATURE else self._pin_verified
        if self._contactless or not allowed:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)

    def _require_reference(self, command: CommandApdu, *allowed: int) -> None:
        if command.p2 not in allowed:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)

    def _require_contact(self) -> None:
        if self._contactless:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)

    def _check_pin(self, presented: bytes) -> None:
        self._forget_pin()
        self.pin.verify(presented)
        self._pin_verified = True
        self._pin_fresh = True

    def _forget_pin(self) -> None:
        self._pin_verified = False
        self._pin_fresh = False


def _two_secrets(command: CommandApdu) -> tuple[bytes, bytes]:
    if command.p1 != 0:
        raise ApduError(StatusWord.INCORRECT_P1_P2)
    if len(command.data) != 2 * REFERENCE_LENGTH:
        raise ApduError(StatusWord.WRONG_DATA)
    return command.data[:REFERENCE_LENGTH], command.data[REFERENCE_LENGTH:]
