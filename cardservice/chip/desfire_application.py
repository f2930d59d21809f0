# SPDX-License-Identifier: EUPL-1.2
"""One application of a DESFire card: its files, values, transactions and key sets."""

from dataclasses import dataclass
from typing import Final

from cardservice.chip.conversation import Conversation
from cardservice.chip.desfire import expect_length
from cardservice.chip.desfire_formats import KEY_SETS_MAX, AccessRights, FileSettings, KeyType, ValueLimits
from cardservice.chip.desfire_messages import CommMode, Ins, KeyChange, Message
from cardservice.chip.desfire_selected import Selected
from cardservice.chip.errors import ProtocolError
from cardservice.chip.keys import KeyToWrite

MAX_FILES: Final = 32

_KEY_SET_OPTION: Final = 0x40
_ALL_KEY_SETS: Final = 0x80
_VALUE_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class DataFile:
    """A standard or backup file to create.

    Attributes:
        file_no: 0 to 31.
        size_bytes: 1 to 16,777,215.
        mode: how its content travels.
        rights: who may do what.
        iso_file_id: its ISO 7816-4 identifier, where the application has such.
    """

    file_no: int
    size_bytes: int
    mode: CommMode
    rights: AccessRights
    iso_file_id: int | None = None

    def __bytes__(self) -> bytes:
        iso = b"" if self.iso_file_id is None else self.iso_file_id.to_bytes(2, "little")
        head = bytes((self.file_no,)) + iso + bytes((self.mode,))
        return head + bytes(self.rights) + self.size_bytes.to_bytes(3, "little")


class CardApplication(Selected):
    """A selected application."""

    @classmethod
    def select(cls, aid: bytes) -> Conversation["CardApplication"]:
        """SelectApplication (5A); `aid` is 3 bytes as sent.

        Raises:
            ApplicationNotFound: the card does not hold it, or speaks no DESFire.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        return cls._select(aid)

    def create_std_data_file(self, file: DataFile) -> Conversation[None]:
        """CreateStdDataFile (CD)."""
        yield from self._expect_nothing(Message(Ins.CREATE_STD_DATA_FILE, CommMode.MAC, bytes(file)))

    def create_backup_data_file(self, file: DataFile) -> Conversation[None]:
        """CreateBackupDataFile (CB): what is written counts from CommitTransaction on."""
        yield from self._expect_nothing(Message(Ins.CREATE_BACKUP_DATA_FILE, CommMode.MAC, bytes(file)))

    def create_value_file(
        self, file_no: int, limits: ValueLimits, *, mode: CommMode, rights: AccessRights
    ) -> Conversation[None]:
        """CreateValueFile (CC)."""
        header = bytes((file_no, mode)) + bytes(rights) + bytes(limits)
        yield from self._expect_nothing(Message(Ins.CREATE_VALUE_FILE, CommMode.MAC, header))

    def delete_file(self, file_no: int) -> Conversation[None]:
        """DeleteFile (DF)."""
        yield from self._expect_nothing(Message(Ins.DELETE_FILE, CommMode.MAC, bytes((file_no,))))

    def get_file_ids(self) -> Conversation[tuple[int, ...]]:
        """GetFileIDs (6F): at most 32 numbers."""
        answer = yield from self._transact(Message(Ins.GET_FILE_IDS, CommMode.MAC))
        if len(answer) > MAX_FILES or len(set(answer)) != len(answer):
            raise ProtocolError(
                Ins.GET_FILE_IDS.name, f"{len(answer)} files, at most {MAX_FILES} different are allowed"
            )
        return tuple(answer)

    def get_file_settings(self, file_no: int) -> Conversation[FileSettings]:
        """GetFileSettings (F5)."""
        answer = yield from self._transact(Message(Ins.GET_FILE_SETTINGS, CommMode.MAC, bytes((file_no,))))
        return FileSettings.from_bytes(answer)

    def change_file_settings(self, file_no: int, mode: CommMode, rights: AccessRights) -> Conversation[None]:
        """ChangeFileSettings (5F), enciphered (AN12196 §5.8)."""
        data = bytes((mode,)) + bytes(rights)
        yield from self._expect_nothing(Message(Ins.CHANGE_FILE_SETTINGS, CommMode.FULL, bytes((file_no,)), data))

    def read_data(self, file_no: int, offset: int, length: int, *, mode: CommMode) -> Conversation[bytes]:
        """ReadData (BD), exactly `length` bytes (1 or more), in as many frames as the card takes."""
        header = bytes((file_no,)) + offset.to_bytes(3, "little") + length.to_bytes(3, "little")
        message = Message(Ins.READ_DATA_NATIVE, mode, header, answer_bytes=length)
        return expect_length(Ins.READ_DATA_NATIVE, (yield from self._transact(message)), length)

    def write_data(self, file_no: int, offset: int, data: bytes, *, mode: CommMode) -> Conversation[None]:
        """WriteData (3D), in as many frames as it needs."""
        header = bytes((file_no,)) + offset.to_bytes(3, "little") + len(data).to_bytes(3, "little")
        yield from self._expect_nothing(Message(Ins.WRITE_DATA_NATIVE, mode, header, data))

    def get_value(self, file_no: int, *, mode: CommMode) -> Conversation[int]:
        """GetValue (6C), signed."""
        message = Message(Ins.GET_VALUE, mode, bytes((file_no,)), answer_bytes=_VALUE_BYTES)
        answer = expect_length(Ins.GET_VALUE, (yield from self._transact(message)), _VALUE_BYTES)
        return int.from_bytes(answer, "little", signed=True)

    def credit(self, file_no: int, amount: int, *, mode: CommMode) -> Conversation[None]:
        """Credit (0C); counts from CommitTransaction on."""
        yield from self._move_value(Ins.CREDIT, file_no, amount, mode)

    def debit(self, file_no: int, amount: int, *, mode: CommMode) -> Conversation[None]:
        """Debit (DC); counts from CommitTransaction on."""
        yield from self._move_value(Ins.DEBIT, file_no, amount, mode)

    def commit_transaction(self) -> Conversation[None]:
        """CommitTransaction (C7)."""
        yield from self._expect_nothing(Message(Ins.COMMIT_TRANSACTION, CommMode.MAC))

    def abort_transaction(self) -> Conversation[None]:
        """AbortTransaction (A7)."""
        yield from self._expect_nothing(Message(Ins.ABORT_TRANSACTION, CommMode.MAC))

    def get_key_set_versions(self) -> Conversation[tuple[int, ...]]:
        """GetKeyVersion (64) with the option for all key sets: their versions, the set in force first, at most 16."""
        header = bytes((_KEY_SET_OPTION, _ALL_KEY_SETS))
        answer = yield from self._transact(Message(Ins.GET_KEY_VERSION, CommMode.MAC, header))
        if not 1 <= len(answer) <= KEY_SETS_MAX:
            raise ProtocolError(Ins.GET_KEY_VERSION.name, f"{len(answer)} key sets, allowed are 1 to {KEY_SETS_MAX}")
        return tuple(answer)

    def initialize_key_set(self, key_set_no: int, key_type: KeyType = KeyType.AES) -> Conversation[None]:
        """InitializeKeySet (56): the set is filled with the keys in force, to be changed by `change_key_ev2`."""
        yield from self._expect_nothing(
            Message(Ins.INITIALIZE_KEY_SET, CommMode.MAC, bytes((_not_in_force(key_set_no), key_type)))
        )

    def change_key_ev2(
        self, key_set_no: int, key_no: int, new: KeyToWrite, *, old: KeyToWrite | None, version: int = 0
    ) -> Conversation[None]:
        """ChangeKeyEV2 (C6). For another set than 0, `old` is that set's key, whichever key authenticated.

        Raises as `change_key` does.
        """
        is_own = key_set_no == 0 and key_no == self.authenticated_key_no
        if (old is None) != is_own:
            raise ValueError("the old key is needed for every key but the one that authenticated")
        change = KeyChange(Ins.CHANGE_KEY_EV2, bytes((key_set_no, key_no)), new, old, version)
        yield from self._change(change)

    def finalize_key_set(self, key_set_no: int, version: int) -> Conversation[None]:
        """FinalizeKeySet (57): the set is complete and has this version."""
        yield from self._expect_nothing(
            Message(Ins.FINALIZE_KEY_SET, CommMode.MAC, bytes((_not_in_force(key_set_no), version)))
        )

    def roll_key_set(self, key_set_no: int) -> Conversation[None]:
        """RollKeySet (55) under the roll key: the set is in force, and the session over."""
        header = bytes((_not_in_force(key_set_no),))
        yield from self._expect_nothing(Message(Ins.ROLL_KEY_SET, CommMode.MAC, header, ends_session=True))

    def _move_value(self, ins: Ins, file_no: int, amount: int, mode: CommMode) -> Conversation[None]:
        if not 0 <= amount < 1 << 31:
            raise ValueError("an amount is 0 to 2,147,483,647")
        data = amount.to_bytes(_VALUE_BYTES, "little")
        yield from self._expect_nothing(Message(ins, mode, bytes((file_no,)), data))


def _not_in_force(key_set_no: int) -> int:
    if not 1 <= key_set_no < KEY_SETS_MAX:
        raise ValueError("set 0 is in force; allowed are 1 to 15")
    return key_set_no
