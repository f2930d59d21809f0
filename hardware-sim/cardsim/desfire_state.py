# SPDX-License-Identifier: EUPL-1.2
"""What the DESFire remembers during one activation: selection, session and unfinished chains."""

from dataclasses import dataclass

from cardsim.desfire_auth import PendingAuthentication
from cardsim.desfire_data import FREE, FREE_LISTING, NEVER, Application, CommunicationMode, StandardFile
from cardsim.desfire_session import Ev2Session
from cardsim.desfire_status import DesfireError, DesfireStatus

MASTER_KEY = 0


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


Pending = PendingAuthentication | PendingCommand | PendingResponse


@dataclass
class Activation:
    """Everything that a power cycle forgets."""

    selected: Application
    session: Ev2Session | None = None
    pending: Pending | None = None

    def end_session(self) -> None:
        """Forget the authentication and every unfinished chain; the selection stays."""
        self.session = None
        self.pending = None

    def split(self, ins: int, body: bytes, header_length: int, mode: CommunicationMode) -> tuple[bytes, bytes]:
        """Header and plain data of a command, checked by the session if there is one.

        Raises:
            DesfireError: length error where the header is short, and what the session raises.
        """
        if len(body) < header_length:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        header, rest = body[:header_length], body[header_length:]
        if self.session is not None:
            rest = self.session.open_command(ins, header, rest, mode)
        return header, rest

    def header_only(self, ins: int, body: bytes, header_length: int, mode: CommunicationMode) -> bytes:
        """The header of a command without data.

        Raises:
            DesfireError: length error where data follow, and what ``split`` raises.
        """
        header, data = self.split(ins, body, header_length, mode)
        if data:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        return header

    def protect(self, data: bytes, mode: CommunicationMode) -> bytes:
        """The answer as the session sends it; plain without a session."""
        return data if self.session is None else self.session.close_response(data, mode)

    def require_application(self) -> None:
        """Refuse file commands at the PICC level."""
        if self.selected.is_picc_level:
            raise DesfireError(DesfireStatus.PERMISSION_DENIED)

    def require_listing(self) -> None:
        """Refuse directory commands that the key settings keep for the master key."""
        if self.selected.key_settings & FREE_LISTING:
            return
        if self.session is None or self.session.key_number != MASTER_KEY:
            raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)

    def find_file(self, body: bytes) -> StandardFile:
        """The file whose number opens the body of a command."""
        self.require_application()
        if not body:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        file = self.selected.files.get(body[0])
        if file is None:
            raise DesfireError(DesfireStatus.FILE_NOT_FOUND)
        return file

    def granted_mode(self, file: StandardFile, *rights: int) -> CommunicationMode:
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
