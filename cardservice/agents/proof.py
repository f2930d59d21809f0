# SPDX-License-Identifier: EUPL-1.2
"""What a card proves: the conversation with it, and the credential and level that come of it.

The centre runs the conversation itself, with its own keys and its own random numbers; the agent only transmits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import structlog

from cardservice.access.rules import Level, PointRecord, Reason, Use
from cardservice.agents.card_details import CardDetail, detail_of
from cardservice.agents.messages import CardPresent
from cardservice.cards.ports import TokenTrouble
from cardservice.cards.proven import credential_of
from cardservice.cards.rules import desfire_credential, is_old_number, old_credential
from cardservice.chip import errors as chip
from cardservice.chip.conversation import Conversation
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import ProvenNumber, UseKeys, identify
from cardservice.chip.piv import ProvenCard, authenticate_card
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.clock import Clock
from cardservice.errors import CardServiceError

# Sends commands to the card through the agent and returns its answers, fewer than asked for if the card went away; an
# agent that says more about why gives `Missing` answers.
Exchange = Callable[[Sequence[bytes]], Awaitable[tuple[bytes, ...]]]
# Told which generation of keys the card known by a credential has just proved.
KeepGeneration = Callable[[bytes, int], None]

MAX_ROUNDS: Final = 60
TOKEN_THREADS: Final = 4
TOKEN_S: Final = 5.0
# What a card is asked in a conversation; `attested` is read by the reader.
CONVERSATIONS: Final = frozenset({"desfire", "piv"})
ATTESTED: Final = "attested"
# SELECT refused with one of these: the card does not know the application, or no application at all.
_NO_APPLICATION: Final = frozenset({0x6A82, 0x6A81, 0x6D00, 0x6E00, 0x91A0, 0x911C})
# The less a refusal to talk says of the card, the earlier it stands here.
_TELLING: Final = {CardDetail.CLASS_NOT_SUPPORTED: 0, CardDetail.APPLICATION_MISSING: 1}
_log = structlog.get_logger()


def nobody_asks(_credential: bytes, _generation: int) -> None:
    """For whoever does not count which generation cards have."""


class Missing(tuple[bytes, ...]):
    """Fewer answers than asked for, and why: see `Silent` and `Broken`."""

    __slots__ = ()
    error: type[chip.CardGone] = chip.CardGone


class Silent(Missing):
    """The card did not answer in time."""

    __slots__ = ()
    error = chip.CardSilent


class Broken(Missing):
    """The reader broke off."""

    __slots__ = ()
    error = chip.ReaderFailed


class Keys(Protocol):
    """What a conversation needs of the key store."""

    @property
    def system_id(self) -> bytes:
        """The installation's part of every diversification."""
        ...

    @property
    def may_wait(self) -> bool:
        """Whether using a key can take longer than the event loop may stand still."""
        ...

    def ring(self, use: str) -> UseKeys:
        """Return the keys of one use."""
        ...


class Proof(NamedTuple):
    """What the conversation established: a credential and its level, or the reason why there is none.

    `detail` tells administrators more of what the card did; None where there is nothing to add to the reason.
    """

    credential: bytes = b""
    level: Level = Level.NONE
    reason: Reason | None = None
    method: str = ""
    evidence: bytes = b""
    detail: CardDetail | None = None


UNSUPPORTED: Final = Proof(reason=Reason.CARD_UNSUPPORTED)


@dataclass(slots=True)
class Stopwatch:
    """Durations of a tap's stages, in microseconds (a stage entered twice adds up), and its exchanges with the card."""

    clock: Clock
    started_ns: int = field(init=False)
    stages_us: dict[str, int] = field(default_factory=dict)
    exchanges: int = 0

    def __post_init__(self) -> None:
        self.started_ns = self.clock.monotonic_ns()

    def add(self, stage: str, started_ns: int) -> int:
        """Add the time since `started_ns` to `stage`; return now."""
        now_ns = self.clock.monotonic_ns()
        self.stages_us[stage] = self.stages_us.get(stage, 0) + (now_ns - started_ns) // 1_000
        return now_ns


class _Finished(NamedTuple):
    """What a conversation came to."""

    value: Any


class CardProver:
    """Asks cards who they are; many at once, from the event loop. `proved` is told which generation of keys one has."""

    def __init__(self, keys: Keys, trust: CardAuthTrust, clock: Clock, proved: KeepGeneration = nobody_asks) -> None:
        self._keys = keys
        self._trust = trust
        self._clock = clock
        self._proved = proved
        # A token may be at the other end of a network: its threads wait for it, the event loop never does.
        self._threads = ThreadPoolExecutor(TOKEN_THREADS, "token") if keys.may_wait else None

    async def prove(self, point: PointRecord, present: CardPresent, exchange: Exchange, watch: Stopwatch) -> Proof:
        """Try the point's methods in order until the card knows one of them."""
        details: list[CardDetail] = []
        for method in point.methods:
            if method not in CONVERSATIONS:
                continue
            proof = await self._attempt(method, point, present, exchange, watch)
            if proof.reason is not Reason.CARD_UNSUPPORTED:
                return proof
            if proof.detail is not None:
                details.append(proof.detail)
        return UNSUPPORTED._replace(detail=_most_telling(details))

    async def _attempt(
        self, method: str, point: PointRecord, present: CardPresent, exchange: Exchange, watch: Stopwatch
    ) -> Proof:
        reason: Reason
        detail: CardDetail | None = None
        try:
            if method == "piv":
                card = await self._run(self._piv(point, present), exchange, watch)
                return Proof(credential_of(card), Level.CARD, method=method, evidence=card.evidence)
            number = await self._run(self._desfire(point.use), exchange, watch)
            credential = desfire_credential(point.use, number.number)
            self._proved(credential, number.generation)
            return Proof(credential, Level.CARD, method=method, evidence=number.evidence)
        except chip.ChipError as error:
            reason, detail = _reason_of(error), detail_of(error)
            _log.info("tap.card_refused", point=point.code, method=method, reason=reason, detail=detail)
        except TokenTrouble as error:
            # The token is away; it may be back at the next tap.
            reason = Reason.OVERLOADED
            _log.error("tap.token_away", point=point.code, method=method, error=str(error))
        except (CardServiceError, ValueError) as error:
            # No key for this use, or a configuration the card language refuses: ours to mend, never the card's fault.
            reason = Reason.CARD_UNSUPPORTED
            _log.error("tap.misconfigured", point=point.code, method=method, error=str(error))
        return Proof(reason=reason, method=method, detail=detail)

    def _desfire(self, use: Use) -> Conversation[ProvenNumber]:
        return identify(CardUse(use.value), self._keys.ring(use.value), system_id=self._keys.system_id)

    def _piv(self, point: PointRecord, present: CardPresent) -> Conversation[ProvenCard]:
        context = f"{point.code}\0{present.event.agent}\0{present.event.epoch}\0{present.event.sequence}".encode()
        at = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        return authenticate_card(context, self._trust, at=at)

    async def _run(self, conversation: Conversation[Any], exchange: Exchange, watch: Stopwatch) -> Any:
        """Drive a conversation over the agent; bounded in rounds."""
        began_ns = self._clock.monotonic_ns()
        threads = self._threads
        move: Callable[[], Any] = partial(next, conversation)
        try:
            while True:
                commands = _moved(move) if threads is None else await _moved_aside(threads, move)
                began_ns = watch.add("crypto", began_ns)
                if isinstance(commands, _Finished):
                    return commands.value
                if watch.exchanges >= MAX_ROUNDS:
                    break
                watch.exchanges += 1
                responses = await exchange(commands)
                began_ns = watch.add("relay", began_ns)
                if len(responses) < len(commands):
                    error = responses.error if isinstance(responses, Missing) else chip.CardGone
                    move = partial(conversation.throw, error("the card left during the conversation"))
                else:
                    move = partial(conversation.send, responses)
        finally:
            _closed(conversation)
        raise chip.AnswerTooLong("conversation", f"no end after {MAX_ROUNDS} exchanges")


def _moved(move: Callable[[], Any]) -> Any:
    """Return the next commands of a conversation, or that it is finished."""
    try:
        return move()
    except StopIteration as finished:
        return _Finished(finished.value)


async def _moved_aside(threads: ThreadPoolExecutor, move: Callable[[], Any]) -> Any:
    """Do the same beside the event loop; a token that does not answer in time is away."""
    try:
        async with asyncio.timeout(TOKEN_S):
            return await asyncio.get_running_loop().run_in_executor(threads, _moved, move)
    except TimeoutError:
        raise TokenTrouble(f"the token did not answer within {TOKEN_S:.0f} s") from None


def _closed(conversation: Conversation[Any]) -> None:
    try:
        conversation.close()
    except ValueError:
        # A thread still waits for the token in it; what it comes to is nobody's any more.
        _log.warning("tap.token_slow")


def attested(point: PointRecord, number: str, known: Callable[[bytes], object]) -> Proof:
    """Return what a number proves that a reader read by itself: that the reader says so.

    An old number that is `known` in a zone around the point is that; else it is the number of the use.
    """
    try:
        value = bytes.fromhex(number)
        credential = desfire_credential(point.use, value)
    except ValueError:
        return Proof(reason=Reason.CARD_UNSUPPORTED, method=ATTESTED)
    here = (old_credential(point.use, value, zone) for zone in (point.zones if is_old_number(value) else ()))
    found = next((one for one in here if known(one) is not None), credential)
    return Proof(found, Level.READER_ATTESTED, method=ATTESTED)


def _most_telling(details: Sequence[CardDetail]) -> CardDetail | None:
    """Return the detail of the method that came furthest: most cards do not speak the language of the others at all."""
    return max(details, key=lambda detail: _TELLING.get(detail, len(_TELLING)), default=None)


def _reason_of(error: chip.ChipError) -> Reason:
    """Return the reason code for what went wrong in a conversation."""
    if isinstance(error, chip.CardGone):
        return Reason.CARD_GONE
    if isinstance(error, chip.CertificateRefused):
        return Reason.CERTIFICATE_REFUSED
    if isinstance(error, chip.CardNotGenuine | chip.AuthenticationRefused | chip.KeyNotFound):
        return Reason.CARD_NOT_GENUINE
    if isinstance(error, chip.ApplicationNotFound):
        return Reason.CARD_UNSUPPORTED
    if isinstance(error, chip.StatusError) and error.sw in _NO_APPLICATION:
        return Reason.CARD_UNSUPPORTED
    return Reason.CARD_GARBLED
