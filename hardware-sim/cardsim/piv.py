# SPDX-License-Identifier: EUPL-1.2
"""The PIV card application (SP 800-73-4 part 2): every card command but secure messaging and on-card comparison."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cardsim import tlv
from cardsim.apdu import ApduError, CommandApdu, StatusWord
from cardsim.interfaces import Interface, RandomBytes
from cardsim.piv_administration import ADMINISTRATION, AES_256, SYNONYMS, Administrator, ManagementKey
from cardsim.piv_commands import mechanism_to_generate, object_to_store, requested_tag, require_form, two_secrets
from cardsim.piv_keys import (
    PinPolicy,
    PivSlot,
    algorithm_of,
    general_authenticate,
    generate_key,
    pin_policy_of,
    public_key_objects,
)
from cardsim.piv_objects import APPLICATION_ID, BEHIND_THE_PIN, FREE_AT_CONTACTLESS
from cardsim.piv_reference import ReferenceData, is_reference
from cardsim.piv_variant import Handler, PivVariant, StandardCard

SELECT = 0xA4
RESET_RETRY_COUNTER, PUT_DATA, GENERATE = 0x2C, 0xDB, 0x47
# Part 2 table 2: "No" in the column of the contactless interface.
CONTACT_ONLY = frozenset({RESET_RETRY_COUNTER, PUT_DATA, GENERATE})
PIN_REFERENCE = 0x80
PUK_REFERENCE = 0x81
RID_LENGTH = 5
PUBLIC_KEY_TEMPLATE = bytes.fromhex("7F49")
# Application property template: PIX with version, and the authority that gave the RID.
APPLICATION_PROPERTIES = bytes.fromhex("61114F0600001000010079074F05A000000308")


def _unknown_management_key() -> ManagementKey:
    return ManagementKey(AES_256, secrets.token_bytes(32))


@dataclass
class PivApplet:
    """The PIV application of one card.

    Args:
        objects: data objects by tag, as GET DATA returns them.
        slots: keys by slot number (9A, 9C, 9D, 9E, retired ones 82 to 95).
        pin: the PIV PIN (reference 80).
        puk: its unblocking key (reference 81).
        management_key: the administration key 9B; nobody knows it where it is not given.
        variant: the make of the card.
        random_bytes: source of challenges.
    """

    objects: Mapping[bytes, bytes] = field(repr=False)
    slots: Mapping[int, PivSlot]
    pin: ReferenceData
    puk: ReferenceData
    management_key: ManagementKey = field(default_factory=_unknown_management_key)
    variant: PivVariant = field(default_factory=StandardCard)
    random_bytes: RandomBytes = field(default=secrets.token_bytes, repr=False)

    def __post_init__(self) -> None:
        self._pin_verified = self._pin_fresh = self._pin_just_given = False
        self.objects = dict(self.objects)
        self.slots = dict(self.slots)
        self.administrator = Administrator(self.random_bytes)
        self.reset("contact")

    def reset(self, interface: Interface) -> None:
        """Forget selection and every security status; retry counters, keys and objects stay."""
        self._contactless = interface == "contactless"
        self._selected = False
        self._other: Mapping[int, Handler] | None = None
        self._forget()

    @property
    def pin_verified(self) -> bool:
        """The security status of the PIN."""
        return self._pin_verified

    @property
    def unasked_length(self) -> int:
        """Bytes of an answer that are given to a command without Le."""
        return self.variant.rules.unasked_length

    def chains(self, ins: int) -> bool:
        """Whether the data of an instruction may come in parts (part 2 table 2)."""
        return ins in self.variant.rules.chained

    def handle(self, command: CommandApdu) -> bytes:
        """The data of a successful answer.

        Raises:
            ApduError: with the status word of any other answer.
        """
        # Whatever comes in between: a PIN counts for slot 9C immediately before (SP 800-73-4 part 1, 3.2.1).
        self._pin_just_given, self._pin_fresh = self._pin_fresh, False
        if command.ins == SELECT:
            return self._select(command)
        handlers = self._instructions() if self._other is None else self._other
        if not (self._selected or self._other) or command.ins not in handlers:
            raise ApduError(StatusWord.INSTRUCTION_NOT_SUPPORTED)
        if self._contactless and command.ins in CONTACT_ONLY:
            raise ApduError(StatusWord.FUNCTION_NOT_SUPPORTED)
        return handlers[command.ins](command)

    def store_key(self, slot_number: int, slot: PivSlot) -> None:
        """Put a key into a slot, in place of the one that is there; the certificate object stays as it is."""
        self.slots = {**self.slots, slot_number: slot}

    def require_administrator(self) -> None:
        """Refuse before the key 9B was proved.

        Raises:
            ApduError: 6982.
        """
        if not self.administrator.authenticated:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)

    def _instructions(self) -> Mapping[int, Handler]:
        return {
            0x20: self._verify,
            0x24: self._change_reference_data,
            RESET_RETRY_COUNTER: self._reset_retry_counter,
            0x87: self._general_authenticate,
            0xCB: self._get_data,
            PUT_DATA: self._put_data,
            GENERATE: self._generate,
            **self.variant.instructions(self),
        }

    def _select(self, command: CommandApdu) -> bytes:
        """An unknown AID leaves everything as it is, another application ends all of PIV's security statuses."""
        if (command.p1, command.p2) != (0x04, 0x00):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        if len(command.data) >= RID_LENGTH and APPLICATION_ID.startswith(command.data):
            if self.variant.rules.forgets_on_select:
                self._forget()
            self._selected, self._other = True, None
            return APPLICATION_PROPERTIES
        other = self.variant.application(command.data)
        if other is None:
            raise ApduError(StatusWord.NOT_FOUND)
        self._selected, self._other = False, other
        self._forget()
        return other[SELECT](command)

    def _get_data(self, command: CommandApdu) -> bytes:
        tag = requested_tag(command)
        if tag not in self.objects:
            raise ApduError(StatusWord.NOT_FOUND)
        needs_pin = tag in BEHIND_THE_PIN and not self._pin_verified
        if tag not in FREE_AT_CONTACTLESS if self._contactless else needs_pin:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        return self.objects[tag]

    def _put_data(self, command: CommandApdu) -> bytes:
        self.require_administrator()
        tag, content, is_empty = object_to_store(command)
        capacity = self.variant.rules.capacity_of(tag)
        if capacity is None:
            raise ApduError(StatusWord.FUNCTION_NOT_SUPPORTED)
        if len(content) > capacity:
            raise ApduError(StatusWord.NOT_ENOUGH_MEMORY)
        others = {known: value for known, value in self.objects.items() if known != tag}
        deletes = is_empty and self.variant.rules.deletes_empty
        self.objects = others if deletes else {**others, tag: content}
        return b""

    def _generate(self, command: CommandApdu) -> bytes:
        rules = self.variant.rules
        if command.p1 != 0 or command.p2 not in rules.generated_slots:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        self.require_administrator()
        mechanism, others = mechanism_to_generate(command.data)
        if mechanism not in rules.generated_algorithms or others:
            raise ApduError(StatusWord.WRONG_DATA)
        return self.generate(command.p2, PivSlot(generate_key(mechanism), b""))

    def generate(self, slot_number: int, slot: PivSlot) -> bytes:
        """Keep a new key and return its public half as a template 7F49."""
        self.store_key(slot_number, slot)
        return tlv.encode(PUBLIC_KEY_TEMPLATE, public_key_objects(slot.private_key))

    def _verify(self, command: CommandApdu) -> bytes:
        self._require_reference(command, PIN_REFERENCE)
        self._require_contact()
        if command.p1 not in (0x00, 0xFF):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        if command.p1 == 0xFF:
            if command.data:
                raise ApduError(StatusWord.WRONG_DATA)
            self._forget_pin()
        elif command.data:
            self.pin.require_open()
            require_form(self.variant.rules.is_pin, command.data)
            self._check_pin(command.data)
        elif not self._pin_verified:
            raise self.pin.failure()
        return b""

    def _change_reference_data(self, command: CommandApdu) -> bytes:
        self._require_reference(command, PIN_REFERENCE, PUK_REFERENCE)
        self._require_contact()
        (self.puk if command.p2 == PUK_REFERENCE else self.pin).require_open()
        old, new = two_secrets(command)
        if command.p2 == PUK_REFERENCE:
            require_form(is_reference, old, new)
            if not self.puk.matches(old):
                raise self.puk.failure()
            self.puk.replace(new)
            return b""
        require_form(self.variant.rules.is_pin, old, new)
        self._check_pin(old)
        self.pin.replace(new)
        return b""

    def _reset_retry_counter(self, command: CommandApdu) -> bytes:
        """The PIN's security status stays as it is, unless the PUK is wrong."""
        self._require_reference(command, PIN_REFERENCE)
        self.puk.require_open()
        puk, new = two_secrets(command)
        require_form(self.variant.rules.is_pin, new)
        if not self.puk.matches(puk):
            self._forget_pin()
            raise self.puk.failure()
        self.pin.replace(new)
        return b""

    def _general_authenticate(self, command: CommandApdu) -> bytes:
        if command.p2 == ADMINISTRATION:
            return self._authenticate_administrator(command)
        slot = self.slots.get(command.p2)
        if slot is None or command.p1 != algorithm_of(slot.private_key):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        policy = slot.pin_policy or pin_policy_of(command.p2)
        if policy is not PinPolicy.NEVER:
            self._require_contact()
            if not (self._pin_just_given if policy is PinPolicy.ALWAYS else self._pin_verified):
                raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        return general_authenticate(self.variant.rules.use_of(command.p2), slot.private_key, command.data)

    def _authenticate_administrator(self, command: CommandApdu) -> bytes:
        if SYNONYMS.get(command.p1, command.p1) != self.management_key.algorithm:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        self._require_contact()
        return self.administrator.answer(self.management_key, command.data)

    def _require_reference(self, command: CommandApdu, *allowed: int) -> None:
        if command.p2 not in allowed:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)

    def _require_contact(self) -> None:
        if self._contactless:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)

    def _check_pin(self, presented: bytes) -> None:
        self._forget_pin()
        if not self.pin.matches(presented):
            raise self.pin.failure()
        self._pin_verified = True
        self._pin_fresh = True

    def _forget(self) -> None:
        self._forget_pin()
        self.administrator.forget()

    def _forget_pin(self) -> None:
        self._pin_verified = False
        self._pin_fresh = False


@dataclass(frozen=True)
class Memory:
    """What survives without power, as it was at one moment."""

    objects: Mapping[bytes, bytes] = field(repr=False)
    slots: Mapping[int, PivSlot]
    pin: ReferenceData
    puk: ReferenceData
    management_key: ManagementKey


def memory_of(applet: PivApplet) -> Memory:
    """A copy of a card's memory; two of them are equal if nothing was written in between."""
    pin, puk = replace(applet.pin), replace(applet.puk)
    return Memory(applet.objects, applet.slots, pin, puk, applet.management_key)
