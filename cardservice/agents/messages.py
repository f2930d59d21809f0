# SPDX-License-Identifier: EUPL-1.2
"""The wire between a reader agent and the centre: one WebSocket, one JSON object per text frame.

Every message carries its type and the major version of the protocol. Both sides refuse an unknown major version and
ignore unknown optional fields. Binary values are lower-case hexadecimal text. Instants are milliseconds since
1970-01-01T00:00:00Z, durations microseconds; both say so in their names.

A tap, as the two sides see it (agent on the left):

    card.present        ->
                        <-  card.open, card.apdus n=0
    card.responses n=0  ->
                        <-  card.apdus n=1 ...
                        <-  pin.ask             where the card alone is not enough and a PIN can be typed
    pin.entered         ->
                        <-  decision
    event               ->      what came of it, kept in the outbox until
                        <-  event.ack

and once everything is handed over (or the agent comes back):

    events.account      ->      what the centre must have by now
                        <-  events.again, if it has not

A card on an encoder is no tap; the centre writes it when it has something to write:

    encoder             ->      whether a card lies there, again whenever that changes
                        <-  encoder.apdus n=0
    encoder.responses   ->
                        <-  encoder.apdus n=1 ..., encoder.release
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cardservice.agents.encoder_messages import EncoderApdus, EncoderRelease, EncoderResponses, EncoderState
from cardservice.agents.message_words import (
    MAX_BATCH,
    AgentId,
    ApduHex,
    DurationUs,
    Epoch,
    Facts,
    InstantMs,
    Message,
    PinDigits,
    PointCode,
    Sequence,
    ShortText,
    Token,
    Word,
)

PROTOCOL_MAJOR = 1
MAX_MESSAGE_BYTES = 256 * 1024
MAX_ACCOUNTED_EPOCHS = 32
MAX_RANGES = 64
# More faults than any message has fields: such a frame is not looked at closely.
_MAX_FAULTS = 100
# Arrays, objects and fields of a frame, each of which costs the parser memory: more than any message has, even if its
# texts are full of these signs.
_MAX_PARTS = 16_384


class MessageRefused(Exception):
    """A frame that is not a message of this protocol: what was wrong, never the frame itself."""


class UnknownVersion(MessageRefused):
    """A frame of another major version of the protocol."""


class EventId(BaseModel):
    """(agent, boot epoch, sequence without gaps): made by the agent, unique for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: AgentId
    epoch: Epoch
    sequence: Sequence

    def __str__(self) -> str:
        """Return it as the journal and the places write it."""
        return f"{self.agent}/{self.epoch}/{self.sequence}"


class Challenge(Message):
    """Centre: the first message of every connection."""

    type: Literal["challenge"] = "challenge"
    nonce: Token
    centre_time_ms: InstantMs


class Hello(Message):
    """Agent: proves with its enrolled key that it is who it says (signature over `hello_signing_input`)."""

    type: Literal["hello"] = "hello"
    agent: AgentId
    epoch: Epoch
    signature: Token
    software: ShortText


class PointSetup(BaseModel):
    """One point the agent serves: which reader, how long things may take, what its output does."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    point: PointCode
    # The reader's PC/SC name, or "*": every reader of this agent that no other point names.
    reader: Annotated[str, Field(min_length=1, max_length=127)]
    use: Literal["door", "workstation", "timeclock", "printer", "canteen"]
    answer_budget_ms: Annotated[int, Field(ge=50, le=60_000)] = 300
    tap_budget_ms: Annotated[int, Field(ge=100, le=120_000)] = 3_000
    name: ShortText = ""
    # What the place of this use needs to know at the agent; its `rules.py` says what may stand here.
    options: Facts = Field(default_factory=dict)
    # A door's alone: nobody passes it from outside.
    locked_down: bool = False


# An array ends with its first fault: a frame full of them costs no more than an ordinary one.
Points = Annotated[tuple[PointSetup, ...], Field(max_length=64, fail_fast=True)]


class Welcome(Message):
    """Centre: the agent is accepted and serves these points."""

    type: Literal["welcome"] = "welcome"
    points: Points
    centre_time_ms: InstantMs


RefusalCode = Literal["unknown_agent", "bad_signature", "locked", "version", "protocol", "replaced", "overloaded"]


class Refused(Message):
    """Centre: the connection ends, and why."""

    type: Literal["refused"] = "refused"
    code: RefusalCode
    message: ShortText


class CardPresent(Message):
    """Agent: a card arrived at a reader. Nothing in it identifies the card or its holder."""

    type: Literal["card.present"] = "card.present"
    event: EventId
    point: PointCode
    atr: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){0,33}$")]
    at_ms: InstantMs
    detected_us: DurationUs = 0
    # What the holder chose at the terminal before the card came ("in", "out" ...).
    choice: Word | None = None
    # Whether a PIN can be typed at this point now.
    pin_pad: Literal[True] | None = None


class CardRead(Message):
    """Agent: a reader that decodes cards by itself read the number of this use; the answer is a decision.

    Proves no more than that the agent says so (level `reader_attested`): only points that accept it are answered.
    """

    type: Literal["card.read"] = "card.read"
    event: EventId
    point: PointCode
    number: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,64}$")]
    at_ms: InstantMs


class CardOpen(Message):
    """Centre: a conversation begins; the agent keeps the card powered until the decision."""

    type: Literal["card.open"] = "card.open"
    event: EventId
    conversation: Token
    applications: Annotated[tuple[Literal["desfire", "piv"], ...], Field(min_length=1, max_length=4, fail_fast=True)]


class CardApdus(Message):
    """Centre: transmit these in order and answer once. `n` counts the exchanges of the conversation from 0."""

    type: Literal["card.apdus"] = "card.apdus"
    conversation: Token
    n: Annotated[int, Field(ge=0, lt=64)]
    apdus: Annotated[tuple[ApduHex, ...], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)]


class CardResponses(Message):
    """Agent: the card's answers, status words included; fewer than asked for only if `gone` says why."""

    type: Literal["card.responses"] = "card.responses"
    conversation: Token
    n: Annotated[int, Field(ge=0, lt=64)]
    responses: Annotated[tuple[ApduHex, ...], Field(max_length=MAX_BATCH, fail_fast=True)]
    took_us: DurationUs
    gone: Literal["pulled", "reader", "timeout"] | None = None


class PinAsk(Message):
    """Centre: have the holder type their PIN for this tap, within `for_ms`; the card is not needed any more.

    After `pin.entered` the decision follows, `decided_within_ms` later at most.
    """

    type: Literal["pin.ask"] = "pin.ask"
    event: EventId
    ask: Token
    for_ms: Annotated[int, Field(ge=50, le=60_000)]
    decided_within_ms: Annotated[int, Field(ge=50, le=60_000)]


class PinEntered(Message):
    """Agent: the answer to the `pin.ask` of this tap; without a PIN: nothing was typed, or it was broken off.

    Never logged and never stored, at either end.
    """

    type: Literal["pin.entered"] = "pin.entered"
    event: EventId
    ask: Token
    pin: Annotated[PinDigits | None, Field(repr=False)] = None


class Sentence(BaseModel):
    """One sentence for the holder, in both languages."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    de: ShortText
    en: ShortText


class PlaceAnswer(BaseModel):
    """What the place did with a permitted tap. Not `done`: nothing happened, and `text` says why."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    done: bool
    code: Word
    text: Sentence
    facts: Facts = Field(default_factory=dict)


class DecisionMessage(Message):
    """Centre: the answer to one tap. `receipt` proves later, when the event is uploaded, that the centre said so."""

    type: Literal["decision"] = "decision"
    event: EventId
    decision: Token
    permit: bool
    reason: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    level: Literal["none", "uid", "reader_attested", "card", "card_pin"]
    text: Sentence
    open_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    # Decided while the door was locked down, for somebody who may pass; an agent that hears of a lockdown only after
    # its decision must still refuse.
    in_lockdown: Literal[True] | None = None
    # Of a permitted tap: what its place made of it.
    answer: PlaceAnswer | None = None
    receipt: Token
    stages_us: dict[Annotated[str, Field(pattern=r"^[a-z_]{1,24}$")], DurationUs] = Field(
        default_factory=dict, max_length=16
    )


Outcome = Literal["acted", "shown", "late", "no_answer", "card_gone", "output_failed", "abandoned"]


class TapEvent(Message):
    """Agent: what came of a tap. Kept in the outbox until acknowledged; repeats change nothing.

    `acted`: the output did what the decision said. `shown`: a refusal was shown. `late`: the decision came after its
    deadline and was not acted on. `no_answer`: the centre did not answer in time. `card_gone`: pulled out during the
    conversation. `output_failed`: permitted, but the output failed. `abandoned`: the agent stopped in between (found
    at its next start).
    """

    type: Literal["event"] = "event"
    event: EventId
    kind: Literal["tap"] = "tap"
    point: PointCode
    at_ms: InstantMs
    outcome: Outcome
    decision: Token | None = None
    permit: bool | None = None
    receipt: Token | None = None
    stages_us: dict[Annotated[str, Field(pattern=r"^[a-z_]{1,24}$")], DurationUs] = Field(
        default_factory=dict, max_length=16
    )


class EventAck(Message):
    """Centre: stored durably; the agent may forget it."""

    type: Literal["event.ack"] = "event.ack"
    event: EventId


class EventRefused(Message):
    """Centre: not stored. The agent moves the entry aside, keeps it for an administrator, and goes on with the next."""

    type: Literal["event.refused"] = "event.refused"
    event: EventId
    code: Literal["different_content", "unseen_tap", "foreign_point", "foreign_event"]
    message: ShortText


SequenceRange = tuple[Sequence, Sequence]


class EpochAccount(BaseModel):
    """What the centre must have of one boot epoch: every event from 1 to `through`, but for these ranges.

    `lost`: the agent could not keep them, or keeps them no longer. `refused`: the centre did not take them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: Epoch
    through: Sequence
    lost: Annotated[tuple[SequenceRange, ...], Field(max_length=MAX_RANGES, fail_fast=True)] = ()
    refused: Annotated[tuple[SequenceRange, ...], Field(max_length=MAX_RANGES, fail_fast=True)] = ()


class EventsAccount(Message):
    """Agent: what the centre has acknowledged, newest epoch first; sent after the welcome and when all is handed over.

    A centre that was restored from an older copy sees by it what it no longer has.
    """

    type: Literal["events.account"] = "events.account"
    epochs: Annotated[tuple[EpochAccount, ...], Field(max_length=MAX_ACCOUNTED_EPOCHS, fail_fast=True)]


class EventRange(BaseModel):
    """Events `first`..`last` of one boot epoch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: Epoch
    first: Sequence
    last: Sequence


class EventsAgain(Message):
    """Centre: it has not got these; the agent sends what it still keeps, and counts the rest as lost."""

    type: Literal["events.again"] = "events.again"
    ranges: Annotated[tuple[EventRange, ...], Field(min_length=1, max_length=MAX_RANGES, fail_fast=True)]


class ReaderHealth(BaseModel):
    """One reader as the agent sees it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reader: Annotated[str, Field(max_length=127)]
    present: bool
    last_good_tap_ms: InstantMs | None = None


class Health(Message):
    """Agent: sent after connecting, on change and every 10 s."""

    type: Literal["health"] = "health"
    pcsc: Literal["up", "down", "in_process"]
    readers: Annotated[tuple[ReaderHealth, ...], Field(max_length=64, fail_fast=True)]
    outbox_depth: Annotated[int, Field(ge=0, lt=2**53)]
    # By the agent's own clock; None: an agent that does not say.
    at_ms: InstantMs | None = None


class OutputState(Message):
    """Agent: an output changed (a strike released or locked again, what the reader shows)."""

    type: Literal["output"] = "output"
    point: PointCode
    state: Literal["released", "locked", "fault"]
    led: Literal["off", "green", "red", "amber"]
    buzzer: Literal["silent", "ok", "refused"]
    text: Sentence | None = None
    at_ms: InstantMs


class PointCommand(Message):
    """Centre: do this at the point now, without a card; answered by `point.done`. Late ones are not carried out."""

    type: Literal["point.command"] = "point.command"
    id: Token
    point: PointCode
    action: Literal["open_once"]
    open_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    # By the centre's clock, until when it may still be carried out: then whoever asked is told that nobody knows.
    by_ms: InstantMs


class SessionsEnd(Message):
    """Centre: these people's cards no longer count. A PC that one of them unlocked is locked now.

    `people` are digests of their logins (`login_digest`): only who has one of them open learns whom.
    """

    type: Literal["sessions.end"] = "sessions.end"
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    people: Annotated[tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...], Field(min_length=1, max_length=200)]


class PointDone(Message):
    """Agent: what became of a command."""

    type: Literal["point.done"] = "point.done"
    id: Token
    point: PointCode
    done: bool
    message: ShortText = ""


class Prompt(Message):
    """Centre: what the terminal's screen asks for before the next card; None ends it.

    `asks` is what it is called: the `choice` of a card that comes while it stands there, so that nobody answers what
    they have not seen.
    """

    type: Literal["prompt"] = "prompt"
    point: PointCode
    text: Sentence | None = None
    facts: Facts = Field(default_factory=dict)
    for_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    asks: Word | None = None


class DoorState(Message):
    """Agent: what the door's contact and its rules say; sent on change and after connecting."""

    type: Literal["door"] = "door"
    point: PointCode
    contact: Literal["open", "closed", "unknown"]
    alarm: Literal["none", "forced", "held_open", "tamper"]
    at_ms: InstantMs


FromAgent = Annotated[
    Hello
    | CardPresent
    | CardRead
    | CardResponses
    | PinEntered
    | TapEvent
    | EventsAccount
    | Health
    | OutputState
    | PointDone
    | DoorState
    | EncoderState
    | EncoderResponses,
    Field(discriminator="type"),
]
FromCentre = Annotated[
    Challenge
    | Welcome
    | Refused
    | CardOpen
    | CardApdus
    | PinAsk
    | DecisionMessage
    | EventAck
    | EventRefused
    | EventsAgain
    | PointCommand
    | SessionsEnd
    | Prompt
    | EncoderApdus
    | EncoderRelease,
    Field(discriminator="type"),
]
_FROM_AGENT: TypeAdapter[Any] = TypeAdapter(FromAgent)
_FROM_CENTRE: TypeAdapter[Any] = TypeAdapter(FromCentre)


def hello_signing_input(nonce: str, agent: str, epoch: int) -> bytes:
    """Return the bytes an agent signs with its enrolled Ed25519 key (RFC 8032) to answer a challenge."""
    return b"cardservice agent hello v1\0" + json.dumps([nonce, agent, epoch], separators=(",", ":")).encode()


def login_digest(salt: str, login: str) -> str:
    """Return what stands for a login in `sessions.end`; `salt` (hexadecimal) is the message's own."""
    return hashlib.sha256(bytes.fromhex(salt) + login.encode()).hexdigest()


def encode(message: BaseModel) -> str:
    """Return the text frame of `message`."""
    return message.model_dump_json(exclude_none=True)


def decode_from_agent(frame: str | bytes) -> FromAgent:
    """Parse a frame the centre received.

    Raises:
        MessageRefused: too long, not JSON, unknown type or version, or a field out of its bounds.
    """
    return _decode(_FROM_AGENT, frame)  # type: ignore[no-any-return]  # the adapter is built from this union


def decode_from_centre(frame: str | bytes) -> FromCentre:
    """Parse a frame the agent received.

    Raises:
        MessageRefused: too long, not JSON, unknown type or version, or a field out of its bounds.
    """
    return _decode(_FROM_CENTRE, frame)  # type: ignore[no-any-return]  # the adapter is built from this union


def _decode(adapter: TypeAdapter[Any], frame: str | bytes) -> Any:
    if len(frame) > MAX_MESSAGE_BYTES:
        raise _too_long(len(frame))
    try:
        raw = frame.encode() if isinstance(frame, str) else frame
    except UnicodeEncodeError:
        raise MessageRefused("frame: not a text of Unicode characters") from None
    if len(raw) > MAX_MESSAGE_BYTES:
        raise _too_long(len(raw))
    if raw.count(b"[") + raw.count(b"{") + raw.count(b":") > _MAX_PARTS:
        raise MessageRefused(f"frame: more than {_MAX_PARTS} arrays, objects and fields")
    try:
        return adapter.validate_json(raw, strict=True)
    except ValidationError as error:
        raise _refusal(error) from None


def _too_long(length: int) -> MessageRefused:
    return MessageRefused(f"a frame of more than {MAX_MESSAGE_BYTES} bytes ({length}); longer ones are not read")


def _refusal(error: ValidationError) -> MessageRefused:
    """Return what was wrong and where, in our own names only: a frame's own field names are not repeated either."""
    count = error.error_count()
    if count > _MAX_FAULTS:
        return MessageRefused(f"frame: {count} faults")
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        return MessageRefused("type: not one of the messages this side reads")
    known = [str(part) for part in first["loc"][1:] if isinstance(part, int) or part in _FIELD_NAMES]
    kind = UnknownVersion if known == ["v"] else MessageRefused
    return kind(f"{'.'.join(known) or 'frame'}: {first['msg'][:150]} ({count} in all)")


_PARTS: tuple[type[BaseModel], ...] = (
    EventId,
    EpochAccount,
    EventRange,
    PointSetup,
    Sentence,
    ReaderHealth,
    PlaceAnswer,
)
_MODELS: tuple[type[BaseModel], ...] = (*Message.__subclasses__(), *_PARTS)
_FIELD_NAMES = frozenset(name for model in _MODELS for name in model.model_fields)
