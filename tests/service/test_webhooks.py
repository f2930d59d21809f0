# SPDX-License-Identifier: EUPL-1.2
"""Events reach a real receiver once they are known, whatever fails in between; and nobody else."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from service.conftest import Place
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock
from support.command import python_environment
from support.waiting import wait_until
from support.webhook_receiver import Receiver, receiver

from cardservice.cards.rules import CardState, desfire_credential
from cardservice.cards.service import NewCard, NewState, change_state, register
from cardservice.database import Databases, read, write
from cardservice.errors import Conflict, NotFound
from cardservice.webhooks import store
from cardservice.webhooks.courier import Carriage, Courier, deliver_next
from cardservice.webhooks.outgoing import Sender
from cardservice.webhooks.ports import Condition
from cardservice.webhooks.rules import EVENT_TYPES, RETRY_S, TargetRules
from cardservice.webhooks.service import MAX_WEBHOOKS, SecretBox, Webhooks
from cardservice.webhooks.sources import GRACE_MS, Sources

LOOPBACK = TargetRules((ip_network("127.0.0.0/8"),), plain_http=True)
BOX = SecretBox(lambda: b"k" * 32)
ALL = sorted(EVENT_TYPES)


@dataclass
class DoorsOfATest:
    """The doors' stream, as the record would give it."""

    lines: list[SimpleNamespace] = field(default_factory=list)

    def happened(self, kind: str, point: str | None = "tor", **facts: str) -> None:
        cursor = f"7.{len(self.lines) + 1}"
        self.lines.append(SimpleNamespace(cursor=cursor, at_ms=1_000, kind=kind, point=point, facts=facts))

    def __call__(self, after_cursor: str | None, limit: int) -> list[SimpleNamespace]:
        if after_cursor is None:
            return self.lines[-limit:]
        number = int(after_cursor.partition(".")[2])
        return self.lines[number : number + limit]


@dataclass
class World:
    """One state store with what feeds webhooks and sends them; `step` does once what the threads do all the time."""

    databases: Databases
    clock: FakeClock
    post: Sender
    doors: DoorsOfATest = field(default_factory=DoorsOfATest)
    lasting: set[Condition] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.webhooks = Webhooks(self.databases.state, self.clock, BOX, LOOPBACK)
        self.sources = Sources(self.databases.state, self.doors, lambda: set(self.lasting), self.clock)
        self.carriage = Carriage(self.databases.state, BOX, self.post, self.clock, lambda: 0.5)

    def number(self, name: str = "desk") -> int:
        with read(self.databases.state) as connection:
            return store.find(connection, name).id

    def step(self, name: str = "desk") -> None:
        self.sources.collect()
        while deliver_next(self.carriage, self.number(name)):
            pass

    def view(self, name: str = "desk"):
        return next(one for one in self.webhooks.list() if one.name == name)


@pytest.fixture
def world(databases: Databases, clock: FakeClock) -> World:
    return World(databases, clock, Sender(LOOPBACK))


@pytest.fixture
def desk() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def test_what_happens_is_told_signed_and_without_a_name(world: World, desk: Receiver) -> None:
    """Doors, cards, directories and agents; not what was before, and never a tap or who it was."""
    tell(open_copy(world.databases.state, world.clock), someone("anna"))
    row = row_numbers(world.databases.state)["anna"]
    (card,) = register(world.databases.state, [NewCard(1, row, (desfire_credential("door", b"\x07" * 12),))])
    world.doors.happened("alarm_begun", alarm="forced")
    secret = world.webhooks.add("desk", desk.url, ALL)
    world.step()
    assert desk.received == []
    world.doors.happened("tap", reason="granted", permit="yes")
    world.doors.happened("alarm_begun", alarm="held_open", secret="anna")
    world.doors.happened("lockdown_begun", None, zone="rathaus")
    change_state(world.databases.state, card, NewState(CardState.REVOKED, "lost", None), world.clock.now_ms())
    world.lasting = {Condition("directory.stale", "city"), Condition("directory.held", "city")}
    world.step()
    told = [json.loads(one.body) for one in desk.received]
    assert [(one["type"], one["data"]) for one in told] == [
        ("door.alarm_begun", {"point": "tor", "alarm": "held_open"}),
        ("door.lockdown_begun", {"zone": "rathaus"}),
        ("card.changed", {"card": card, "state": "revoked", "suspended_until_ms": None}),
        ("directory.held", {"directory": "city"}),
        ("directory.stale", {"directory": "city"}),
    ]
    for one in desk.received:
        assert one.signed_with(secret)
        assert (one.path, one.headers["content-type"]) == ("/hooks?of=the+city", "application/json")
        assert "." not in one.message
        assert b"anna" not in one.body
    world.lasting = set()
    world.step()
    assert [json.loads(one.body)["type"] for one in desk.received[5:]] == ["directory.decided", "directory.current"]
    assert len(set(desk.messages)) == 7


def test_each_is_told_what_it_asked_for(world: World, desk: Receiver) -> None:
    """One receiver wants doors, another cards; who is disabled or removed is told nothing."""
    with receiver() as other:
        world.webhooks.add("desk", desk.url, ["door.alarm_ended"])
        world.webhooks.add("other", other.url, ["card.changed"])
        world.step()
        world.doors.happened("alarm_ended", alarm="tamper")
        world.step()
        world.step("other")
        assert (len(desk.received), len(other.received)) == (1, 0)
        world.webhooks.disable("desk")
        world.doors.happened("alarm_ended", alarm="tamper")
        world.step()
        world.webhooks.enable("desk")
        world.step()
        assert len(desk.received) == 1
        world.webhooks.remove("desk")
        with pytest.raises(NotFound):
            world.webhooks.remove("desk")
        world.webhooks.remove("other")
    world.sources.collect()
    with read(world.databases.state) as connection:
        assert store.cursors(connection) == {}


def test_an_agent_is_away_only_after_a_while_and_its_end_survives_a_restart(world: World, desk: Receiver) -> None:
    world.webhooks.add("desk", desk.url, ALL)
    world.step()
    world.lasting = {Condition("agent.away", "rathaus")}
    world.step()
    world.clock.pass_ms(GRACE_MS - 1)
    world.step()
    assert desk.received == []
    world.clock.pass_ms(1)
    world.step()
    world.step()
    again = World(world.databases, world.clock, world.post)
    again.step()
    assert [json.loads(one.body)["type"] for one in desk.received] == ["agent.away", "agent.back"]


def test_a_failure_is_tried_again_later_over_restarts_in_order(world: World, desk: Receiver) -> None:
    """Not before its time; then the same event with the same name and a new signature; `Retry-After` is heeded."""
    secret = world.webhooks.add("desk", desk.url, ALL)
    world.step()
    desk.answer = lambda _: (503, {"Retry-After": "120"})
    for kind in ("alarm_begun", "alarm_ended"):
        world.doors.happened(kind, alarm="forced")
    world.step()
    assert len(desk.received) == 1
    assert world.view().trouble == "it answered with status 503"
    world.clock.pass_ms(119_999)
    world.step()
    assert len(desk.received) == 1
    world.clock.pass_ms(1)
    desk.answer = lambda _: (200, {})
    again = World(world.databases, world.clock, world.post, world.doors)
    again.step()
    assert desk.messages == ["door-7-1", "door-7-1", "door-7-2"]
    assert all(one.signed_with(secret) for one in desk.received)
    assert desk.received[0].headers["webhook-timestamp"] != desk.received[1].headers["webhook-timestamp"]
    view = again.view()
    assert (view.waiting, view.failures, view.trouble, view.delivered_ms) == (0, 0, None, world.clock.now_ms())


def test_who_takes_nothing_for_three_days_is_given_up_and_said_to_be(world: World, desk: Receiver) -> None:
    """With a sentence for operations; enabled again, what waits is sent."""
    world.webhooks.add("desk", desk.url, ALL)
    world.step()
    desk.answer = lambda _: (500, {})
    world.doors.happened("alarm_begun", alarm="forced")
    for _ in range(len(RETRY_S) + 1):
        world.step()
        world.clock.pass_ms(2 * 86_400_000)
    assert len(desk.received) == len(RETRY_S) + 1
    view = world.view()
    assert (view.enabled, view.waiting) == (False, 1)
    assert view.disabled_why == "it took nothing in 10 attempts: it answered with status 500"
    courier = Courier(world.sources, world.carriage, world.post.cut)
    courier._hand_out()
    (sentence,) = courier.sentences
    assert "cardservice webhooks enable desk" in sentence
    desk.answer = lambda _: (204, {})
    world.webhooks.enable("desk")
    world.step()
    assert world.view().waiting == 0
    courier._hand_out()
    assert courier.sentences == ()


def test_one_event_that_is_never_taken_does_not_stop_the_others(world: World, desk: Receiver) -> None:
    world.webhooks.add("desk", desk.url, ALL)
    world.step()
    desk.answer = lambda one: (400 if one.message == "door-7-1" else 204, {})
    for _ in range(3):
        world.doors.happened("alarm_begun", alarm="forced")
    for _ in range(len(RETRY_S) + 2):
        world.step()
        world.clock.pass_ms(2 * 86_400_000)
    view = world.view()
    assert (view.enabled, view.waiting, view.lost) == (True, 0, 1)
    assert [one for one in desk.messages if one != "door-7-1"] == ["door-7-2", "door-7-3"]


def test_a_receiver_that_is_gone_or_far_behind_is_asked_no_more(world: World, desk: Receiver) -> None:
    """410, and more events than are kept for anybody."""
    world.webhooks.add("desk", desk.url, ALL)
    world.step()
    desk.answer = lambda _: (410, {})
    world.webhooks.test("desk")
    world.step()
    assert "410" in world.view().disabled_why
    with pytest.raises(Conflict, match="disabled"):
        world.webhooks.test("desk")
    world.webhooks.enable("desk")
    desk.answer = lambda _: (500, {})
    few = Sources(world.databases.state, world.doors, set, world.clock, most_waiting=4)
    for _ in range(3):
        world.doors.happened("alarm_begun", alarm="forced")
    few.collect()
    assert (world.view().enabled, world.view().waiting) == (True, 4)
    world.doors.happened("alarm_begun", alarm="forced")
    few.collect()
    assert (world.view().waiting, world.view().disabled_why) == (4, "4 events wait for it already")


def test_a_new_secret_counts_at_once_and_the_old_one_for_a_day_more(world: World, desk: Receiver) -> None:
    old = world.webhooks.add("desk", desk.url, ALL)
    new = world.webhooks.rotate("desk")
    for _ in range(2):
        world.webhooks.test("desk")
        world.step()
        world.clock.pass_ms(86_400_000)
    first, second = desk.received
    assert (first.signed_with(new), first.signed_with(old)) == (True, True)
    assert (second.signed_with(new), second.signed_with(old)) == (True, False)


def test_a_secret_lies_sealed_and_of_another_key_store_it_is_no_secret(world: World, desk: Receiver) -> None:
    secret = world.webhooks.add("desk", desk.url, ALL)
    with read(world.databases.state) as connection:
        row = store.find(connection, "desk")
    assert secret.encode()[6:] not in bytes(row.secret)
    assert BOX.seal("desk", b"x" * 32) != BOX.seal("desk", b"x" * 32)
    world.webhooks.test("desk")
    foreign = Carriage(world.databases.state, SecretBox(lambda: b"f" * 32), world.post, world.clock)
    assert not deliver_next(foreign, world.number())
    assert (desk.connections, "rotate it" in world.view().trouble) == (0, True)


def test_what_cannot_be_a_webhook_is_refused(world: World) -> None:
    for name, url, events in (
        ("Desk", "https://a.example/", ALL),
        ("desk", "ftp://a.example/", ALL),
        ("desk", "https://a.example/", ["door.tap"]),
        ("desk", "https://a.example/", []),
    ):
        with pytest.raises(Conflict):
            world.webhooks.add(name, url, events)
    for number in range(MAX_WEBHOOKS):
        world.webhooks.add(f"w{number}", "https://a.example/", ALL)
    for name in ("w0", "one-more"):
        with pytest.raises(Conflict, match="already"):
            world.webhooks.add(name, "https://a.example/", ALL)


def test_who_dies_between_delivery_and_mark_sends_it_again_under_the_same_name(
    world: World, place: Place, desk: Receiver
) -> None:
    """A sender is killed at the moment the receiver has the event; the next one sends it, and only it, again."""
    world.webhooks.add("desk", desk.url, ALL)
    world.webhooks.test("desk")
    sender = start_sender(place.url, world.number())
    killed = threading.Event()

    def answer(_: object) -> tuple[int, dict[str, str]]:
        if not killed.is_set():
            sender.send_signal(signal.SIGKILL)
            sender.wait(15)
            killed.set()
        return 204, {}

    desk.answer = answer
    wait_until(killed.is_set)
    assert (world.view().waiting, len(desk.received)) == (1, 1)
    world.clock.wall_ms = 2**42
    world.step()
    assert desk.messages == [desk.messages[0]] * 2
    assert world.view().waiting == 0


def start_sender(url: str, number: int) -> "subprocess.Popen[bytes]":
    program = Path(__file__).with_name("webhook_sender.py")
    return subprocess.Popen([sys.executable, str(program), url, str(number)], env=python_environment())


def test_a_source_that_was_read_and_not_stored_is_read_again(world: World, desk: Receiver) -> None:
    """Cursor and events are one transaction: half of it is none of it; and an event queued twice is one."""
    world.webhooks.add("desk", desk.url, ALL)
    world.step()
    world.doors.happened("alarm_begun", alarm="forced")

    def breaks(_connection, _cursor, statement, *_: object) -> None:
        if "webhook_cursor" in statement and not statement.startswith("SELECT"):
            raise RuntimeError("the machine stops here")

    sa.event.listen(world.databases.state, "before_cursor_execute", breaks)
    with pytest.raises(RuntimeError):
        world.sources.collect()
    sa.event.remove(world.databases.state, "before_cursor_execute", breaks)
    assert world.view().waiting == 0
    world.step()
    with write(world.databases.state) as connection:
        store.move_cursor(connection, "doors", "7.0")
    world.sources.collect()
    world.sources.collect()
    world.step()
    assert desk.messages == ["door-7-1"] * 2


def test_the_threads_do_it_by_themselves_and_end_in_time(world: World, desk: Receiver) -> None:
    """A receiver that hangs holds up neither another receiver nor the end of the service."""
    let_go = threading.Event()
    with receiver() as slow:
        slow.answer = lambda _: (204 if let_go.wait(30) else 500, {})
        world.webhooks.add("desk", desk.url, ALL)
        world.webhooks.add("slow", slow.url, ALL)
        courier = Courier(world.sources, world.carriage, world.post.cut, look_s=0.02)
        courier.start()
        try:
            world.webhooks.test("slow")
            wait_until(lambda: slow.received)
            for count in (1, 2):
                world.webhooks.test("desk")
                wait_until(lambda count=count: len(desk.received) == count)
            assert courier.alive
        finally:
            courier.stop()
            let_go.set()
        assert not courier.alive
        assert world.view("slow").waiting == 1
