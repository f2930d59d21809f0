# SPDX-License-Identifier: EUPL-1.2
"""The centre under cards and agents that lie: every tap gets its reason, nobody else notices, nothing piles up."""

import asyncio
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Iterator
from typing import get_args

import pytest
import sqlalchemy as sa
from faults.conftest import is_full
from faults.fuzz_bounds import MAX_INPUT_S, Parser, feed, hold_to_memory, hold_to_time, left_behind
from faults.fuzz_cards import (
    GENUINE,
    HEAVY_CONTENTS,
    OTHERS,
    LyingCard,
    bend_answer,
    card_objects,
    heavy_content,
    slow_cards,
)
from faults.fuzz_city import HONEST, HOSTILE, OWN_POINTS, FuzzCity, HonestDoor, HostileAgent, fuzz_city, stock
from faults.fuzz_logs import CountedLog, counted_logs
from faults.fuzz_wire import ATTACK_S, INTRUSIONS, listening
from support.metrics import label_values
from support.scripted_agent import ScriptedAgent
from support.waiting import wait_until
from unit.agents.desk import DOOR, EVENT, NOW, TRUST, City, desfire_card, present

from cardservice.access.rules import Reason, Use
from cardservice.agents.events import Verdict
from cardservice.agents.gaps import MAX_GAPS
from cardservice.agents.live import KEPT
from cardservice.agents.messages import CardPresent, EpochAccount, EventId, EventsAccount
from cardservice.agents.proof import MAX_ROUNDS
from cardservice.agents.receipts import Decided, open_receipt, seal_receipt
from cardservice.agents.session import MAX_UPLOADS
from cardservice.agents.store import event_gap
from cardservice.chip import piv_formats, tlv
from cardservice.chip.apdu import CommandApdu, ResponseApdu
from cardservice.chip.errors import ChipError
from cardservice.chip.layout import NumberFile
from cardservice.chip.piv_certificate import check_card_auth_certificate
from cardservice.database import read
from cardservice.errors import CardServiceError
from cardservice.recorder import MAX_WAITING

METHODS = (("desfire",), ("piv",), ("desfire", "piv"), ("piv", "desfire"))
REASONS = {reason.value for reason in Reason}
SECRET = bytes(32)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> CountedLog:
    return counted_logs(monkeypatch)


def city_with(methods: tuple[str, ...]) -> City:
    return City(point=dataclasses.replace(DOOR, methods=methods))


async def test_a_card_that_lies_at_any_step_is_refused_with_a_reason(dice, scale, report, logs):
    """Bent, foreign, missing, surplus or random answers never open, whoever's card it is, and name no configuration."""
    taps, opened, reasons, heard = scale.of(600, 60_000), 0, set(), []
    for number in range(taps):
        genuine = dice.random() < 0.5
        card = LyingCard(dice, dice.choice(GENUINE if genuine else OTHERS)(), honest=dice.randrange(6), heard=heard)
        city = city_with(dice.choice(METHODS))
        decision = await city.desk().answer(present(), card)
        what = f"tap {number}: {decision.reason} after {card.rounds} exchanges"
        assert decision.reason in REASONS, what
        assert card.rounds <= MAX_ROUNDS, what
        # What was changed may be worthless padding, but never the proof.
        assert not decision.permit or (genuine and not card.proof_changed), what
        assert decision.permit == (decision.reason == "granted"), what
        assert len(city.journal.entries) == 1, what
        opened += decision.permit
        reasons.add(decision.reason)
    assert opened, "no honest tap in between: the lies may have been refused for another cause"
    assert {"card_garbled", "card_gone", "card_not_genuine", "card_unsupported", "certificate_refused"} <= reasons
    assert logs.counts["tap.misconfigured"] == 0
    report("taps with cards that lie", taps=taps, opened_by_honest_answers=opened, reasons=len(reasons))


@pytest.mark.parametrize("methods", METHODS, ids="+".join)
async def test_a_card_that_never_ends_is_let_go(methods, scale, report, logs):
    """At most `MAX_ROUNDS` exchanges for a whole tap, whatever the card says and however late it comes to the point."""
    most = 0
    for card in itertools.islice(slow_cards(), 0, None, scale.of(3, 1)):
        decision = await city_with(methods).desk().answer(present(), card)
        assert decision.reason in REASONS
        assert card.rounds <= MAX_ROUNDS, f"{card.rounds} exchanges with {card.name}"
        most = max(most, card.rounds)
    assert logs.counts["tap.misconfigured"] == 0
    report("exchanges with a card that never ends", methods="+".join(methods), most=most)


@pytest.mark.parametrize("name", HEAVY_CONTENTS)
async def test_an_answer_made_to_be_slow_is_read_soon(name):
    """Whatever 65 kB a card puts in place of its certificate: 150 ms of CPU for each exchange at most."""
    application = bytes(tlv.build(0x61, tlv.build(0x4F, piv_formats.PIV_AID[5:])))
    answers = (application + b"\x90\x00", heavy_content(name) + b"\x90\x00")

    async def exchange(commands):
        return tuple(next(script) for _ in commands)

    best = 10.0
    for _ in range(3):
        script = iter(answers)
        began = time.process_time()
        decision = await city_with(("piv",)).desk().answer(present(), exchange)
        best = min(best, time.process_time() - began)
        assert decision.reason in {"card_garbled", "certificate_refused"}
    assert best <= MAX_INPUT_S * len(answers), f"{best * 1e3:.0f} ms"


async def test_taps_do_not_wait_for_each_other(dice, logs):
    """A hundred lying cards at once leave an honest one its decision."""
    city = city_with(("desfire", "piv"))
    desk, heard = city.desk(), []
    liars = [LyingCard(dice, dice.choice(OTHERS)(), honest=dice.randrange(4), heard=heard) for _ in range(100)]
    honest = LyingCard(dice, desfire_card(), honest=MAX_ROUNDS, heard=heard)
    decisions = await asyncio.gather(*(desk.answer(present(), card) for card in (*liars, honest)))
    assert [decision.permit for decision in decisions] == [False] * 100 + [True]


def receipt_of(sealed: bytes) -> object:
    """Open what an agent says is a receipt."""
    opened = open_receipt(sealed.hex(), SECRET, EVENT, point="door-1", decision="d0")
    if opened is None:
        raise LookupError
    return opened


PARSERS = (
    Parser("TLV objects", tlv.parse, (ChipError,)),
    Parser("certificate object", piv_formats.unwrap_certificate, (ChipError,)),
    Parser("certificate", lambda der: check_card_auth_certificate(der, TRUST, at=NOW), (ChipError,)),
    Parser("number file", NumberFile.from_bytes, (ChipError,)),
    Parser("response APDU", ResponseApdu.from_bytes, (ChipError,)),
    Parser("command APDU", CommandApdu.from_bytes, (ChipError,)),
    Parser("receipt", receipt_of, (LookupError,)),
)
RECEIPT = seal_receipt(SECRET, EVENT, point="door-1", decision="d0", decided=Decided(permit=True, level=3, at_ms=1))


def bent(dice, seeds):
    """Yield seeds bent one to three times, without end."""
    while True:
        given = dice.choice(seeds)
        for _ in range(dice.randint(1, 3)):
            given = bend_answer(dice, given, seeds)
        yield given


@pytest.fixture(scope="module")
def seeds():
    """Every content the parsers are made for."""
    return [*card_objects(), bytes.fromhex(RECEIPT), bytes.fromhex("00a4040009a00000030800001000")]


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_whatever_a_card_holds_the_parsers_answer_or_refuse(parser, seeds, dice, scale, report):
    """Only the declared errors, within 150 ms each, and 10,000 inputs leave nothing behind."""
    assert any(parser.takes(seed) for seed in seeds), "no seed is what the parser is made for"
    tally = feed(parser, bent(dice, seeds), scale.of(1_000, 60_000))
    left = left_behind(parser, bent(dice, seeds), scale.of(300, 10_000))
    report(f"inputs to the parser of {parser.name}", inputs=tally.inputs, taken=tally.taken, bytes_left_behind=left)


@pytest.mark.parametrize("name", HEAVY_CONTENTS)
def test_heavy_contents_cost_little(name):
    """150 ms of CPU and 64 MiB at most for 65 kB made to be slow, in whichever of the card's answers they come."""
    inner = tlv.descend(heavy_content(name), 0x53)
    content = tlv.only(tlv.parse(inner), 0x70) if name.startswith("certificate") else inner
    for parser in PARSERS[:3]:
        hold_to_time(parser, content)
    hold_to_memory(PARSERS[1], content)


# The tasks of both agents' connections, taps, uploads and accounts, and the test's own.
MAX_TASKS = 2 * (MAX_UPLOADS + len(OWN_POINTS) + 8)
# In the long run; beside other tests the machine has its own delays.
MAX_TAP_S = 2.0 if is_full() else 20.0
CLOSED_LABELS = {
    "agent": {HONEST, HOSTILE},
    "reason": REASONS,
    "outcome": {"permitted", "refused"},
    "use": {use.value for use in Use} | {"none"},
    "result": set(get_args(Verdict)),
}


@pytest.fixture
def bench(tmp_path, dice) -> Iterator[FuzzCity]:
    with fuzz_city(tmp_path, dice) as city:
        yield city


async def test_a_hostile_agent_hurts_nobody_but_itself(bench, dice, scale, report, logs):
    """Whatever an enrolled agent sends, in any order: few tasks, conversations and labels; the door beside works."""
    sessions, messages, taps = scale.of(6, 250), 0, 0
    door, supplies = HonestDoor(bench), stock(dice)
    await door.open()
    for number in range(sessions):
        wire, epoch = await bench.join(HOSTILE)
        agent, tapping = HostileAgent(wire, epoch, dice, supplies), asyncio.ensure_future(door.tap())
        # One of every kind in turn is sent far more often than the others.
        favourite = list(supplies)[number % len(supplies)]
        for _ in range(scale.of(150, 400)):
            kind = favourite if dice.random() < 0.6 else None
            wire.send(agent.message(kind))
            messages += 1
            await asyncio.sleep(0 if dice.random() < 0.9 else 0.001)
            _holds_its_bounds(bench)
            if wire.closed:
                break
        assert (await tapping).permit
        taps += 1
        await wire.end()
    await bench.recorded()
    assert (await door.tap()).permit
    await door.close()
    for name, allowed in CLOSED_LABELS.items():
        assert label_values(bench.metrics.registry, name) <= allowed
    assert not {"tap.failed", "agent.upload_failed", "tap.misconfigured"} & set(logs.counts)
    report("messages of a hostile agent", sessions=sessions, messages=messages, honest_taps=taps, lines=logs.lines)


def _holds_its_bounds(bench: FuzzCity) -> None:
    session = bench.session(HOSTILE)
    if session is not None:
        assert len(session._conversations) <= len(OWN_POINTS)
        assert len(session._running) <= len(OWN_POINTS)
        assert len(session._uploads) <= MAX_UPLOADS
        assert len(session._presented._seen) <= 2 * 1_024 + 1
    assert len(bench.live._recent) <= KEPT
    assert bench.recorder.depth <= MAX_WAITING
    assert len(asyncio.all_tasks()) <= MAX_TASKS


async def test_accounts_without_sense_keep_the_centre_from_nothing(bench, scale, logs):
    """An agent that accounts for more events than there are numbers: others are served, and a restart still works."""
    del logs
    door = HonestDoor(bench)
    await door.open()
    wire, epoch = await bench.join(HOSTILE)
    ranges = tuple((first, 2**53 - 1) for first in range(1, 65))
    for number in range(scale.of(2, 20)):
        epochs = range(epoch - 32 * (number + 1), epoch - 32 * number)
        wire.send(
            EventsAccount(epochs=tuple(EpochAccount(epoch=one, through=2**53 - 1, lost=ranges) for one in epochs))
        )
        with contextlib.suppress(CardServiceError):
            await bench.session(HOSTILE)._comparison
    await wire.end()
    assert (await door.tap()).permit
    await door.close()
    bench.restart()
    await door.open()
    assert (await door.tap()).permit
    await door.close()
    with read(bench.recorder.engine) as connection:
        (gaps,) = connection.execute(sa.select(sa.func.count()).select_from(event_gap)).one()
    assert gaps <= MAX_GAPS


async def test_an_agent_that_floods_leaves_no_flood_of_log_lines(bench, logs):
    """Three thousand messages that make no sense here leave a hundred lines at most."""
    wire, epoch = await bench.join(HOSTILE)
    before = logs.lines
    foreign = EventId(agent=HONEST, epoch=epoch, sequence=1)
    wire.send(*[CardPresent(event=foreign, point=OWN_POINTS[0], atr="3b80", at_ms=0)] * 3_000)
    await wire.end()
    assert logs.lines - before <= 100


async def test_whoever_reaches_the_port_cannot_keep_agents_from_it(bench, dice, scale, report, logs):
    """Broken HTTP, broken frames, floods, deafness, messages without end: meanwhile an honest agent is served.

    Its tap takes less than two seconds each time: nobody else's connection waits for an attack.
    """
    with listening(bench) as port:
        honest = ScriptedAgent(port.url, HONEST, bench.keys[HONEST])
        honest.epoch = bench.next_epoch()
        async with honest:
            for _ in range(scale.of(1, 20)):
                for intrusion in dice.sample(INTRUSIONS, len(INTRUSIONS)):
                    attack = asyncio.ensure_future(port.attack(intrusion))
                    await asyncio.sleep(ATTACK_S / 2)
                    began = time.monotonic()
                    assert (await honest.tap(desfire_card(), DOOR.code)).permit
                    assert time.monotonic() - began < MAX_TAP_S, f"a tap waited for {intrusion.__name__}"
                    await attack
            await asyncio.to_thread(wait_until, lambda: len(port.server.server_state.connections) <= 1)
    assert not {"tap.failed", "agent.upload_failed"} & set(logs.counts)
    report("attacks on the agents' port", attacks=port.carried_out, log_lines=logs.lines)


async def test_fragments_from_strangers_keep_nobody_waiting(bench, logs):
    """Fifty connections without a hello send messages in thousands of pieces: a tap still takes no two seconds."""
    del logs
    with listening(bench) as port:
        honest = ScriptedAgent(port.url, HONEST, bench.keys[HONEST])
        honest.epoch = bench.next_epoch()
        async with honest, port.fragments(50):
            began = time.monotonic()
            assert (await honest.tap(desfire_card(), DOOR.code)).permit
            assert time.monotonic() - began < MAX_TAP_S
