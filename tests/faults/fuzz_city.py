# SPDX-License-Identifier: EUPL-1.2
"""The centre's side of its agents with real stores, and agents without a network: two honest doors and a hostile agent.

Everything from the hub on is the product's; only the WebSocket is missing, so that thousands of messages take seconds.
"""

import asyncio
import dataclasses
import itertools
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from faults.fuzz_frames import sampler
from pydantic import BaseModel, TypeAdapter
from unit.agents.desk import DOOR, ENTITLED, NOW_MS, STORE, TRUST, StandingDirectory, desfire_card, snapshot_with

from cardservice.access.snapshot import Snapshot
from cardservice.agents.channel import Channel
from cardservice.agents.events import EventDesk
from cardservice.agents.hub import AgentHub
from cardservice.agents.live import LiveFeed
from cardservice.agents.messages import (
    CardApdus,
    CardOpen,
    CardPresent,
    CardResponses,
    Challenge,
    DecisionMessage,
    EventId,
    FromAgent,
    Hello,
    Welcome,
    decode_from_centre,
    encode,
    hello_signing_input,
)
from cardservice.agents.service import Agents
from cardservice.agents.session import AgentSession, Desks
from cardservice.agents.tap_services import TapServices
from cardservice.agents.taps import TapDesk
from cardservice.clock import SystemClock
from cardservice.database import Databases, open_databases, upgrade
from cardservice.journal.service import Journal
from cardservice.metrics import Metrics
from cardservice.recorder import Recorder

HONEST, HOSTILE = "rathaus", "hostile"
OWN_POINTS = tuple(f"hostile-{number}" for number in range(4))
LIMIT_S = 10.0
_FROM_AGENT: TypeAdapter[Any] = TypeAdapter(FromAgent)


class _Clock(SystemClock):
    """The wall clock stands where the sample cards are valid; the other one runs."""

    def now_ms(self) -> int:
        return NOW_MS


class _Doors:
    """A snapshot with the honest agent's door and the hostile agent's."""

    def __init__(self) -> None:
        self.snapshot: Snapshot = snapshot_with(DOOR)
        kinds = itertools.cycle((("desfire",), ("piv",), ("piv", "desfire")))
        for code, methods in zip(OWN_POINTS, kinds, strict=False):
            point = dataclasses.replace(DOOR, code=code, agent=HOSTILE, methods=methods)
            self.snapshot._points[code] = point

    def age_ms(self) -> int:
        return 0

    def age_ms_of(self, _person: int) -> int:
        return 0


class Wire:
    """One connection as the agent has it; keeps the newest messages of the centre."""

    def __init__(self, hub: AgentHub) -> None:
        self.channel = Channel(self._send, self._close)
        self.told: deque[Any] = deque(maxlen=1_000)
        self.frames = 0
        self.closed = False
        self._news = asyncio.Event()
        self._serving = asyncio.ensure_future(hub.serve(self.channel))

    def send(self, *messages: BaseModel | str | bytes) -> None:
        """Hand messages, or raw frames, to the centre."""
        for message in messages:
            if not self.closed:
                self.channel.received(encode(message) if isinstance(message, BaseModel) else message)

    async def expect(self, kind: type) -> Any:
        """Return the next message of `kind`; whatever comes before it is dropped."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                while self.told:
                    message = self.told.popleft()
                    if isinstance(message, kind):
                        return message
                self._news.clear()
                await self._news.wait()

    async def end(self) -> None:
        """Lose the connection, and wait until the centre has noticed."""
        self._close()
        await self._serving

    def _send(self, text: str) -> None:
        self.frames += 1
        self.told.append(decode_from_centre(text))
        self._news.set()

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self.channel.lost()
            self._news.set()


class FuzzCity:
    """A hub with everything behind it."""

    def __init__(self, databases: Databases, dice: random.Random) -> None:
        self.dice = dice
        self.metrics, self.live, self.clock = Metrics(), LiveFeed(), _Clock()
        journal = Journal(lambda stream, purpose: STORE.secret(f"journal {stream} {purpose}"))
        journal.begin_epoch(databases.record, NOW_MS)
        self.recorder = Recorder(databases.record, (journal,))
        self.recorder.start()
        self.services = TapServices(
            _Doors(), StandingDirectory(), STORE, TRUST, self.recorder, journal, self.metrics, self.clock
        )
        agents = Agents(databases.state, self.clock)
        self.keys = {name: Ed25519PrivateKey.generate() for name in (HONEST, HOSTILE)}
        for name, key in self.keys.items():
            agents.enrol(name, key.public_key().public_bytes_raw().hex())
        self._epochs = itertools.count(1_790_000_000)
        self._agents = agents
        self.hub = self._new_hub()

    def _new_hub(self) -> AgentHub:
        desks = Desks(TapDesk(self.services), EventDesk(self.services), self.live, self.metrics, self.clock)
        hub = AgentHub(self._agents, desks)
        hub.points_changed(self.services.city.snapshot)
        return hub

    def next_epoch(self) -> int:
        """Return a boot epoch no agent has had."""
        return next(self._epochs)

    def restart(self) -> None:
        """Make everything anew that stands between the agents and the stores, as a restarted service does."""
        self.hub = self._new_hub()

    async def join(self, name: str) -> tuple[Wire, int]:
        """Connect as `name`; return the connection and its boot epoch."""
        wire, epoch = Wire(self.hub), self.next_epoch()
        challenge = await wire.expect(Challenge)
        signature = self.keys[name].sign(hello_signing_input(challenge.nonce, name, epoch)).hex()
        wire.send(Hello(agent=name, epoch=epoch, signature=signature, software="test"))
        await wire.expect(Welcome)
        return wire, epoch

    def session(self, name: str) -> AgentSession | None:
        """Return the session of a connected agent."""
        return self.hub._sessions.get(name, (None, None))[0]

    async def recorded(self) -> None:
        """Return once everything submitted to the record store before is written."""
        await self.recorder.submit_here(lambda _connection: None)


class HonestDoor:
    """A door at which one entitled person taps again and again."""

    def __init__(self, city: FuzzCity) -> None:
        self._city = city
        self._sequences = itertools.count(1)
        self._wire: Wire
        self._epoch = 0

    async def open(self) -> None:
        """Connect."""
        self._wire, self._epoch = await self._city.join(HONEST)

    async def tap(self) -> DecisionMessage:
        """Hold a card to the reader until the centre has decided."""
        card = desfire_card(ENTITLED)
        card.power_on("contactless")
        event = EventId(agent=HONEST, epoch=self._epoch, sequence=next(self._sequences))
        self._wire.send(CardPresent(event=event, point=DOOR.code, atr="3b80", at_ms=NOW_MS))
        while not isinstance(message := await self._wire.expect(CardApdus | DecisionMessage), DecisionMessage):
            answers = tuple(card.transmit(bytes.fromhex(apdu)).hex() for apdu in message.apdus)
            self._wire.send(
                CardResponses(conversation=message.conversation, n=message.n, responses=answers, took_us=1_000)
            )
        return message

    async def close(self) -> None:
        """Disconnect."""
        await self._wire.end()


class HostileAgent:
    """An enrolled agent that sends whatever the wire allows, mostly about what the centre really asked it."""

    def __init__(self, wire: Wire, epoch: int, dice: random.Random, stock: dict[str, list[dict[str, Any]]]) -> None:
        self.wire = wire
        self._epoch = epoch
        self._dice = dice
        self._stock = stock
        self._sequences = itertools.count(1)
        self._decisions: list[DecisionMessage] = []
        self._asked: list[CardApdus] = []

    def message(self, kind: str | None = None) -> BaseModel:
        """Return a message of the type `kind`, or of any."""
        dice = self._dice
        self._listen()
        made = dict(dice.choice(self._stock[kind or dice.choice(list(self._stock))]))
        if "event" in made and dice.random() < 0.9:
            made["event"] = self._event()
        if "point" in made and dice.random() < 0.9:
            made["point"] = dice.choice((*OWN_POINTS, DOOR.code))
        if "conversation" in made and self._asked and dice.random() < 0.8:
            asked = dice.choice(self._asked[-4:])
            made |= {"conversation": asked.conversation, "n": max(0, min(63, asked.n + dice.choice((0, 0, 0, 1, -1))))}
        if made["type"] == "event" and self._decisions and dice.random() < 0.5:
            decision = dice.choice(self._decisions[-8:])
            made |= {"decision": decision.decision, "permit": decision.permit, "receipt": decision.receipt}
            made |= {"event": decision.event.model_dump()} if dice.random() < 0.7 else {}
        return _FROM_AGENT.validate_json(TypeAdapter(dict[str, Any]).dump_json(made), strict=True)

    def _event(self) -> dict[str, Any]:
        dice = self._dice
        sequence = next(self._sequences) if dice.random() < 0.7 else dice.choice((1, 2, 5_000, 2**53 - 1))
        epoch = self._epoch if dice.random() < 0.9 else dice.choice((1, self._epoch - 1, self._epoch + 1, 2**53 - 1))
        return {"agent": HOSTILE if dice.random() < 0.95 else HONEST, "epoch": epoch, "sequence": sequence}

    def _listen(self) -> None:
        while self.wire.told:
            told = self.wire.told.popleft()
            if isinstance(told, CardApdus):
                self._asked = [*self._asked[-8:], told]
            elif isinstance(told, DecisionMessage):
                self._decisions = [*self._decisions[-16:], told]
            else:
                assert not isinstance(told, CardOpen) or told.event.agent == HOSTILE, "another agent's card"


def stock(dice: random.Random, each: int = 60) -> dict[str, list[dict[str, Any]]]:
    """Return messages of every type an agent sends, at the bounds of the wire."""
    maker = sampler("agent", dice)
    return {kind: [maker.message(kind) for _ in range(each)] for kind in maker.kinds}


@contextmanager
def fuzz_city(folder: Path, dice: random.Random) -> Iterator[FuzzCity]:
    """Make a city with stores in `folder`."""
    databases = open_databases(f"sqlite:///{folder}")
    try:
        upgrade(databases)
        city = FuzzCity(databases, dice)
        yield city
        city.recorder.stop()
    finally:
        databases.close()
