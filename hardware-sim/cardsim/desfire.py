# SPDX-License-Identifier: EUPL-1.2
"""The DESFire EV3 applet: framing, chaining, selection and authentication.

Every error ends the session; the selected application stays selected. A command other than AF during a chain is
answered 91CA and ends the chain.
"""

import secrets
from dataclasses import dataclass, field

from cardsim.apdu import ApduError, CommandApdu, StatusWord, status_bytes
from cardsim.desfire_auth import CAPABILITIES_LENGTH, PendingAuthentication
from cardsim.desfire_commands import HANDLERS, UID_LENGTH, CardContent, Reply, write_length
from cardsim.desfire_data import AID_LENGTH, Application
from cardsim.desfire_state import Activation, PendingCommand, PendingResponse
from cardsim.desfire_status import DesfireError, DesfireStatus, Instruction
from cardsim.interfaces import RandomBytes

WRAPPED_CLASS = 0x90
ISO_AID = bytes.fromhex("D2760000850100")
NATIVE_INSTRUCTIONS = frozenset(int(instruction) for instruction in Instruction)

Answer = tuple[DesfireStatus, bytes]


@dataclass
class DesfireApplet:
    """A DESFire with a random UID.

    Args:
        picc: the PICC level, an application with AID 000000 and its AES master key.
        applications: any number of applications with different AIDs.
        uid: the real UID, 7 bytes; only GetCardUID tells it.
        random_bytes: source of RndB (16 bytes) and TI (4 bytes), in this order.
    """

    picc: Application
    applications: list[Application]
    uid: bytes
    random_bytes: RandomBytes = field(default=secrets.token_bytes, repr=False)

    def __post_init__(self) -> None:
        aids = [application.aid for application in (self.picc, *self.applications)]
        if not self.picc.is_picc_level or len(set(aids)) != len(aids):
            raise ValueError("the PICC level has AID 000000 and every application an AID of its own")
        if len(self.uid) != UID_LENGTH:
            raise ValueError(f"the UID has 7 bytes, got {len(self.uid)}")
        self.activation = Activation(self.picc)

    def reset(self) -> None:
        """Forget selection and session, as a power cycle does."""
        self.activation = Activation(self.picc)

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
            return self._dispatch(ins, body)
        except DesfireError as error:
            self.activation.end_session()
            return error.status, b""

    def _dispatch(self, ins: int, body: bytes) -> Answer:
        if self.activation.pending is not None:
            if ins != Instruction.ADDITIONAL_FRAME:
                raise DesfireError(DesfireStatus.COMMAND_ABORTED)
            return self._continue(body)
        if ins == Instruction.SELECT_APPLICATION:
            return self._select(body)
        if ins == Instruction.AUTHENTICATE_EV2_FIRST:
            return self._authenticate_first(body)
        if ins == Instruction.AUTHENTICATE_EV2_NON_FIRST:
            return self._authenticate_non_first(body)
        if ins not in HANDLERS:
            raise DesfireError(DesfireStatus.ILLEGAL_COMMAND)
        if ins == Instruction.WRITE_DATA_NATIVE:
            expected = write_length(self.activation, body)
            if len(body) < expected:
                self.activation.pending = PendingCommand(ins, body, expected)
                return DesfireStatus.ADDITIONAL_FRAME, b""
        return self._execute(ins, body)

    def _execute(self, ins: int, body: bytes) -> Answer:
        content = CardContent(self.uid, self.picc, self.applications)
        reply: Reply = HANDLERS[ins](content, self.activation, ins, body)
        return self._send(reply.frames())

    def _send(self, frames: list[bytes]) -> Answer:
        first, rest = frames[0], frames[1:]
        self.activation.pending = PendingResponse(rest) if rest else None
        return (DesfireStatus.ADDITIONAL_FRAME if rest else DesfireStatus.OK), first

    def _continue(self, body: bytes) -> Answer:
        pending = self.activation.pending
        self.activation.pending = None
        if isinstance(pending, PendingAuthentication):
            self.activation.session = None
            self.activation.session, answer = pending.finish(body, self.random_bytes)
            return DesfireStatus.OK, answer
        if isinstance(pending, PendingCommand):
            return self._collect(pending, body)
        if isinstance(pending, PendingResponse) and not body:
            return self._send(pending.frames)
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
        for application in (self.picc, *self.applications):
            if application.aid == body:
                self.activation = Activation(application)
                return DesfireStatus.OK, b""
        raise DesfireError(DesfireStatus.APPLICATION_NOT_FOUND)

    def _authenticate_first(self, body: bytes) -> Answer:
        if len(body) < 2 or body[1] > CAPABILITIES_LENGTH or len(body) != 2 + body[1]:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        self.activation.end_session()
        capabilities = body[2:].ljust(CAPABILITIES_LENGTH, b"\x00")
        pending = PendingAuthentication(body[0], self._key(body[0]), self.random_bytes(16), capabilities)
        return self._challenge(pending)

    def _authenticate_non_first(self, body: bytes) -> Answer:
        if len(body) != 1:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        session = self.activation.session
        if session is None:
            raise DesfireError(DesfireStatus.PERMISSION_DENIED)
        key = self._key(body[0])
        return self._challenge(PendingAuthentication(body[0], key, self.random_bytes(16), continued=session))

    def _challenge(self, pending: PendingAuthentication) -> Answer:
        self.activation.pending = pending
        return DesfireStatus.ADDITIONAL_FRAME, pending.challenge()

    def _key(self, number: int) -> bytes:
        keys = self.activation.selected.keys
        if number >= len(keys):
            raise DesfireError(DesfireStatus.NO_SUCH_KEY)
        return keys[number].value
