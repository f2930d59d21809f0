# SPDX-License-Identifier: EUPL-1.2
"""`cardservice demo --script first-tap`: the first path from chip to strike, played without a browser.

An entitled card opens, a card of a person without the group does not, and after the first person was disabled in the
directory their card no longer does.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from cardservice.demo.city import DemoCity
from cardservice.demo.watch import TapWatch
from city import people

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


def tap(city: DemoCity, card: str, point: str, watch: TapWatch) -> dict[str, Any]:
    """Hold `card` to `point` until something came of it; return what was seen."""
    city.insert(card, point)
    try:
        return watch.until_over()
    finally:
        city.eject(point)


def first_tap(city: DemoCity) -> dict[str, Any]:
    """Play the script in a started city; return its document, `ok` True only if all went as it should."""
    steps = [
        _step(city, "an entitled card opens", "anna", Expected(permit=True, reason="granted")),
        _step(city, "a card without the group is refused", "sabine", Expected(permit=False, reason="no_grant")),
    ]
    revocation = _revoke(city, people.ANNA.login)
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
        locked_again = watch.locked_again() if seen["permit"] else True
    as_expected = (seen["permit"], seen["reason"]) == (expected.permit, expected.reason)
    done = (seen["strike"], seen["outcome"]) == (("released", "acted") if expected.permit else ("locked", "shown"))
    return StepResult(
        step=name,
        card=card,
        point=POINT,
        expected=expected,
        permit=seen["permit"],
        reason=seen["reason"],
        level=seen["level"],
        text=seen["text"],
        strike=seen["strike"],
        locked_again=locked_again,
        outcome=seen["outcome"],
        ok=as_expected and done and locked_again,
        stages_us=seen["stages_us"],
        inserted_to_decision_ms=seen["inserted_to_decision_ms"],
    )


def _revoke(city: DemoCity, login: str) -> dict[str, Any]:
    """Disable a person in the directory; measure until the service's snapshot shows it."""
    acknowledged_ms = 0.0

    def disable() -> None:
        nonlocal acknowledged_ms
        began_s = time.monotonic()
        city.set_disabled(login, disabled=True)
        acknowledged_ms = round((time.monotonic() - began_s) * 1_000, 2)

    published_ms = city.effect_ms(disable)
    return {
        "person": "disabled in the directory",
        "directory_took_ms": acknowledged_ms,
        "published_ms": published_ms,
    }
