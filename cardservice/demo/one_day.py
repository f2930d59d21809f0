# SPDX-License-Identifier: EUPL-1.2
"""`cardservice demo --script one-day`: one person's day through all five places, then the card is lost.

Everything is real but the card: readers, agents, service, directory; cupsd and logind where this machine can have them,
and where it cannot the step says why and counts as not played.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from cardservice.cards.rules import CardState
from cardservice.demo.city import DemoCity
from cardservice.demo.processes import DemoError
from cardservice.demo.script import tap
from cardservice.demo.watch import TapWatch
from city import building, people
from city.building import CLOCK, PC, PRINTER, TILL
from integrations.facility import Facility
from integrations.till import Till
from rig.program import wait_for

CARD: Final = "anna"
HOLDER: Final = people.ANNA
SERVER_ROOM: Final = "serverraum.aussen"
FRONT_DOOR: Final = "haupteingang.aussen"
WITHIN_S: Final = 10.0
# Every place a lost card must not pass any more.
PLACES: Final = (FRONT_DOOR, CLOCK, PC, PRINTER, TILL)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what was to happen, what did, and how long it took. `played` is False where a part is not to be had."""

    step: str
    place: str
    ok: bool
    took_ms: float
    seen: Mapping[str, Any] = field(default_factory=dict)
    played: bool = True
    why_not: str = ""


class Day:
    """Plays steps and keeps what came of them."""

    def __init__(self, city: DemoCity) -> None:
        self.city = city
        self.steps: list[Step] = []

    def play(self, name: str, place: str, act: Callable[[], tuple[bool, Mapping[str, Any]]]) -> None:
        """Play one step; whatever goes wrong is part of what is seen."""
        began = time.monotonic()
        try:
            ok, seen = act()
        except Exception as error:  # noqa: BLE001  # a step that breaks has failed, and the next one is played
            ok, seen = False, {"error": f"{type(error).__name__}: {error}"}
        self.steps.append(Step(name, place, ok, round((time.monotonic() - began) * 1_000, 1), seen))

    def leave_out(self, name: str, place: str, why_not: str) -> None:
        """Note a step that cannot be played on this machine."""
        self.steps.append(Step(name, place, ok=True, took_ms=0.0, played=False, why_not=why_not))

    def tap(self, point: str) -> dict[str, Any]:
        """Hold the card to a reader until something came of it."""
        with TapWatch(self.city, point) as watch:
            return tap(self.city, CARD, point, watch)


def one_day(city: DemoCity) -> dict[str, Any]:
    """Play the day in a started city; return its document, `ok` True only if every step went as it should."""
    day = Day(city)
    day.play("the front door opens", FRONT_DOOR, lambda: _permitted(day.tap(FRONT_DOOR), "acted"))
    day.play("working time begins", CLOCK, lambda: _booked(day, "in", "booked_in"))
    _at_the_pc(day)
    day.play("the server room stays shut", SERVER_ROOM, lambda: _refused(day.tap(SERVER_ROOM), "no_grant"))
    _at_the_printer(day)
    day.play("payroll puts 20 euros on the wallet", TILL, lambda: _top_up(city))
    day.play("lunch is paid", TILL, lambda: _pay(day))
    day.play("the desk opens a door once", "bauamt.aussen", lambda: _open_once(city))
    day.play("working time ends", CLOCK, lambda: _booked(day, "out", "booked_out"))
    day.play("the card is reported lost", "desk", lambda: _lose(city))
    for place in PLACES:
        day.play("the lost card is refused", place, partial(_refused_as_lost, day, place))
    return {
        "script": "one-day",
        "ok": all(step.ok for step in day.steps),
        "pcsc": city.pcsc,
        "readers": city.pcsc_note,
        "steps": [asdict(step) for step in day.steps],
    }


def _permitted(seen: Mapping[str, Any], outcome: str) -> tuple[bool, Mapping[str, Any]]:
    return bool(seen.get("permit")) and seen["outcome"] == outcome, seen


def _refused(seen: Mapping[str, Any], reason: str) -> tuple[bool, Mapping[str, Any]]:
    return seen.get("permit") is False and seen.get("reason") == reason and seen["outcome"] == "shown", seen


def _refused_as_lost(day: Day, place: str) -> tuple[bool, Mapping[str, Any]]:
    return _refused(day.tap(place), "card_revoked")


def _booked(day: Day, key: str, code: str) -> tuple[bool, Mapping[str, Any]]:
    # The screen takes no key while it answers the one before.
    _until(lambda: _chosen(day.city, key), "the time clock's screen")
    seen = day.tap(CLOCK)
    return _answer(seen) == code and seen["outcome"] == "acted", seen


def _chosen(city: DemoCity, key: str) -> bool:
    try:
        city.choose(CLOCK, key)
    except DemoError:
        return False
    return True


def _answer(seen: Mapping[str, Any]) -> str | None:
    answer = seen.get("answer")
    return answer["code"] if answer else None


def _at_the_pc(day: Day) -> None:
    around = day.city.around
    if around.why_no_desk:
        day.leave_out("the card unlocks the PC, taking it away locks it", PC, around.why_no_desk)
        return
    day.play("the PC is locked before", PC, lambda: (around.pc_locked() is True, {"locked": around.pc_locked()}))
    day.play("the card unlocks the PC, taking it away locks it", PC, lambda: _unlock_and_leave(day))


def _unlock_and_leave(day: Day) -> tuple[bool, Mapping[str, Any]]:
    city = day.city
    with TapWatch(city, PC) as watch:
        city.insert(CARD, PC)
        try:
            seen = watch.until_over()
            opened_ms = _until(lambda: city.around.pc_locked() is False, "the PC's screen to open")
        finally:
            city.eject(PC)
        locked_ms = _until(lambda: city.around.pc_locked() is True, "the PC's screen to lock")
    seen |= {"screen_opened_ms": opened_ms, "screen_locked_ms": locked_ms}
    return bool(seen.get("permit")) and seen["outcome"] == "acted", seen


def _at_the_printer(day: Day) -> None:
    around = day.city.around
    name = "the document comes out at this printer, and only after the tap"
    if around.why_no_printers:
        day.leave_out(name, PRINTER, around.why_no_printers)
        return
    day.play(name, PRINTER, lambda: _print(day))


def _print(day: Day) -> tuple[bool, Mapping[str, Any]]:
    around = day.city.around
    printer = next(str(place.options["printer"]) for place in building.PLACES if place.code == PRINTER)
    before = dict(around.printed())
    around.print_something(HOLDER.login, "Bescheid")
    held_to_ns = time.time_ns()
    seen = day.tap(PRINTER)
    came_ms = _until(lambda: around.printed()[printer] > before[printer], "the document")
    came_ns = around.arrivals_ns()[printer][before[printer] :]
    held = len(came_ns) == 1 and came_ns[0] > held_to_ns
    others = {name: count for name, count in around.printed().items() if name != printer}
    elsewhere = others != {name: count for name, count in before.items() if name != printer}
    seen |= {"held_until_the_tap": held, "document_ms": came_ms, "came_out_elsewhere": elsewhere}
    return _answer(seen) == "released" and held and not elsewhere, seen


def _top_up(city: DemoCity) -> tuple[bool, Mapping[str, Any]]:
    answer = city.top_up(HOLDER.number, 2_000)
    return answer.get("status") == "booked", answer


def _pay(day: Day) -> tuple[bool, Mapping[str, Any]]:
    """Ask for 9.80 euros at the till, as its software does; the card pays."""
    city = day.city
    paid: list[Any] = []

    def ask(open_file: Path) -> None:
        with Till(city.url, city.token("till-1"), TILL, open_file) as till:
            paid.append(till.pay(980))

    till = threading.Thread(target=ask, args=(city.state_folder / "till-open.json",), name="till", daemon=True)
    till.start()
    _until(lambda: (city.screens.get(TILL) or {}).get("prompt"), "the amount on the terminal's screen")
    seen = day.tap(TILL)
    till.join(WITHIN_S)
    shown = (city.screens.get(TILL) or {}).get("answer") or {}
    seen |= {"till": dict(paid[0].details) if paid else None, "screen": shown.get("facts")}
    right = bool(paid) and paid[0].status == "paid" and (shown.get("facts") or {}).get("balance_cents") == 1_020
    return right and _answer(seen) == "paid", seen


def _open_once(city: DemoCity) -> tuple[bool, Mapping[str, Any]]:
    with Facility(city.url, city.token("facility")) as facility:
        opened = facility.open_once("bauamt.aussen", "one-day script")
        listed = {door["code"] for door in facility.doors()}
    return opened["outcome"] == "opened" and "bauamt.aussen" in listed, {**opened, "doors": len(listed)}


def _lose(city: DemoCity) -> tuple[bool, Mapping[str, Any]]:
    published_ms = city.effect_ms(lambda: city.report(CARD, CardState.REVOKED, "lost"))
    return published_ms is not None, {"published_ms": published_ms}


def _until(what: Callable[[], Any], name: str) -> float:
    """Return after how many milliseconds something became true.

    Raises:
        DemoError: it did not within ten seconds.
    """
    began = time.monotonic()
    if not wait_for(what, WITHIN_S):
        raise DemoError(f"{name} did not come within {WITHIN_S:.0f} s")
    return round((time.monotonic() - began) * 1_000, 1)
