# SPDX-License-Identifier: EUPL-1.2
"""A point that demands the PIN, the whole way: card at a reader, digits on the page, decided by the centre."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy as sa
from support.command import python_environment
from support.pin_desk import CLOCK, SAFE, VAULT, PinAgent, add_points, cards_pin, pin_tap, pins_of
from support.scripted_agent import CardInHand, ScriptedAgent, response
from support.service import AGENT, ServiceProcess, short_name
from support.waiting import wait_until

from cardservice.agents.messages import CardApdus, CardOpen, CardPresent, DecisionMessage, PinAsk, PinEntered, encode
from cardservice.agents.store import agent_event
from cardservice.cards.pin.rules import LOCKED_MS
from cardservice.database import RECORD, STATE, read
from cardservice.journal.store import journal_entry
from cardservice.timeclock.store import timeclock_booking

# Twelve digits that nothing else here consists of.
PIN, WRONG = "830519274617", "830519274618"
ANNA, MEHMET = "schmidt", "yilmaz"
# The same points once more, of an agent that a test plays.
OTHERS = ".2"


@pytest.fixture(scope="module")
def safe_city(city):
    """The city and its real agent; the points that demand the PIN are this agent's."""
    name = short_name()
    add_points(city.files, name)
    add_points(city.files, AGENT, OTHERS)
    known = city.service.service.city
    wait_until(lambda: {SAFE, CLOCK, VAULT, SAFE + OTHERS} <= known.snapshot.points.keys())
    agent = PinAgent(city.files, name, city.service.agents_url)
    yield city, agent
    agent.stop()


@pytest.fixture
def agent(safe_city) -> Iterator[PinAgent]:
    """The real agent; everybody's wrong PINs are forgotten, and Anna has her PIN."""
    city, agent = safe_city
    with pins_of(city.files) as pins:
        for login in (ANNA, MEHMET):
            pins.reset(pins.find(login).person)
        pins.set(pins.find(ANNA).person, PIN)
    return agent


def lines_of(city, point):
    """The journal's lines about taps at a point, oldest first."""
    city.service.recorded()
    payloads = [json.loads(row.payload) for row in city.files.rows(journal_entry)]
    return [one for one in payloads if one.get("kind") == "tap" and one["point"] == point]


def dump_of(files) -> str:
    """Everything in both stores, however it is stored."""
    found = []
    with files.stores() as databases:
        for engine, metadata in ((databases.state, STATE), (databases.record, RECORD)):
            for table in metadata.sorted_tables:
                with read(engine) as connection:
                    for row in connection.execute(sa.select(table)):
                        values = [v.decode("latin-1") if isinstance(v, bytes) else v for v in row]
                        found.append(repr(values))
    return "\n".join(found)


async def test_card_and_pin_open_the_door(city, agent):
    """Shown on the page, journalled with the level that was proved, and reported by the agent as done."""
    before = len(lines_of(city, SAFE))
    assert await pin_tap(agent, SAFE, PIN) == "Bitte eintreten."
    (line,) = lines_of(city, SAFE)[before:]
    assert (line["permit"], line["reason"], line["level"]) == (True, "granted", "card_pin")
    wait_until(lambda: line["event"] in {f"{r.agent}/{r.epoch}/{r.sequence}" for r in city.files.rows(agent_event)})
    assert PIN not in dump_of(city.files)


async def test_a_clock_books_with_the_pin_and_not_without(city, agent):
    """A booking is the place's own work: it is done once, after the PIN."""
    before = len(city.files.rows(timeclock_booking))
    assert (await pin_tap(agent, CLOCK, None)).startswith("Hier wird die PIN gebraucht.")
    city.service.recorded()
    assert len(city.files.rows(timeclock_booking)) == before
    assert "gekommen um" in await pin_tap(agent, CLOCK, PIN)
    assert len(city.files.rows(timeclock_booking)) == before + 1


async def test_three_wrong_ones_lock_and_the_command_line_unlocks(city, agent):
    """The right PIN is refused while it is locked; nobody else is; `show` says so and never the PIN."""
    with pins_of(city.files) as pins:
        pins.set(pins.find(MEHMET).person, WRONG)
    said = [await pin_tap(agent, SAFE, WRONG) for _ in range(3)]
    assert said == ["Diese PIN stimmt nicht. Eine PIN vergibt die Ausgabestelle."] * 3
    locked = "Zu viele falsche PINs. Bitte in fünf Minuten erneut versuchen."
    assert await pin_tap(agent, SAFE, PIN) == locked
    assert await pin_tap(agent, VAULT, PIN) == locked
    assert await pin_tap(agent, SAFE, WRONG, card="mehmet") == "Bitte eintreten."
    shown = cards_pin(city.files, "show", ANNA)
    assert "3 wrong, locked until" in shown.stdout
    assert cards_pin(city.files, "unlock", ANNA).returncode == 0
    assert await pin_tap(agent, SAFE, PIN) == "Bitte eintreten."


async def test_whoever_has_none_is_asked_and_told_the_same(city, agent):
    assert (await pin_tap(agent, SAFE, WRONG, card="mehmet")).startswith("Diese PIN stimmt nicht.")
    line = lines_of(city, SAFE)[-1]
    assert (line["permit"], line["reason"], line["level"]) == (False, "pin_wrong", "card")


async def test_where_nobody_sees_the_page_nobody_is_asked(city, agent):
    """No browser is open there: the card alone is too little, said at once."""
    before = len(lines_of(city, VAULT))
    agent.hold("anna", VAULT)
    (line,) = await asyncio.to_thread(wait_until, lambda: lines_of(city, VAULT)[before:])
    agent.take(VAULT)
    assert line["reason"] == "level_too_low"


async def test_the_next_card_ends_the_question_of_the_one_before(city, agent):
    """Nobody types a PIN for somebody else's tap: the pad begins anew with the card that came, and its number too."""
    async with agent.page(SAFE) as page:
        agent.hold("mehmet", SAFE)
        first = (await page.until("pin"))["pin"]["ask"]
        agent.take(SAFE)
        agent.hold("anna", SAFE)
        assert (await page.answered()).startswith("Hier wird die PIN gebraucht.")
        second = (await page.until("pin"))["pin"]["ask"]
        agent.take(SAFE)
        assert await page.type(PIN, first) == 409
        assert await page.type(PIN, second) == 204
        assert await page.answered() == "Bitte eintreten."


# ---- what an agent may and may not do with digits


@pytest.fixture
async def hostile(safe_city, agent) -> AsyncIterator[ScriptedAgent]:
    """An agent of its own whose points demand the PIN too; it sends what it likes."""
    city, _ = safe_city
    async with city.agent() as scripted:
        yield scripted


async def asked(agent: ScriptedAgent, present: CardPresent, hand: CardInHand) -> PinAsk:
    """Hold a card to a point with a pad until the PIN is asked for."""
    await agent.send(present)
    while True:
        message = await agent.receive()
        if isinstance(message, PinAsk):
            return message
        if not isinstance(message, CardOpen):
            assert isinstance(message, CardApdus), f"unexpected {message!r}"
            await agent.send(response(message, hand.answers(message.apdus)))


async def begun(agent: ScriptedAgent, city, point: str, card: str = "anna") -> PinAsk:
    return await asked(agent, agent.present(point, pin_pad=True), CardInHand(city.card(card)))


async def test_digits_for_another_tap_open_nothing(city, hostile):
    """Neither under the other tap's event nor with the other question's word, nor again, nor after the answer."""
    first, second = await begun(hostile, city, SAFE + OTHERS), await begun(hostile, city, VAULT + OTHERS, "mehmet")
    await hostile.send(PinEntered(event=second.event, ask=first.ask, pin=PIN))
    await hostile.send(PinEntered(event=first.event, ask=second.ask, pin=PIN))
    await hostile.send(PinEntered(event=second.event, ask=second.ask, pin=PIN))
    refused = await hostile.expect(DecisionMessage)
    assert (refused.event, refused.reason) == (second.event, "pin_wrong"), "Anna's PIN is not Mehmet's"
    await hostile.send(PinEntered(event=first.event, ask=first.ask, pin=PIN))
    granted = await hostile.expect(DecisionMessage)
    assert (granted.event, granted.reason, granted.level) == (first.event, "granted", "card_pin")
    for _ in range(3):
        await hostile.send(PinEntered(event=first.event, ask=first.ask, pin=WRONG))
    with pins_of(city.files) as pins:
        assert pins.view(pins.find(ANNA).person).tries == {}, "what comes after the answer is not even counted"


async def test_two_points_at_once_do_not_get_more_tries(city, hostile):
    """The same card at two points in the same moment, twice: three are compared, the fourth is refused."""
    reasons = []
    for _ in range(2):
        asks = [await begun(hostile, city, point + OTHERS) for point in (SAFE, VAULT)]
        await hostile.send(*(PinEntered(event=ask.event, ask=ask.ask, pin=WRONG) for ask in asks))
        reasons += [(await hostile.expect(DecisionMessage)).reason for _ in asks]
    assert sorted(reasons) == ["pin_locked", *["pin_wrong"] * 3]


async def test_an_agent_that_leaves_takes_its_question_with_it(city, hostile):
    """What it sends for it on its next connection is late: nothing is counted, and the next tap is asked anew."""
    ask = await begun(hostile, city, SAFE + OTHERS)
    await hostile.socket.close()
    await hostile.join()
    await hostile.send(PinEntered(event=ask.event, ask=ask.ask, pin=PIN))
    again = await begun(hostile, city, SAFE + OTHERS)
    assert again.ask != ask.ask
    await hostile.send(PinEntered(event=again.event, ask=again.ask))
    assert (await hostile.expect(DecisionMessage)).reason == "pin_needed"
    with pins_of(city.files) as pins:
        assert pins.view(pins.find(ANNA).person).tries == {}


# ---- restarts, and where digits must never appear


async def test_a_restart_of_the_service_keeps_the_lock(make_city):
    city = make_city()
    add_points(city.files, AGENT)
    wait_until(lambda: SAFE in city.service.service.city.snapshot.points)

    async def tries(*pins: str) -> list[str]:
        found = []
        async with city.agent() as agent:
            for pin in pins:
                ask = await begun(agent, city, SAFE)
                await agent.send(PinEntered(event=ask.event, ask=ask.ask, pin=pin))
                found.append((await agent.expect(DecisionMessage)).reason)
        return found

    with pins_of(city.files) as pins:
        pins.set(pins.find(ANNA).person, PIN)
    assert await tries(WRONG, WRONG) == ["pin_wrong"] * 2
    city.service.stop()
    city.service.start()
    city.service.wait_health(lambda state: state.get("status") == "ready")
    assert await tries(WRONG, PIN) == ["pin_wrong", "pin_locked"]
    assert LOCKED_MS == 300_000


async def test_the_digits_are_nowhere_afterwards(make_city):
    """Right, wrong and malformed ones: in no log at debug level, no store, no outbox, no page, no metric, no error."""
    city = make_city(logging={"level": "debug"})
    name = short_name()
    add_points(city.files, name)
    city.service.stop()
    set_pin = cards_pin(city.files, "set", ANNA, typed=PIN + "\n")
    weak = cards_pin(city.files, "set", MEHMET, typed="123456789012\n")
    again = cards_pin(city.files, "set", ANNA, typed=PIN + "\n")
    assert (set_pin.returncode, weak.returncode, again.returncode) == (0, 65, 65)
    said = [out for done in (set_pin, weak, again) for out in (done.stdout, done.stderr)]
    log = city.files.folder / "service.log"
    with ServiceProcess(city.files, log) as service:
        service.wait_health(lambda state: state.get("status") == "ready")
        agent = PinAgent(city.files, name, service.agents_url)
        try:
            with service.watching() as live:
                assert await pin_tap(agent, SAFE, PIN) == "Bitte eintreten."
                assert (await pin_tap(agent, SAFE, WRONG)).startswith("Diese PIN")
                said.append(b"".join(live.readline() for _ in range(12)).decode())
            async with ScriptedAgent(service.agents_url, AGENT, city.keys[AGENT]) as scripted:
                good = encode(PinEntered(event=scripted.event_id(), ask="00", pin=PIN))
                await scripted.send(good, good.replace(PIN, PIN + "x"), good.replace('"pin"', f'"{WRONG}":1,"pin"'))
                await scripted.send(scripted.present("nowhere"))
            said += [service.get("/metrics")[1], service.get("/health/ready")[1]]
        finally:
            agent.stop()
        service.stop()
    said += [log.read_text(), agent.log.read_text(), dump_of(city.files)]
    said += [file.read_bytes().decode("latin-1") for file in sorted(city.files.folder.rglob("*")) if file.is_file()]
    assert any("message_refused" in text for text in said), "the malformed ones were seen"
    assert len(agent.log.read_text().splitlines()) > 3
    for digits in (PIN, WRONG, "123456789012"):
        assert not [text for text in said if digits in text]


def test_the_command_line_sets_shows_and_resets_but_never_prints_a_pin(make_city):
    """Nothing is asked for as an argument; who is unknown is named, a PIN never."""
    city = make_city()
    reference = cards_pin(city.files, "show", "nobody")
    assert (reference.returncode, "neither a card nor a login" in reference.stderr) == (66, True)
    assert cards_pin(city.files, "show", ANNA).stdout == "no PIN\n"
    assert cards_pin(city.files, "set", ANNA, typed="").returncode == 65
    assert cards_pin(city.files, "set", ANNA, PIN).returncode == 2, "a PIN as an argument would stand in the history"
    assert cards_pin(city.files, "set", ANNA, typed=f"{PIN}\r\nmore\n").returncode == 0
    shown = cards_pin(city.files, "show", ANNA, "--json")
    assert json.loads(shown.stdout)["cards"] == []
    assert json.loads(shown.stdout)["changed_ms"] > 0
    assert PIN not in shown.stdout
    assert cards_pin(city.files, "reset", ANNA).stdout == f"{ANNA} has no PIN any more\n"
    assert cards_pin(city.files, "reset", ANNA).stdout == f"{ANNA} had no PIN\n"


def test_at_a_terminal_a_pin_is_typed_twice_and_not_echoed(make_city):
    city = make_city()
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "cardservice", "cards", "pin", "set", ANNA, "--config", str(city.files.config)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=python_environment(CARDSERVICE_LOGGING__LEVEL="error"),
    ) as program:  # fmt: skip
        assert program.stderr is not None
        for _ in range(2):
            # Its prompt ends with a space, once nothing is echoed any more; after what was typed it ends the line.
            while (said := program.stderr.read(1)) != b" ":
                assert said == b"\n"
            os.write(ours, PIN.encode() + b"\n")
        out, _ = program.communicate(timeout=30)
    os.set_blocking(ours, False)
    with contextlib.suppress(BlockingIOError):
        out += os.read(ours, 1_000)
    os.close(ours)
    os.close(theirs)
    assert program.returncode == 0
    assert f"the PIN of {ANNA} is set" in out.decode()
    assert PIN.encode() not in out
    with pins_of(city.files) as pins:
        assert pins.view(pins.find(ANNA).person).changed_ms is not None
