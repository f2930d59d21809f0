# SPDX-License-Identifier: EUPL-1.2
"""`cardservice demo --script first-tap`: the first path from chip to strike, played without a browser.

An entitled card opens, a card of a person without the group does not, and after the first person was disabled in the
directory their card no longer does.
"""

import contextlib
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from cardservice.demo.city import DemoCity

TAP_TIMEOUT_S: Final = 15.0
POINT: Final = "bauamt.aussen"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a step must end with."""

    permit: bool
    reason: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """One tap: what was decided, what the strike did, and what each stage took (microseconds)."""

    step: str
    card: str
    point: str
    expected: Expected
    permit: bool | None
    reason: str | None
    level: str | None
    text: Mapping[str, str] | None
    strike: str | None
    locked_again: bool
    outcome: str | None
    ok: bool
    stages_us: Mapping[str, int] = field(default_factory=dict)
    inserted_to_decision_ms: float | None = None


class TapWatch:
    """Collects from the live feed what becomes of one tap at one point. Use it as a context."""

    def __init__(self, city: DemoCity, point: str) -> None:
        self._events: queue.Queue[Mapping[str, Any]] = queue.Queue(1_000)
        self._city = city
        self._point = point

    def __enter__(self) -> Self:
        self._end = self._city.live.listen(self._take)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _take(self, event: Mapping[str, Any]) -> None:
        if event.get("point") == self._point:
            # More than anybody will look at: the feed goes on.
            with contextlib.suppress(queue.Full):
                self._events.put_nowait(event)

    def _until(self, wanted: Callable[[Mapping[str, Any]], bool], timeout_s: float) -> Iterator[Mapping[str, Any]]:
        """Yield events up to and including the first wanted one, or until the time is over."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left_s)
            except queue.Empty:
                return
            yield event
            if wanted(event):
                return

    def outcome(self, timeout_s: float = TAP_TIMEOUT_S) -> dict[str, Any]:
        """Return what was seen until the agent told what came of the tap, or the time was over."""
        seen: dict[str, Any] = {"stages_us": {}, "outcome": None}
        for event in self._until(lambda event: event["kind"] == "event", timeout_s):
            if event["kind"] == "tap":
                seen |= {name: event[name] for name in ("permit", "reason", "level", "text", "answer")}
                seen["decided_at"] = time.monotonic()
                seen["stages_us"] |= {f"centre_{name}": took for name, took in event["stages_us"].items()}
            elif event["kind"] == "output":
                seen.setdefault("strike", event["state"])
            elif event["kind"] == "event":
                seen["outcome"] = event["outcome"]
                seen["stages_us"] |= {f"agent_{name}": took for name, took in event["stages_us"].items()}
        return seen

    def locked_again(self, timeout_s: float = TAP_TIMEOUT_S) -> bool:
        """Wait until the strike has locked again; tell whether it did."""
        for event in self._until(lambda event: event.get("state") == "locked", timeout_s):
            if event.get("state") == "locked":
                return True
        return False


def tap(city: DemoCity, card: str, point: str, watch: TapWatch) -> dict[str, Any]:
    """Hold `card` to `point` until something came of it; return what was seen."""
    started = time.monotonic()
    city.insert(card, point)
    try:
        seen = watch.outcome()
    finally:
        city.eject(point)
    decided_at = seen.pop("decided_at", None)
    seen["inserted_to_decision_ms"] = None if decided_at is None else round((decided_at - started) * 1000, 2)
    return seen


def first_tap(city: DemoCity) -> dict[str, Any]:
    """Play the script in a started city; return its document, `ok` True only if all went as it should."""
    steps = [
        _step(city, "an entitled card opens", "anna", Expected(permit=True, reason="granted")),
        _step(city, "a card without the group is refused", "sabine", Expected(permit=False, reason="no_grant")),
    ]
    revocation = _revoke(city, "schmidt")
    steps.append(
        _step(city, "after being disabled in the directory", "anna", Expected(permit=False, reason="person_disabled"))
    )
    return {
        "script": "first-tap",
        "ok": all(step.ok for step in steps) and revocation["published_ms"] is not None,
        "pcsc": city.pcsc,
        "readers": city.pcsc_note,
        "steps": [asdict(step) for step in steps],
        "revocation": revocation,
    }


def _step(city: DemoCity, name: str, card: str, expected: Expected) -> StepResult:
    with TapWatch(city, POINT) as watch:
        seen = tap(city, card, POINT, watch)
        locked_again = watch.locked_again() if seen.get("permit") else True
    as_expected = (seen.get("permit"), seen.get("reason")) == (expected.permit, expected.reason)
    done = (seen.get("strike"), seen["outcome"]) == (("released", "acted") if expected.permit else ("locked", "shown"))
    return StepResult(
        step=name,
        card=card,
        point=POINT,
        expected=expected,
        permit=seen.get("permit"),
        reason=seen.get("reason"),
        level=seen.get("level"),
        text=seen.get("text"),
        strike=seen.get("strike"),
        locked_again=locked_again,
        outcome=seen["outcome"],
        ok=as_expected and done and locked_again,
        stages_us=seen["stages_us"],
        inserted_to_decision_ms=seen["inserted_to_decision_ms"],
    )


def _revoke(city: DemoCity, login: str) -> dict[str, Any]:
    """Disable a person in the directory; measure until the service's snapshot shows it."""
    before = city.health()["snapshot_revision"]
    started = time.monotonic()
    city.set_disabled(login, disabled=True)
    acknowledged = time.monotonic()
    deadline = acknowledged + 5
    published_ms = None
    while published_ms is None and time.monotonic() < deadline:
        if city.health().get("snapshot_revision", before) > before:
            published_ms = round((time.monotonic() - started) * 1000, 2)
    return {
        "person": "disabled in the directory",
        "directory_took_ms": round((acknowledged - started) * 1000, 2),
        "published_ms": published_ms,
    }
