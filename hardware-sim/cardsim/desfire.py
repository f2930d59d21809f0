# SPDX-License-Identifier: EUPL-1.2
"""The DESFire applet: framing, chaining, selection and authentication.

Every error ends the session; the selected application and its open transaction stay. A command other than AF during
a chain is answered 91CA and ends the chain.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from cardsim import desfire_files, desfire_keys, desfire_picc, desfire_transfers
from cardsim.apdu import ApduError, CommandApdu, StatusWord, status_bytes
from cardsim.desfire_auth import CAPABILITIES_LENGTH, Beginning, PendingEv2, begin_aes, begin_iso, begin_legacy
from cardsim.desfire_ciphers import KeyKind
from cardsim.desfire_data import AID_LENGTH, Application, CardKey
from cardsim.desfire_memory import CardMemory, Chip
from cardsim.desfire_session import Ev2Session
from cardsim.desfire_state import Activation, AwaitedProof, Handler, PendingCommand, PendingResponse, Reply
from cardsim.desfire_status import SINCE_EV2, DesfireError, DesfireStatus, Instruction
from cardsim.desfire_transfers import WRITES_IN_FRAMES, write_length
from cardsim.interfaces import RandomBytes

WRAPPED_CLASS = 0x90
ISO_AID = bytes.fromhex("D2760000850100")
ISO_MASTER_FILE = bytes.fromhex("3F00")
SELECT_BY_NAME = 0x04
SELECT_BY_FILE_ID = 0x00
NATIVE_INSTRUCTIONS = frozenset(int(instruction) for instruction in Instruction)
HANDLERS: dict[int, Handler] = {
    **desfire_picc.HANDLERS,
    **desfire_keys.HANDLERS,
    **desfire_files.HANDLERS,
    **desfire_transfers.HANDLERS,
}
OLDER_AUTHENTICATIONS: dict[int, Beginning] = {
    Instruction.AUTHENTICATE: begin_legacy,
    Instruction.AUTHENTICATE_ISO: begin_iso,
    Instruction.AUTHENTICATE_AES: begin_aes,
}

Answer = tuple[DesfireStatus, bytes]


@dataclass
class DesfireApplet:
    """A DESFire at work.

    Args:
        memory: what it keeps without power.
        random_bytes: source of RndB (8 or 16 bytes) and TI (4 bytes), in this order.
    """

    memory: CardMemory
    random_bytes: RandomBytes = field(default=secrets.token_bytes, repr=False)

    def __post_init__(self) -> None:
        self.activation = Activation(self.memory.picc)

    @property
    def uid(self) -> bytes:
        """The real UID, 7 bytes."""
        return self.memory.uid

    @property
    def applications(self) -> list[Application]:
        """The applications, without the PICC level."""
        return self.memory.applications

    def reset(self) -> None:
        """Forget selection, session and transaction, as a power cycle does."""
        self.activation = Activation(self.memory.picc)

    def iso_select(self, p1: int, name: bytes) -> bool:
        """ISO SELECT: the card by its name or 3F00, an application by DF name or file identifier.

        Returns: whether something was selected.
        """
        for application in (self.memory.picc, *self.memory.applications):
            if application.is_picc_level:
                names = {SELECT_BY_NAME: ISO_AID, SELECT_BY_FILE_ID: ISO_MASTER_FILE}
            else:
                # ISO commands write an identifier as ISO 7816-4 does, DESFire's own least significant byte first.
                file_id = (application.iso_file_id or b"")[::-1]
                names = {SELECT_BY_NAME: application.df_name, SELECT_BY_FILE_ID: file_id}
            if name and names.get(p1) == name:
                self.activation = Activation(application)
                return True
        return False

    def wrapped(self, command: CommandApdu) -> bytes:
        """Answer a frame ``90 INS 00 00 [Lc data] 00``; the answer ends with 91 and the status.

        Raises:
            ApduError: where the wrapping is wrong.
        """
        if command.extended or command.expected_length != 256:
            raise ApduError(StatusWord.WRONG_LENGTH)
        if command.p1 or command.p2:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        status, data = self._run(command.ins, command.data)
        return data + status_bytes(0x9100 | status)

    def native(self, frame: bytes) -> bytes:
        """Answer a native frame ``INS data`` (at least one byte); the answer begins with the status byte."""
        status, data = self._run(frame[0], frame[1:])
        return bytes([status]) + data

    def _run(self, ins: int, body: bytes) -> Answer:
        try:
            if self.memory.is_disabled:
                return DesfireStatus.CARD_DISABLED, b""
            return self._dispatch(ins, body)
        except DesfireError as error:
            self.activation.end_session()
            return error.status, b""

    def _dispatch(self, ins: int, body: bytes) -> Answer:
        if self.activation.pending is not None:
            if ins != Instruction.ADDITIONAL_FRAME:
                raise DesfireError(DesfireStatus.COMMAND_ABORTED)
            return self._continue(body)
        if self.memory.chip is Chip.EV1 and ins in SINCE_EV2:
            raise DesfireError(DesfireStatus.ILLEGAL_COMMAND)
        own: dict[int, Callable[[bytes], Answer]] = {
            Instruction.SELECT_APPLICATION: self._select,
            Instruction.AUTHENTICATE_EV2_FIRST: self._authenticate_first,
            Instruction.AUTHENTICATE_EV2_NON_FIRST: self._authenticate_non_first,
        }
        if ins in own:
            return own[ins](body)
        if ins in OLDER_AUTHENTICATIONS:
            return self._authenticate_older(OLDER_AUTHENTICATIONS[ins], body)
        return self._begin(ins, body)

    def _begin(self, ins: int, body: bytes) -> Answer:
        if ins not in HANDLERS:
            raise DesfireError(DesfireStatus.ILLEGAL_COMMAND)
        if ins in WRITES_IN_FRAMES:
            expected = write_length(self.activation, ins, body)
            if len(body) < expected:
                self.activation.pending = PendingCommand(ins, body, expected)
                return DesfireStatus.ADDITIONAL_FRAME, b""
        return self._execute(ins, body)

    def _execute(self, ins: int, body: bytes) -> Answer:
        reply: Reply = HANDLERS[ins](self.memory, self.activation, ins, body)
        if reply.ends_session:
            self.activation.end_session()
        if reply.activation is not None:
            self.activation = reply.activation
        return self._send(PendingResponse(reply.frames, reply.status, reply.disables_card))

    def _send(self, response: PendingResponse) -> Answer:
        first, rest = response.frames[0], response.frames[1:]
        self.activation.pending = PendingResponse(rest, response.status, response.disables_card) if rest else None
        return (DesfireStatus.ADDITIONAL_FRAME if rest else response.status), first

    def _continue(self, body: bytes) -> Answer:
        pending = self.activation.pending
        self.activation.pending = None
        if isinstance(pending, AwaitedProof):
            self.activation.session = None
            self.activation.session, answer = pending.authentication.finish(body, self.random_bytes)
            return DesfireStatus.OK, answer
        if isinstance(pending, PendingCommand):
            return self._collect(pending, body)
        if isinstance(pending, PendingResponse) and not body:
            if pending.disables_card:
                self.memory.is_disabled = True
                raise DesfireError(DesfireStatus.CARD_INTEGRITY_ERROR)
            return self._send(pending)
        raise DesfireError(DesfireStatus.LENGTH_ERROR)

    def _collect(self, pending: PendingCommand, body: bytes) -> Answer:
        whole = pending.body + body
        if not body or len(whole) > pending.expected:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        if len(whole) < pending.expected:
            self.activation.pending = PendingCommand(pending.ins, whole, pending.expected)
            return DesfireStatus.ADDITIONAL_FRAME, b""
        return self._execute(pending.ins, whole)

    def _select(self, body: bytes) -> Answer:
        if len(body) != AID_LENGTH:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        application = self.memory.find(body)
        if application is None:
            raise DesfireError(DesfireStatus.APPLICATION_NOT_FOUND)
        self.activation = Activation(application)
        return DesfireStatus.OK, b""

    def _authenticate_first(self, body: bytes) -> Answer:
        if len(body) < 2 or body[1] > CAPABILITIES_LENGTH or len(body) != 2 + body[1]:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        self.activation.end_session()
        capabilities = body[2:].ljust(CAPABILITIES_LENGTH, b"\x00")
        pending = PendingEv2(body[0], self._aes_key(body[0]), self.random_bytes(16), capabilities)
        return self._challenge(AwaitedProof(pending), pending.challenge())

    def _authenticate_non_first(self, body: bytes) -> Answer:
        if len(body) != 1:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        session = self.activation.session
        if not isinstance(session, Ev2Session):
            raise DesfireError(DesfireStatus.PERMISSION_DENIED)
        pending = PendingEv2(body[0], self._aes_key(body[0]), self.random_bytes(16), continued=session)
        return self._challenge(AwaitedProof(pending), pending.challenge())

    def _authenticate_older(self, begin: Beginning, body: bytes) -> Answer:
        if len(body) != 1:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        self.activation.end_session()
        pending = begin(body[0], self._key(body[0]), self.random_bytes)
        return self._challenge(AwaitedProof(pending), pending.challenge())

    def _challenge(self, awaited: AwaitedProof, challenge: bytes) -> Answer:
        self.activation.pending = awaited
        return DesfireStatus.ADDITIONAL_FRAME, challenge

    def _aes_key(self, number: int) -> bytes:
        key = self._key(number)
        if key.kind is not KeyKind.AES:
            raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)
        return key.value

    def _key(self, number: int) -> CardKey:
        keys = self.activation.selected.keys
        if number >= len(keys):
            raise DesfireError(DesfireStatus.NO_SUCH_KEY)
        return keys[number]
