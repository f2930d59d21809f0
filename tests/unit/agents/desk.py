# SPDX-License-Identifier: EUPL-1.2
"""A tap desk with everything around it in memory: a city of three people, virtual cards, a recorder that may fail."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from support.points import a_point

from cardservice.access.rules import REFUSED, CardRecord, CompiledPeriod, Decision, PointRecord, Reason, Use
from cardservice.access.snapshot import ShardedMap, Snapshot
from cardservice.agents.messages import CardPresent, DecisionMessage, EventId
from cardservice.agents.pins import PinDesk
from cardservice.agents.places import Place
from cardservice.agents.tap_services import TapServices
from cardservice.agents.taps import TapDesk
from cardservice.cards.keystore import CardMaster, SealedKeyStore, generate_masters
from cardservice.cards.rules import desfire_credential, piv_credential
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer, issuer_key
from cardservice.journal.service import Entry
from cardservice.metrics import Metrics
from cardsim.card import VirtualCard
from cardsim.certificates import Flaw, Order, card_authentication_slot, make_issuer
from cardsim.errors import CardPulled
from cardsim.interfaces import Card
from cardsim.personalise import UseKeys, personalise_desfire, personalise_piv

NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
SYSTEM_ID = b"STADT"
DOOR_AID = bytes.fromhex("01C1F5")
MASTERS = generate_masters()
STORE = SealedKeyStore(b"r" * 32, SYSTEM_ID, MASTERS)
ISSUER = make_issuer("Cards of another authority", NOW - timedelta(days=30))
ISSUER_KEY = issuer_key(ISSUER.certificate)
TRUST = CardAuthTrust((TrustedIssuer(ISSUER.certificate, lambda _: False),))
GROUP = 7
ENTITLED, STRANGER, DISABLED = b"entitled-num", b"stranger-num", b"disabled-num"
UUIDS = {number: uuid.UUID(bytes=number + b"uuid", version=4) for number in (ENTITLED, STRANGER, DISABLED)}
EVENT = EventId(agent="rathaus", epoch=1_790_000_000_000, sequence=1)


def master(purpose: str) -> bytes:
    """The door's master key for `purpose`."""
    (found,) = [m.key for m in MASTERS if (m.use, m.purpose) == ("door", purpose)]
    return found


def use_keys(number: bytes, **changes: Any) -> UseKeys:
    """The door's part of a card."""
    keys = UseKeys(DOOR_AID, master("application_master"), master("proof"), master("locate"), 1, number)
    return replace(keys, **changes)


def desfire_card(number: bytes = ENTITLED, **changes: Any) -> VirtualCard:
    """A card of this city with a DESFire application for doors."""
    return VirtualCard("card", "Card", desfire=personalise_desfire(SYSTEM_ID, [use_keys(number, **changes)]))


def piv_card(number: bytes = ENTITLED, flaw: Flaw = Flaw.NONE, issuer: Any = ISSUER) -> VirtualCard:
    """A card with nothing but PIV, on the air interface."""
    order = Order(issuer, NOW - timedelta(days=1), 365, flaw)
    slots = {0x9E: card_authentication_slot(order, UUIDS[number])}
    piv = personalise_piv(UUIDS[number], pin="123456", puk="12345678", slots=slots)
    return VirtualCard("piv", "PIV card", piv=piv, piv_contactless=True)


def _record(holder: int, *subjects: int, refusal: Decision | None = None) -> CardRecord:
    return CardRecord(refusal=refusal, window=None, subjects=subjects, holder=holder, card=holder + 100)


def snapshot_with(point: PointRecord) -> Snapshot:
    """The city: somebody with the group, somebody without, somebody disabled; DESFire and PIV each."""
    people = {
        ENTITLED: _record(1, GROUP),
        STRANGER: _record(2),
        DISABLED: _record(3, GROUP, refusal=REFUSED[Reason.PERSON_DISABLED]),
    }
    cards = [(desfire_credential("door", number), record) for number, record in people.items()]
    cards += [(piv_credential(ISSUER_KEY, UUIDS[number].bytes), record) for number, record in people.items()]
    return Snapshot(41, ShardedMap.of(cards), {point.code: point}, CompiledPeriod(NOW_MS - 10**9, NOW_MS + 10**10))


DOOR = a_point(
    "door-1",
    Use.DOOR,
    always=frozenset({GROUP}),
    granted=Decision(permit=True, reason=Reason.GRANTED, open_ms=5_000),
    journal="full",
    agent=EVENT.agent,
)


class StandingClock:
    """A wall clock that stands; the other one ticks a microsecond whenever it is asked."""

    def __init__(self) -> None:
        self._ticks = 0

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_ns(self) -> int:
        self._ticks += 1_000
        return self._ticks


@dataclass
class StandingDirectory:
    """A copy of a certain age."""

    age: int = 150

    def age_ms_of(self, _person: int) -> int:
        return self.age

    def source(self) -> str:
        return "ldaps://one.example refreshAndPersist rid=000,csn=1"


@dataclass
class NotingJournal:
    """Notes what it is asked to keep."""

    entries: list[Entry] = field(default_factory=list)
    counts: list[tuple[str, int, str]] = field(default_factory=list)

    def append(self, _connection: Any, entry: Entry) -> None:
        self.entries.append(entry)

    def count(self, _connection: Any, stream: str, at_ms: int, outcome: str) -> None:
        self.counts.append((stream, at_ms, outcome))


@dataclass
class FailingRecorder:
    """Runs every unit at once; refuses it, fails with it or never comes to it, if told to."""

    at_once: Exception | None = None
    later: Exception | None = None
    hangs: bool = False
    futures: list["asyncio.Future[Any]"] = field(default_factory=list)

    def submit_here(self, unit: Callable[[Any], Any]) -> "asyncio.Future[Any]":
        if self.at_once is not None:
            raise self.at_once
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if self.hangs:
            return future
        if self.later is not None:
            future.set_exception(self.later)
        else:
            future.set_result(unit(None))
        return future

    def taken_back(self) -> bool:
        """Whether every unit was cancelled before it was run."""
        return all(future.cancelled() for future in self.futures)


@dataclass
class City:
    """What one test plays with."""

    point: PointRecord = DOOR
    directory: StandingDirectory = field(default_factory=StandingDirectory)
    journal: NotingJournal = field(default_factory=NotingJournal)
    recorder: FailingRecorder = field(default_factory=FailingRecorder)
    metrics: Metrics = field(default_factory=Metrics)
    keys: Any = STORE
    trust: CardAuthTrust = TRUST

    log_age: int = 0
    pins: PinDesk | None = None

    @property
    def snapshot(self) -> Snapshot:
        return snapshot_with(self.point)

    def age_ms(self) -> int:
        return self.log_age

    def desk(self, *places: Place) -> TapDesk:
        services = TapServices(
            city=self,
            directory=self.directory,
            keys=self.keys,
            trust=self.trust,
            recorder=self.recorder,
            journal=self.journal,
            metrics=self.metrics,
            clock=StandingClock(),
            places={place.use: place for place in places},
            pins=self.pins,
        )
        return TapDesk(services)

    async def tap(self, card: Card, point: str = "door-1") -> DecisionMessage:
        """Hold `card` to `point`."""
        return await self.desk().answer(present(point), Exchange(card))

    def taps_counted(self) -> dict[tuple[str, str], float]:
        """Outcome and reason of every tap, as the metrics have them."""
        (family,) = [f for f in self.metrics.registry.collect() if f.name == "cardservice_taps"]
        samples = [sample for sample in family.samples if sample.name.endswith("_total")]
        return {(sample.labels["outcome"], sample.labels["reason"]): sample.value for sample in samples}


def present(point: str = "door-1") -> CardPresent:
    """A card arrives."""
    return CardPresent(event=EVENT, point=point, atr="3b80", at_ms=NOW_MS)


class Exchange:
    """The agent's end: transmits to a virtual card, gives fewer answers once the card is gone."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self.rounds = 0
        self.commands: list[bytes] = []
        card.power_on("contactless")

    async def __call__(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        await asyncio.sleep(0)
        self.rounds += 1
        answers: list[bytes] = []
        for command in commands:
            self.commands.append(command)
            try:
                answer = self._card.transmit(command)
            except CardPulled:
                break
            if len(answer) < 2:
                break
            answers.append(answer)
        return tuple(answers)


def keys_without(use: str) -> SealedKeyStore:
    """A key store that lacks one use."""
    masters: list[CardMaster] = [m for m in MASTERS if m.use != use]
    return SealedKeyStore(b"r" * 32, SYSTEM_ID, masters)
