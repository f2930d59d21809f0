# SPDX-License-Identifier: EUPL-1.2
"""What the DESFire remembers during one activation: selection, session, unfinished chains and the open transaction."""

from collections.abc import Callable
from dataclasses import dataclass, field

from cardsim.desfire_auth import PendingAuthentication
from cardsim.desfire_data import FREE, FREE_CREATION, FREE_LISTING, NEVER, Application, CardFile, CommunicationMode
from cardsim.desfire_memory import CardMemory
from cardsim.desfire_session import SecureSession
from cardsim.desfire_status import DesfireError, DesfireStatus

MASTER_KEY = 0
NATIVE_FRAME = 59


@dataclass
class PendingCommand:
    """A command of several frames; ``expected`` counts the bytes of all of them."""

    ins: int
    body: bytes
    expected: int


@dataclass
class PendingResponse:
    """Frames of an answer not yet asked for."""

    frames: list[bytes]
    status: DesfireStatus = DesfireStatus.OK
    disables_card: bool = False


@dataclass
class AwaitedProof:
    """The first half of an authentication is done."""

    authentication: PendingAuthentication


Pending = AwaitedProof | PendingCommand | PendingResponse


class PendingChange:
    """What CommitTransaction will do to one file."""

    def commit(self) -> None:
        """Make it lasting."""
        raise NotImplementedError


@dataclass
class Activation:
    """Everything that a power cycle forgets."""

    selected: Application
    session: SecureSession | None = None
    pending: Pending | None = None
    transaction: dict[int, PendingChange] = field(default_factory=dict)

    def end_session(self) -> None:
        """Forget the authentication and every unfinished chain; the selection stays."""
        self.session = None
        self.pending = None

    def split(
        self, ins: int, body: bytes, header_length: int, mode: CommunicationMode, length: int | None = None
    ) -> tuple[bytes, bytes]:
        """Header and plain data of a command, checked by the session if there is one.

        Raises:
            DesfireError: length error where the header is short or the data are not ``length``, and what the session
                raises.
        """
        if len(body) < header_length:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        header, rest = body[:header_length], body[header_length:]
        if self.session is not None:
            return header, self.session.open_data(ins, header, rest, mode, length)
        if length is not None and len(rest) != length:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        return header, rest

    def header_only(self, ins: int, body: bytes, header_length: int, mode: CommunicationMode | None = None) -> bytes:
        """The header of a command without data.

        Raises:
            DesfireError: length error where data follow, and what the session raises.
        """
        if len(body) < header_length:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        header, rest = body[:header_length], body[header_length:]
        if self.session is not None:
            self.session.open_header(ins, header, rest, mode)
        elif rest:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        return header

    def whole_header(self, ins: int, body: bytes, least: int) -> bytes:
        """The header of a command without data whose length nothing but the frame tells.

        Raises:
            DesfireError: as `header_only`.
        """
        added = 0 if self.session is None else self.session.header_mac_length
        return self.header_only(ins, body, max(least, len(body) - added))

    def protect(self, data: bytes = b"", mode: CommunicationMode | None = None, *, marked: bool = False) -> bytes:
        """The answer as the session sends it; plain without a session."""
        return data if self.session is None else self.session.close(data, mode, marked=marked)

    def require_application(self) -> None:
        """Refuse file commands at the PICC level."""
        if self.selected.is_picc_level:
            raise DesfireError(DesfireStatus.PERMISSION_DENIED)

    def require_picc_level(self) -> None:
        """Refuse commands of the card itself inside an application."""
        if not self.selected.is_picc_level:
            raise DesfireError(DesfireStatus.PERMISSION_DENIED)

    def require_key(self, *numbers: int) -> int:
        """The session's key, which is one of these.

        Raises:
            DesfireError: authentication error.
        """
        if self.session is None or self.session.key_number not in numbers:
            raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)
        return self.session.key_number

    def require_listing(self) -> None:
        """Refuse directory commands that the key settings keep for the master key."""
        if not self.selected.key_settings & FREE_LISTING:
            self.require_key(MASTER_KEY)

    def require_creation(self) -> None:
        """Refuse making and deleting that the key settings keep for the master key."""
        if not self.selected.key_settings & FREE_CREATION:
            self.require_key(MASTER_KEY)

    def find_file(self, body: bytes) -> CardFile:
        """The file whose number opens the body of a command."""
        self.require_application()
        if not body:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        file = self.selected.files.get(body[0])
        if file is None:
            raise DesfireError(DesfireStatus.FILE_NOT_FOUND)
        return file

    def granted_mode(self, file: CardFile, *rights: int) -> CommunicationMode:
        """How a command may use the file: its own mode by an authenticated key, plain by free access.

        Raises:
            DesfireError: permission denied where no key could ever help, authentication error where another would.
        """
        if self.session is not None and self.session.key_number in rights:
            return file.mode
        if FREE in rights:
            return CommunicationMode.PLAIN
        if all(right == NEVER for right in rights):
            raise DesfireError(DesfireStatus.PERMISSION_DENIED)
        raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)


@dataclass(frozen=True)
class Reply:
    """A successful answer, protected and cut into frames (at least one).

    Args:
        frames: as they travel.
        status: of the last frame.
        ends_session: the session's key is gone, so nothing protects this answer.
        activation: what the command left selected, where that changed.
        disables_card: asking for the next frame disables the card.
    """

    frames: list[bytes]
    status: DesfireStatus = DesfireStatus.OK
    ends_session: bool = False
    activation: Activation | None = None
    disables_card: bool = False


def in_frames(data: bytes, *sizes: int) -> Reply:
    """Data cut into frames of these sizes; the last size repeats."""
    frames, rest, left = [], data, list(sizes or (NATIVE_FRAME,))
    while True:
        size = left.pop(0) if len(left) > 1 else left[0]
        frames.append(rest[:size])
        rest = rest[size:]
        if not rest:
            return Reply(frames)


Handler = Callable[[CardMemory, Activation, int, bytes], Reply]
