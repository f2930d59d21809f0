# SPDX-License-Identifier: EUPL-1.2
"""A dual-interface card: routes each command to the applet that answers at the powered interface."""

import secrets
from dataclasses import dataclass, field

from cardsim.apdu import MAX_APDU_LENGTH, ApduError, CommandApdu, StatusWord, parse_command, status_bytes
from cardsim.desfire import NATIVE_INSTRUCTIONS, WRAPPED_CLASS, DesfireApplet
from cardsim.errors import CardPulled
from cardsim.interfaces import Interface, RandomBytes
from cardsim.iso_channel import IsoChannel
from cardsim.piv import SELECT, PivApplet

READER_CLASS = 0xFF
GET_UID = 0xCA
# PC/SC part 3 section 3.1.3.2.3.1: 3B 8n 80 01, the n historical bytes of the ATS (80 for a DESFire), TCK.
CONTACTLESS_ATR = bytes.fromhex("3B8180018080")
CONTACT_ATR = bytes.fromhex("3B8180018080")
RANDOM_UID_MARK = b"\x08"


@dataclass
class VirtualCard:
    """A card with up to two applets.

    Args:
        card_id: name of the card inside a deck.
        label: text a person would read on the card.
        desfire: answers at the contactless interface only.
        piv: answers at the contacts, and contactless if ``piv_contactless``.
        piv_contactless: whether the card was personalised so.
        random_bytes: source of the random UID.

    A DESFire shows its real UID until it is configured for random ones; a card without DESFire always shows a
    random one.
    """

    card_id: str
    label: str
    desfire: DesfireApplet | None = None
    piv: PivApplet | None = None
    piv_contactless: bool = False
    random_bytes: RandomBytes = field(default=secrets.token_bytes, repr=False)

    def __post_init__(self) -> None:
        self._interface: Interface | None = None
        self._uid = b""
        self._channel: IsoChannel | None = None

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card; every session is lost and a new random UID is drawn, if the card has one.

        Raises:
            ValueError: if the interface is unknown.
        """
        if interface not in ("contact", "contactless"):
            raise ValueError(f"the interface is 'contact' or 'contactless', got {interface!r}")
        self.power_off()
        self._interface = interface
        if self.desfire is None or self.desfire.memory.configuration.random_uid:
            self._uid = RANDOM_UID_MARK + self.random_bytes(3)
        else:
            self._uid = self.desfire.uid
        if self.piv is not None and (interface == "contact" or self.piv_contactless):
            self._channel = IsoChannel(self.piv)
        self._reset_iso()
        if interface == "contact":
            return CONTACT_ATR
        return CONTACTLESS_ATR if self.desfire is None else atr_from_ats(self.desfire.memory.configuration.ats)

    def power_off(self) -> None:
        """Forget every session, the random UID and the interface."""
        self._reset_desfire()
        self._reset_iso()
        self._interface = None
        self._channel = None
        self._uid = b""

    def transmit(self, apdu: bytes) -> bytes:
        """Answer any bytes; without power the answer is empty, native DESFire answers begin with their status.

        Raises:
            CardPulled: where the memory's weakness took the card away.
        """
        if self._interface is None:
            return b""
        try:
            return self._route(bytes(apdu))
        except ApduError as error:
            return status_bytes(error.status_word)
        except CardPulled:
            self.power_off()
            raise

    def _route(self, apdu: bytes) -> bytes:
        if not apdu or len(apdu) > MAX_APDU_LENGTH:
            raise ApduError(StatusWord.WRONG_LENGTH)
        desfire = self.desfire if self._interface == "contactless" else None
        if apdu[0] in NATIVE_INSTRUCTIONS and desfire is not None:
            self._reset_iso()
            return desfire.native(apdu)
        if apdu[0] == WRAPPED_CLASS and desfire is None:
            raise ApduError(StatusWord.CLASS_NOT_SUPPORTED)
        command = parse_command(apdu)
        if command.cla == READER_CLASS:
            return self._reader_command(command)
        if command.cla == WRAPPED_CLASS and desfire is not None:
            self._reset_iso()
            return desfire.wrapped(command)
        self._reset_desfire()
        return self._iso_command(command, desfire)

    def _iso_command(self, command: CommandApdu, desfire: DesfireApplet | None) -> bytes:
        is_select = (command.cla, command.ins) == (0x00, SELECT)
        if desfire is not None and is_select and desfire.iso_select(command.p1, command.data):
            self._reset_iso()
            return status_bytes(StatusWord.OK)
        if self._channel is not None:
            return self._channel.transmit(command)
        if command.cla != 0:
            raise ApduError(StatusWord.CLASS_NOT_SUPPORTED)
        if command.ins == SELECT:
            raise ApduError(StatusWord.NOT_FOUND)
        raise ApduError(StatusWord.INSTRUCTION_NOT_SUPPORTED)

    def _reader_command(self, command: CommandApdu) -> bytes:
        """PC/SC part 3 section 3.2.2.1.3 Get Data; the reader answers it, so it touches no applet."""
        is_get_uid = (command.ins, command.p1, command.p2, command.data) == (GET_UID, 0, 0, b"")
        if not is_get_uid or self._interface == "contact":
            raise ApduError(StatusWord.FUNCTION_NOT_SUPPORTED)
        wanted = command.expected_length
        if wanted is None:
            raise ApduError(StatusWord.WRONG_LENGTH)
        if wanted < len(self._uid):
            raise ApduError(StatusWord.WRONG_LE | len(self._uid))
        exact_or_all = wanted in (len(self._uid), 256)
        return self._uid + status_bytes(StatusWord.OK if exact_or_all else StatusWord.END_OF_DATA)

    def _reset_desfire(self) -> None:
        if self.desfire is not None:
            self.desfire.reset()

    def _reset_iso(self) -> None:
        if self._channel is not None:
            self._channel.reset()
        if self.piv is not None and self._interface is not None:
            self.piv.reset(self._interface)


def atr_from_ats(ats: bytes) -> bytes:
    """The ATR a reader makes of an ATS (PC/SC part 3 section 3.1.3.2.3.1): 3B 8n 80 01, n historical bytes, TCK."""
    interface_bytes = (ats[1] >> 4 & 1) + (ats[1] >> 5 & 1) + (ats[1] >> 6 & 1)
    historical = ats[2 + interface_bytes :][:15]
    atr = bytes([0x3B, 0x80 | len(historical), 0x80, 0x01]) + historical
    check = 0
    for octet in atr[1:]:
        check ^= octet
    return atr + bytes([check])
