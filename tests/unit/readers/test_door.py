# SPDX-License-Identifier: EUPL-1.2
"""A door's point at the agent: it pulses, listens to its contacts, and tells the centre what changed, now or later."""

import asyncio
import threading
from functools import partial

import pytest
from pydantic import BaseModel
from support.waiting import LIMIT_S, wait_until
from unit.readers.fakes import FakeClock, NotingDoor

from cardservice.agents.messages import DecisionMessage, DoorState, EventId, PointCommand, PointSetup, Sentence
from cardservice.doors import rules
from cardservice.doors.ports import OutputFault
from cardservice.doors.rules import EXIT_MS, GRACE_MS
from integrations.simulated_io import SimulatedDoor
from readers import door
from readers.clock import SystemClock
from readers.door import DOUBTFUL_MS, MAX_UNTOLD, DoorPoint

OPTIONS = {"contact": True, "rex": True, "held_open_ms": 10_000}
COMMAND = PointCommand(id="aa", point="door", action="open_once", open_ms=4_000, by_ms=1)
DECISION = DecisionMessage(
    event=EventId(agent="rathaus", epoch=1, sequence=1),
    decision="ab",
    permit=True,
    reason="granted",
    level="card",
    text=Sentence(de="Bitte", en="Please"),
    open_ms=3_000,
    receipt="cd",
)


def setup(*, locked_down=False, **options):
    return PointSetup(point="door", reader="*", use="door", options=options, locked_down=locked_down)


class Place:
    """A door of the simulation, its point, and a centre that may be away."""

    def __init__(self, clock=None, **options) -> None:
        self.clock = clock or FakeClock()
        self.told: list[DoorState] = []
        self.away = False
        self._news = asyncio.Event()
        self.device = SimulatedDoor("door", lambda *_: None, clock_us=self.clock.monotonic_us, own_timer=False)
        make = partial(DoorPoint, tell=self.tell, clock=self.clock)
        self.point = make(setup(**(OPTIONS | options)), self.device)

    def tell(self, message: BaseModel) -> bool:
        if self.away:
            return False
        assert isinstance(message, DoorState)
        self.told.append(message)
        self._news.set()
        return True

    async def said(self, contact: str, alarm: str = "none") -> None:
        """Wait until the newest word is this one."""
        async with asyncio.timeout(LIMIT_S):
            while not self.told or (self.told[-1].contact, self.told[-1].alarm) != (contact, alarm):
                self._news.clear()
                await self._news.wait()

    def pass_ms(self, ms: int) -> None:
        self.clock.advance_ms(ms)
        self.device.advance()


@pytest.fixture
async def place():
    made = Place()
    await made.said("closed")
    yield made
    made.point.close()


async def heard(place: Place) -> None:
    """Let what the contacts said reach the point: it is queued behind this."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_soon_threadsafe(passed.set)
    await passed.wait()


async def test_a_permit_and_the_desk_open_for_their_time(place):
    await place.point.act(DECISION)
    assert place.device.state() == "released"
    place.pass_ms(3_000)
    assert place.device.state() == "locked"
    place.point.command(COMMAND)
    place.pass_ms(3_999)
    assert place.device.state() == "released"
    place.pass_ms(1)
    assert place.device.state() == "locked"


async def test_who_goes_through_alarms_nobody(place):
    await place.point.act(DECISION)
    assert place.device.open_leaf()
    await place.said("open")
    place.device.close_leaf()
    await place.said("closed")
    assert {state.alarm for state in place.told} == {"none"}


async def test_a_door_opened_by_force_alarms_until_it_is_closed(place):
    assert not place.device.open_leaf()
    place.device.open_leaf(by_force=True)
    await place.said("open", "forced")
    place.device.close_leaf()
    await place.said("closed")


async def test_the_way_out_is_released_and_alarms_nobody(place):
    place.device.press_exit()
    await heard(place)
    assert place.device.state() == "released"
    assert place.device.open_leaf()
    await place.said("open")
    place.device.press_exit(pressed=False)
    place.pass_ms(EXIT_MS)
    assert place.device.state() == "locked"
    assert {state.alarm for state in place.told} == {"none"}


async def test_a_door_left_open_alarms_by_itself_once_it_is_too_long():
    """On the machine's own clock: nobody moves anything between the opening and the alarm."""
    place = Place(clock=SystemClock(), held_open_ms=1_000)
    await place.said("closed")
    place.point.command(COMMAND)
    place.device.open_leaf()
    await place.said("open")
    begun_ms = place.told[-1].at_ms
    await place.said("open", "held_open")
    assert 900 <= place.told[-1].at_ms - begun_ms < 5_000
    place.device.close_leaf()
    await place.said("closed")
    place.point.close()


async def test_tampering_is_told(place):
    place.device.tamper()
    await place.said("closed", "tamper")
    place.device.tamper(tampered=False)
    await place.said("closed")


async def test_lockdown_ends_a_pulse_and_refuses_the_next(place):
    """A decision that was under way meanwhile opens nothing either; the way out works as ever."""
    await place.point.act(DECISION)
    place.point.set_up(setup(**OPTIONS, locked_down=True))
    assert place.device.state() == "locked"
    with pytest.raises(OutputFault, match="locked down"):
        place.point.command(COMMAND)
    with pytest.raises(OutputFault, match="locked down"):
        await place.point.act(DECISION)
    place.device.press_exit()
    await heard(place)
    assert place.device.state() == "released"
    place.point.set_up(setup(**OPTIONS))
    place.point.command(COMMAND)


async def test_lockdown_leaves_the_pulse_of_the_way_out_until_its_end(monkeypatch):
    """A card's longer pulse ends with the way out's own; nobody on the way out finds the door shut before."""
    for module in (rules, door):
        monkeypatch.setattr(module, "EXIT_MS", 400)
    place = Place(clock=SystemClock())
    await place.said("closed")
    place.device.press_exit()
    await heard(place)
    place.point.command(COMMAND.model_copy(update={"open_ms": 60_000}))
    place.point.set_up(setup(**OPTIONS, locked_down=True))
    assert place.device.state() == "released"
    await asyncio.to_thread(wait_until, lambda: place.device.state() == "locked")
    place.point.close()


async def test_an_escape_route_is_not_shut_by_a_lockdown(place):
    place.point.set_up(setup(**OPTIONS, escape_route=True, locked_down=True))
    place.point.command(COMMAND)
    assert place.device.state() == "released"


async def test_what_happened_while_the_centre_was_away_is_told_in_order(place):
    place.away = True
    place.device.open_leaf(by_force=True)
    await heard(place)
    place.device.close_leaf()
    await heard(place)
    begun = len(place.told)
    place.away = False
    place.point.centre(connected=True)
    assert [(state.contact, state.alarm) for state in place.told[begun:]] == [("open", "forced"), ("closed", "none")]


async def test_what_was_told_into_a_connection_that_was_gone_is_told_again_first(place):
    """Of the last minute before the end was noticed, however long the centre then stays away; nothing older."""
    place.pass_ms(DOUBTFUL_MS)
    place.clock.advance_ms(1)
    place.device.open_leaf(by_force=True)
    await heard(place)
    place.device.close_leaf()
    await heard(place)
    place.point.centre(connected=False)
    place.away = True
    place.pass_ms(10 * DOUBTFUL_MS)
    place.device.tamper()
    await heard(place)
    place.away = False
    for _ in range(2):
        begun = len(place.told)
        place.point.centre(connected=True)
        said = [(state.contact, state.alarm) for state in place.told[begun:]]
        assert said == [("open", "forced"), ("closed", "none"), ("closed", "tamper")]
        place.point.centre(connected=False)


async def test_a_centre_that_comes_back_is_told_how_the_door_is(place):
    """Unchanged, with the moment of the last change: a centre that knew it before sees nothing new."""
    last = place.told[-1]
    place.point.centre(connected=False)
    place.pass_ms(60_000)
    place.point.centre(connected=True)
    assert place.told[-1] == last
    assert len(place.told) > 1


async def test_what_is_kept_for_a_centre_that_stays_away_is_bounded(place):
    place.away = True
    for _ in range(MAX_UNTOLD):
        place.device.open_leaf(by_force=True)
        place.device.close_leaf()
        await heard(place)
    place.away = False
    before = len(place.told)
    place.point.centre(connected=True)
    assert len(place.told) - before == MAX_UNTOLD
    assert place.told[-1].contact == "closed"


async def test_a_door_without_contact_says_nothing():
    """The centre takes that for granted; an alarm that needs no contact is told all the same."""
    place = Place(contact=False)
    place.device.open_leaf(by_force=True)
    await heard(place)
    assert place.told == []
    place.device.tamper()
    await place.said("unknown", "tamper")
    place.point.close()


async def test_an_output_without_sensors_is_a_door_too():
    told = []
    device = NotingDoor()
    point = DoorPoint(setup(), device, tell=lambda state: told.append(state) or True, clock=FakeClock())
    point.command(COMMAND)
    assert device.pulses == [4_000]
    assert told == []


async def test_a_strike_that_does_not_move_is_a_fault_and_grants_nothing(place):
    place.device.break_down("wire cut")
    await place.said("unknown")
    with pytest.raises(OutputFault, match="wire cut"):
        place.point.command(COMMAND)
    place.device.press_exit()
    place.device.repair()
    await place.said("closed")
    place.device.press_exit(pressed=False)


async def test_an_option_of_a_newer_centre_costs_a_door_nothing_else():
    """Strike, contact and the other options are as ever; a lockdown holds."""
    place = Place(colour="green", held_open_ms="soon")
    await place.said("closed")
    place.point.command(COMMAND)
    assert place.device.state() == "released"
    place.pass_ms(4_000)
    await heard(place)
    place.pass_ms(GRACE_MS)
    place.device.open_leaf(by_force=True)
    await place.said("open", "forced")
    place.point.set_up(setup(**OPTIONS, colour="green", locked_down=True))
    with pytest.raises(OutputFault, match="locked down"):
        place.point.command(COMMAND)
    place.point.close()


async def test_contacts_may_move_in_any_thread_and_after_the_end(place):
    def push() -> None:
        for _ in range(100):
            place.device.open_leaf(by_force=True)
            place.device.close_leaf()

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await heard(place)
    assert place.told[-1].contact == "closed"
    place.point.close()
    before = len(place.told)
    place.device.open_leaf(by_force=True)
    await heard(place)
    assert len(place.told) == before
