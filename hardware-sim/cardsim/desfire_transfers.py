# SPDX-License-Identifier: EUPL-1.2
"""Commands that read and write what files hold, and the transaction of an application.

What is written to backup, value and record files waits for CommitTransaction and is read by nobody before;
AbortTransaction, another selection and the end of power throw it away.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from cardsim.desfire_data import CardFile, CommunicationMode, RecordFile, StandardFile, ValueFile
from cardsim.desfire_memory import CardMemory
from cardsim.desfire_state import NATIVE_FRAME, Activation, Handler, PendingChange, Reply, in_frames
from cardsim.desfire_status import DesfireError, DesfireStatus, Instruction

LONG_FRAME = 256
DATA_HEADER = 7
VALUE_LENGTH = 4
LONG_ANSWERS = frozenset({Instruction.READ_DATA, Instruction.READ_RECORDS})
WRITES_IN_FRAMES = frozenset({Instruction.WRITE_DATA_NATIVE, Instruction.WRITE_RECORD_NATIVE})

SomeFile = TypeVar("SomeFile", bound=CardFile)


@dataclass
class PendingContent(PendingChange):
    """A backup file as it will be."""

    file: StandardFile
    content: bytearray = field(repr=False)

    def commit(self) -> None:
        """Replace the content."""
        self.file.content[:] = self.content


@dataclass
class PendingValue(PendingChange):
    """What comes to a value file and what goes; neither makes room for the other before the commit."""

    file: ValueFile
    credited: int = 0
    debited: int = 0
    used_limited_credit: bool = False

    def commit(self) -> None:
        """Change the value; the debits of this transaction may be given back by LimitedCredit."""
        self.file.value += self.credited - self.debited
        if self.used_limited_credit:
            self.file.limited_credit = 0
        if self.debited:
            self.file.limited_credit = self.debited


@dataclass
class PendingRecord(PendingChange):
    """The one new record of a transaction, or the clearing of the file."""

    file: RecordFile
    record: bytearray | None = field(default=None, repr=False)
    clears: bool = False

    def commit(self) -> None:
        """Clear, append, and let a cyclic file drop its oldest record."""
        if self.clears:
            self.file.records.clear()
        if self.record is not None:
            self.file.records.append(bytes(self.record))
            # One place of a cyclic file holds the record that waits for its commit.
            del self.file.records[: -(self.file.capacity - 1) if self.file.cyclic else -self.file.capacity]


def read_data(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Bytes of a data file as last committed; length 0 reads to its end."""
    file = _of_type(state.find_file(body), StandardFile)
    mode = state.granted_mode(file, file.rights.read, file.rights.read_write)
    offset, length = _numbers(state.header_only(ins, body, DATA_HEADER, mode))
    if offset >= len(file.content):
        raise DesfireError(DesfireStatus.BOUNDARY_ERROR)
    end = offset + length if length else len(file.content)
    if end > len(file.content):
        raise DesfireError(DesfireStatus.BOUNDARY_ERROR)
    data = state.protect(bytes(file.content[offset:end]), mode, marked=length == 0)
    return in_frames(data, LONG_FRAME if ins in LONG_ANSWERS else NATIVE_FRAME)


def write_data(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Write bytes of a data file, at once or into the transaction."""
    if len(body) != write_length(state, ins, body):
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    file, mode = _writable(state, ins, body)
    offset, length = _numbers(body[:DATA_HEADER])
    _, data = state.split(ins, body, DATA_HEADER, mode, length)
    if isinstance(file, RecordFile):
        pending = _pending(state, file, PendingRecord(file))
        pending.record = pending.record or bytearray(file.record_size)
        pending.record[offset : offset + length] = data
    elif file.backup:
        content = _pending(state, file, PendingContent(file, bytearray(file.content))).content
        content[offset : offset + length] = data
    else:
        card.weakness.strike(file.content, offset, data)
        file.content[offset : offset + length] = data
    return in_frames(state.protect(b"", mode))


def write_length(state: Activation, ins: int, body: bytes) -> int:
    """The length of a whole WriteData or WriteRecord body, known from its first frame.

    Raises:
        DesfireError: where the write would be refused anyway.
    """
    file, mode = _writable(state, ins, body)
    if len(body) < DATA_HEADER:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    offset, length = _numbers(body[:DATA_HEADER])
    if length == 0:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    size = file.record_size if isinstance(file, RecordFile) else len(file.content)
    if offset + length > size:
        raise DesfireError(DesfireStatus.BOUNDARY_ERROR)
    if isinstance(file, RecordFile):
        _require_room(state, file)
    return DATA_HEADER + (length if state.session is None else state.session.sealed_length(mode, length))


def _require_room(state: Activation, file: RecordFile) -> None:
    """Refuse a record for which there is no place; after ClearRecordFile there is none before the commit."""
    waiting = state.transaction.get(file.number)
    is_cleared = isinstance(waiting, PendingRecord) and waiting.clears
    if is_cleared or (not file.cyclic and len(file.records) >= file.capacity):
        raise DesfireError(DesfireStatus.BOUNDARY_ERROR)


def _writable(state: Activation, ins: int, body: bytes) -> tuple[StandardFile | RecordFile, CommunicationMode]:
    found = state.find_file(body)
    file: StandardFile | RecordFile
    if ins in (Instruction.WRITE_DATA, Instruction.WRITE_DATA_NATIVE):
        file = _of_type(found, StandardFile)
    else:
        file = _of_type(found, RecordFile)
    return file, state.granted_mode(file, file.rights.write, file.rights.read_write)


def get_value(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """The value as last committed (4, LSB first)."""
    file = _of_type(state.find_file(body), ValueFile)
    rights = file.rights
    if file.free_reading and state.session is None:
        mode = CommunicationMode.PLAIN
    else:
        mode = state.granted_mode(file, rights.read, rights.write, rights.read_write)
    state.header_only(ins, body, 1, mode)
    return in_frames(state.protect(file.value.to_bytes(VALUE_LENGTH, "little", signed=True), mode))


def change_value(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Credit, Debit and LimitedCredit by an amount (4, LSB first, not negative)."""
    file = _of_type(state.find_file(body), ValueFile)
    rights = file.rights
    allowed = {
        Instruction.CREDIT: (rights.read_write,),
        Instruction.LIMITED_CREDIT: (rights.write, rights.read_write),
        Instruction.DEBIT: (rights.read, rights.write, rights.read_write),
    }
    if ins == Instruction.LIMITED_CREDIT and not file.limited_credit_enabled:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    mode = state.granted_mode(file, *allowed[Instruction(ins)])
    _, data = state.split(ins, body, 1, mode, VALUE_LENGTH)
    amount = int.from_bytes(data, "little", signed=True)
    if amount < 0:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    _book(state, file, ins, amount)
    return in_frames(state.protect(b"", mode))


def _book(state: Activation, file: ValueFile, ins: int, amount: int) -> None:
    there = state.transaction.get(file.number)
    now = there if isinstance(there, PendingValue) else PendingValue(file)
    is_debit, is_limited = ins == Instruction.DEBIT, ins == Instruction.LIMITED_CREDIT
    credited, debited = now.credited + (0 if is_debit else amount), now.debited + (amount if is_debit else 0)
    too_much = is_limited and (amount > file.limited_credit or now.used_limited_credit)
    if too_much or file.value + credited > file.upper or file.value - debited < file.lower:
        raise DesfireError(DesfireStatus.BOUNDARY_ERROR)
    used = now.used_limited_credit or is_limited
    state.transaction[file.number] = PendingValue(file, credited, debited, used)


def read_records(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Records counted back from the newest, sent oldest first; number 0 of them means all."""
    file = _of_type(state.find_file(body), RecordFile)
    mode = state.granted_mode(file, file.rights.read, file.rights.read_write)
    newest, count = _numbers(state.header_only(ins, body, DATA_HEADER, mode))
    there = len(file.records)
    if newest >= there or newest + (count or 1) > there:
        raise DesfireError(DesfireStatus.BOUNDARY_ERROR)
    end = there - newest
    chosen = file.records[end - count if count else 0 : end]
    data = state.protect(b"".join(chosen), mode, marked=count == 0)
    return in_frames(data, LONG_FRAME if ins in LONG_ANSWERS else NATIVE_FRAME)


def clear_records(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """All records go with the commit."""
    file = _of_type(state.find_file(body), RecordFile)
    mode = state.granted_mode(file, file.rights.read_write)
    state.header_only(ins, body, 1, CommunicationMode.PLAIN if mode is CommunicationMode.PLAIN else None)
    state.transaction[file.number] = PendingRecord(file, clears=True)
    return in_frames(state.protect(b"", CommunicationMode.PLAIN if mode is CommunicationMode.PLAIN else None))


def commit_transaction(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """All changes of the transaction come true together; an option byte of 00 may follow."""
    _end_transaction(state, ins, body)
    for change in state.transaction.values():
        change.commit()
    state.transaction.clear()
    return in_frames(state.protect())


def abort_transaction(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """All changes of the transaction are forgotten."""
    _end_transaction(state, ins, body)
    state.transaction.clear()
    return in_frames(state.protect())


def _end_transaction(state: Activation, ins: int, body: bytes) -> None:
    state.require_application()
    if state.whole_header(ins, body, 0) not in ((b"", b"\x00") if ins == Instruction.COMMIT_TRANSACTION else (b"",)):
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    if not state.transaction:
        raise DesfireError(DesfireStatus.NO_CHANGES)


SomeChange = TypeVar("SomeChange", bound=PendingChange)


def _pending(state: Activation, file: CardFile, new: SomeChange) -> SomeChange:
    there = state.transaction.get(file.number)
    if isinstance(there, type(new)):
        return there
    state.transaction[file.number] = new
    return new


def _of_type(file: CardFile, kind: type[SomeFile]) -> SomeFile:
    if not isinstance(file, kind):
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    return file


def _numbers(header: bytes) -> tuple[int, int]:
    """Offset and length, or first record and count."""
    return int.from_bytes(header[1:4], "little"), int.from_bytes(header[4:7], "little")


HANDLERS: dict[int, Handler] = {
    Instruction.READ_DATA: read_data,
    Instruction.READ_DATA_NATIVE: read_data,
    Instruction.WRITE_DATA: write_data,
    Instruction.WRITE_DATA_NATIVE: write_data,
    Instruction.GET_VALUE: get_value,
    Instruction.CREDIT: change_value,
    Instruction.LIMITED_CREDIT: change_value,
    Instruction.DEBIT: change_value,
    Instruction.WRITE_RECORD: write_data,
    Instruction.WRITE_RECORD_NATIVE: write_data,
    Instruction.READ_RECORDS: read_records,
    Instruction.READ_RECORDS_NATIVE: read_records,
    Instruction.CLEAR_RECORD_FILE: clear_records,
    Instruction.COMMIT_TRANSACTION: commit_transaction,
    Instruction.ABORT_TRANSACTION: abort_transaction,
}
