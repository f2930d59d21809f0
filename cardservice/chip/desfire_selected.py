# SPDX-License-Identifier: EUPL-1.2
"""A level of the card that was selected, and what can be said to every level: authentications, keys and settings.

`desfire_card.CardLevel` and `desfire_application.CardApplication` add their own commands. Every method is a
conversation. Each command waits for the answer before it, because EV1 messaging chains them; whoever wants commands
to share an exchange uses `desfire.Session` directly, as the tap does.

Modes of commands: MF2DL(H)x0 data sheet table 19 for EV2, proxmark3 `desfiresecurechan.c` (AllowedChannelModes) for
EV1 and D40.
"""

from typing import Final, Self

from cardservice.chip.conversation import Conversation, RandomBytes, exchange
from cardservice.chip.desfire import (
    Session,
    accept,
    answer_ev2_first,
    authenticate_ev2_first,
    collect,
    expect_length,
    perform,
    select_application,
    wrap,
)
from cardservice.chip.desfire_authentication import authenticate_aes, authenticate_iso, authenticate_legacy
from cardservice.chip.desfire_des import DesKey
from cardservice.chip.desfire_formats import UID_BYTES, ChipVersion, KeySettings, KeyType
from cardservice.chip.desfire_messages import CommMode, Ins, KeyChange, Message, Messaging, Sealed, Unsecured
from cardservice.chip.errors import ChipError, ProtocolError
from cardservice.chip.keys import CardKey, KeyToWrite
from cardservice.chip.status import DESFIRE_ADDITIONAL_FRAME

MAX_COMMAND_FRAME_BYTES: Final = 54
"""What fits, wrapped, into a frame of 64 bytes: the smallest that every DESFire takes (ISO/IEC 14443-4 §5.1)."""

MAX_COMMAND_BYTES: Final = 64 * MAX_COMMAND_FRAME_BYTES


class Selected:
    """A selected level; `select` is the way to get one."""

    def __init__(self, aid: bytes) -> None:
        self.aid = aid
        self._messaging: Messaging = Unsecured()
        self._session: Session | None = None
        self._key_no: int | None = None

    @classmethod
    def _select(cls, aid: bytes) -> Conversation[Self]:
        yield from perform(select_application(aid))
        return cls(aid)

    @property
    def authenticated_key_no(self) -> int | None:
        """The number of the key that opened the session, None when there is none."""
        return self._key_no

    def authenticate_ev2_first(self, key_no: int, key: CardKey, *, random_bytes: RandomBytes) -> Conversation[None]:
        """AuthenticateEV2First (71): a new EV2 session (AN12343 §6.4.1).

        Raises:
            AuthenticationRefused: the card does not accept the key.
            CardNotGenuine: the card does not hold it.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        self._forget()
        begin = authenticate_ev2_first(key_no)
        (begun,) = yield from exchange(begin.apdu)
        reply = answer_ev2_first(key, begin.decode(begun), random_bytes=random_bytes)
        (replied,) = yield from exchange(reply.apdu)
        self._open_ev2(key_no, reply.decode(replied))

    def authenticate_ev2_non_first(self, key_no: int, key: CardKey, *, random_bytes: RandomBytes) -> Conversation[None]:
        """AuthenticateEV2NonFirst (77): another key in the same EV2 session. Raises as EV2First does."""
        session = self._session
        if session is None:
            raise ValueError("AuthenticateEV2NonFirst continues an EV2 session")
        self._forget()
        begin = session.authenticate_ev2_non_first(key_no)
        (begun,) = yield from exchange(begin.apdu)
        reply = session.answer_ev2_non_first(key, begin.decode(begun), random_bytes=random_bytes)
        (replied,) = yield from exchange(reply.apdu)
        self._open_ev2(key_no, reply.decode(replied))

    def authenticate_aes(self, key_no: int, key: CardKey, *, random_bytes: RandomBytes) -> Conversation[None]:
        """AuthenticateAES (AA): an EV1 session. Raises as EV2First does."""
        self._forget()
        self._open(key_no, (yield from authenticate_aes(key_no, key, random_bytes=random_bytes)))

    def authenticate_iso(self, key_no: int, key: DesKey, *, random_bytes: RandomBytes) -> Conversation[None]:
        """AuthenticateISO (1A): an EV1 session with a DES key. Raises as EV2First does."""
        self._forget()
        self._open(key_no, (yield from authenticate_iso(key_no, key, random_bytes=random_bytes)))

    def authenticate(self, key_no: int, key: DesKey, *, random_bytes: RandomBytes) -> Conversation[None]:
        """Authenticate (0A): a D40 session with a DES key. Raises as EV2First does."""
        self._forget()
        self._open(key_no, (yield from authenticate_legacy(key_no, key, random_bytes=random_bytes)))

    def get_version(self) -> Conversation[ChipVersion]:
        """GetVersion (60), three frames: hardware, software, production."""
        return ChipVersion.from_bytes((yield from self._transact(Message(Ins.GET_VERSION, CommMode.MAC))))

    def get_card_uid(self) -> Conversation[bytes]:
        """GetCardUID (51): the real identifier, 7 bytes, to whoever has authenticated."""
        message = Message(Ins.GET_CARD_UID, CommMode.FULL, answer_bytes=UID_BYTES)
        answer = yield from self._transact(message)
        return expect_length(Ins.GET_CARD_UID, answer, UID_BYTES)

    def get_key_settings(self) -> Conversation[KeySettings]:
        """GetKeySettings (45) of this level."""
        return KeySettings.from_bytes((yield from self._transact(Message(Ins.GET_KEY_SETTINGS, CommMode.MAC))))

    def change_key_settings(self, settings: int) -> Conversation[None]:
        """ChangeKeySettings (54): KeySett1, one byte, enciphered."""
        yield from self._expect_nothing(Message(Ins.CHANGE_KEY_SETTINGS, CommMode.FULL, data=bytes((settings,))))

    def get_key_version(self, key_no: int) -> Conversation[int]:
        """GetKeyVersion (64) of one key."""
        answer = yield from self._transact(Message(Ins.GET_KEY_VERSION, CommMode.MAC, bytes((key_no,))))
        return expect_length(Ins.GET_KEY_VERSION, answer, 1)[0]

    def change_key(
        self, key_no: int, new: KeyToWrite, *, old: KeyToWrite | None, version: int = 0, key_type: KeyType = KeyType.AES
    ) -> Conversation[None]:
        """ChangeKey (C4).

        Args:
            key_no: the key to change.
            new: what it becomes.
            old: what it is; None exactly when it is the key that authenticated, after which the session is over.
            version: the version of an AES key, 0 to 255.
            key_type: the cipher of the new key; the card level takes its own from here.

        Raises:
            IntegrityRefused: `old` is not the key that is there.
            CardGone, CardNotGenuine, ProtocolError, StatusError: as every command.
            ValueError: `old` is given for the authenticated key, or missing for another.
        """
        if (old is None) != (key_no == self._key_no):
            raise ValueError("the old key is needed for every key but the one that authenticated")
        number = key_no if any(self.aid) else key_no | key_type << 6
        change = KeyChange(Ins.CHANGE_KEY, bytes((number,)), new, old, version if key_type is KeyType.AES else None)
        yield from self._change(change)

    def _change(self, change: KeyChange) -> Conversation[None]:
        answer = yield from self._ask(change.ins, self._messaging.seal_key(change))
        expect_length(change.ins, answer, 0)
        if change.ends_session:
            self._forget()

    def _expect_nothing(self, message: Message) -> Conversation[None]:
        answer = yield from self._transact(message)
        expect_length(message.ins, answer, 0)

    def _transact(self, message: Message) -> Conversation[bytes]:
        """Any command in the session as it is; decodes to the plain answer."""
        answer = yield from self._ask(message.ins, self._messaging.seal(message))
        if message.ends_session:
            self._forget()
        return answer

    def _ask(self, ins: Ins, sealed: Sealed) -> Conversation[bytes]:
        """Sends a sealed command and reads its answer; on any error the card ends the session, and so do we."""
        try:
            raw = yield from _send(ins, sealed.body)
            return sealed.reveal(accept(ins, raw))
        except ChipError:
            self._forget()
            raise

    def _open(self, key_no: int, messaging: Messaging) -> None:
        self._messaging, self._key_no = messaging, key_no

    def _open_ev2(self, key_no: int, session: Session) -> None:
        self._session = session
        self._open(key_no, session.messaging)

    def _forget(self) -> None:
        self._messaging, self._session, self._key_no = Unsecured(), None, None


def _send(ins: Ins, body: bytes) -> Conversation[bytes]:
    """One command in as many frames as it needs; the whole answer with its status word (MF3ICD40 data sheet §4.1)."""
    if len(body) > MAX_COMMAND_BYTES:
        raise ValueError(f"a command of {len(body)} bytes, at most {MAX_COMMAND_BYTES} are allowed")
    frames = [body[i : i + MAX_COMMAND_FRAME_BYTES] for i in range(0, len(body), MAX_COMMAND_FRAME_BYTES)] or [b""]
    current = ins
    for frame in frames[:-1]:
        (raw,) = yield from exchange(wrap(current, frame))
        if accept(ins, raw, expected_sw=DESFIRE_ADDITIONAL_FRAME):
            raise ProtocolError(ins.name, "the card answers before the command is complete")
        current = Ins.ADDITIONAL_FRAME
    return (yield from collect(wrap(current, frames[-1])))
