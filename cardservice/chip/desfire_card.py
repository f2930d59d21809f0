# SPDX-License-Identifier: EUPL-1.2
"""The card level (PICC) of a DESFire card: applications, configuration, erasing, the originality signature."""

from typing import Final

from cardservice.chip.apdu import ResponseApdu
from cardservice.chip.conversation import Conversation
from cardservice.chip.desfire import accept, collect, expect_length, wrap
from cardservice.chip.desfire_formats import AID_BYTES, NewApplication
from cardservice.chip.desfire_messages import CommMode, Ins, Message
from cardservice.chip.desfire_selected import Selected
from cardservice.chip.errors import ProtocolError
from cardservice.chip.keys import KEY_BYTES
from cardservice.chip.status import DESFIRE_SIGNATURE

PICC_AID: Final = bytes(AID_BYTES)
PICC_KEY_NO: Final = 0
ORIGINALITY_SIGNATURE_BYTES: Final = 56
MAX_APPLICATIONS: Final = 256

_CONFIGURATION_PICC: Final = 0x00
_CONFIGURATION_DEFAULT_KEY: Final = 0x01
_RANDOM_UID: Final = 0x02
_DEFAULT_KEY_FIELD_BYTES: Final = 24
_ORIGINALITY_ADDRESS: Final = 0x00


class CardLevel(Selected):
    """The selected card level."""

    @classmethod
    def select(cls) -> Conversation["CardLevel"]:
        """SelectApplication (5A) of 000000.

        Raises:
            ApplicationNotFound: the card speaks no DESFire.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        return cls._select(PICC_AID)

    def get_application_ids(self) -> Conversation[tuple[bytes, ...]]:
        """GetApplicationIDs (6A): 3 bytes each as sent, at most 256."""
        answer = yield from self._transact(Message(Ins.GET_APPLICATION_IDS, CommMode.MAC))
        if len(answer) % AID_BYTES or len(answer) > AID_BYTES * MAX_APPLICATIONS:
            raise ProtocolError(Ins.GET_APPLICATION_IDS.name, f"{len(answer)} bytes are no list of 3 bytes each")
        return tuple(answer[i : i + AID_BYTES] for i in range(0, len(answer), AID_BYTES))

    def create_application(self, application: NewApplication) -> Conversation[None]:
        """CreateApplication (CA)."""
        yield from self._expect_nothing(Message(Ins.CREATE_APPLICATION, CommMode.MAC, bytes(application)))

    def delete_application(self, aid: bytes) -> Conversation[None]:
        """DeleteApplication (DA); `aid` is 3 bytes as sent."""
        if len(aid) != AID_BYTES:
            raise ValueError(f"an application identifier has {AID_BYTES} bytes, not {len(aid)}")
        yield from self._expect_nothing(Message(Ins.DELETE_APPLICATION, CommMode.MAC, aid))

    def set_default_key(self, key: bytes, *, version: int = 0) -> Conversation[None]:
        """SetConfiguration (5C) 01: the AES key that applications are created with from now on.

        The field holds 24 bytes for any cipher; an AES key is filled up with zeros (libfreefare `mifare_desfire.c`).
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"an AES-128 key has {KEY_BYTES} bytes, not {len(key)}")
        data = key.ljust(_DEFAULT_KEY_FIELD_BYTES, b"\x00") + bytes((version,))
        yield from self._configure(_CONFIGURATION_DEFAULT_KEY, data)

    def enable_random_uid(self) -> Conversation[None]:
        """SetConfiguration (5C) 00 with random UID on, which can never be undone; formatting stays allowed."""
        yield from self._configure(_CONFIGURATION_PICC, bytes((_RANDOM_UID,)))

    def format_picc(self) -> Conversation[None]:
        """FormatPICC (FC): all applications are gone; the PICC key, its settings and the configuration stay."""
        yield from self._expect_nothing(Message(Ins.FORMAT_PICC, CommMode.MAC))

    def free_memory(self) -> Conversation[int]:
        """FreeMemory (6E), in bytes."""
        answer = yield from self._transact(Message(Ins.FREE_MEMORY, CommMode.MAC))
        return int.from_bytes(expect_length(Ins.FREE_MEMORY, answer, 3), "little")

    def read_signature(self) -> Conversation[bytes]:
        """Read_Sig (3C) before any authentication: NXP's signature over the UID, 56 bytes (AN12343 §8).

        It ends with status 90 instead of 00. Raises `StatusError` where a chip has none, or hides it.
        """
        ins = Ins.READ_SIGNATURE
        raw = yield from collect(wrap(ins, bytes((_ORIGINALITY_ADDRESS,))))
        response = ResponseApdu.from_bytes(raw)
        data = response.data if response.sw == DESFIRE_SIGNATURE else accept(ins, raw)
        return expect_length(ins, data, ORIGINALITY_SIGNATURE_BYTES)

    def _configure(self, option: int, data: bytes) -> Conversation[None]:
        yield from self._expect_nothing(Message(Ins.SET_CONFIGURATION, CommMode.FULL, bytes((option,)), data))
