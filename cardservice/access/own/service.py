# SPDX-License-Identifier: EUPL-1.2
"""What somebody's own card does now at the points of one use: read from the live snapshot, in any thread."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.engine import Engine

from cardservice.access.own.rules import is_passing, out_of_use, own_decisions
from cardservice.access.rules import Decision, PointRecord, Reason, Use
from cardservice.access.service import City
from cardservice.access.store import zone_names
from cardservice.cards.store import keys_of_person
from cardservice.clock import Clock
from cardservice.database import read

# Cards in use are asked first; nobody carries as many.
MAX_CREDENTIALS: Final = 32
MAX_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class OwnPoint:
    """A point, the name of its zone, and what a tap there would be answered."""

    point: PointRecord
    zone: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class OwnView:
    """What a person's cards do at `at_ms`.

    `has_card` says that there is one for this use at all, `out_of_use` why none of them works anywhere. `open` are the
    points that permit; `later` those that refuse because of something that passes alone. Both by name
    and together at most `MAX_SHOWN`; `more` is how many were left out.
    """

    at_ms: int
    has_card: bool
    out_of_use: Reason | None
    open: tuple[OwnPoint, ...]
    later: tuple[OwnPoint, ...]
    more: int


class OwnPoints:
    """Answers for whoever asks about themselves; `age_ms_of` says how old what taps of a person are decided by is."""

    def __init__(self, city: City, state: Engine, clock: Clock, age_ms_of: Callable[[int], int]) -> None:
        self._city, self._state, self._clock = city, state, clock
        self._age_ms_of = age_ms_of

    def view(self, use: Use, person: int) -> OwnView:
        """Return what the cards of `person` (a row number) do now at the points of `use`. Blocks.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        asked_ms = self._clock.now_ms()
        with read(self._state) as connection:
            found = keys_of_person(connection, person, use.value, at_ms=asked_ms, limit=MAX_CREDENTIALS)
            zones = zone_names(connection, use.value)
        snapshot, at_ms, age_ms = self._city.snapshot, self._clock.now_ms(), self._age_ms_of(person)
        # A card handed on while this was read is no longer theirs.
        keys = [key for key in found if (record := snapshot.card(key)) is None or record.holder == person]
        opening: list[tuple[PointRecord, Decision]] = []
        passing: list[tuple[PointRecord, Decision]] = []
        for point, decision in own_decisions(snapshot, use, keys, at_ms, age_ms):
            if decision.permit:
                opening.append((point, decision))
            elif is_passing(snapshot, point, decision, keys, at_ms):
                passing.append((point, decision))
        return OwnView(
            at_ms=at_ms,
            has_card=bool(keys),
            out_of_use=out_of_use(snapshot, keys, at_ms),
            open=_named(opening, zones)[:MAX_SHOWN],
            later=_named(passing, zones)[: max(0, MAX_SHOWN - len(opening))],
            more=max(0, len(opening) + len(passing) - MAX_SHOWN),
        )


def _named(answers: Iterable[tuple[PointRecord, Decision]], zones: Mapping[str, str]) -> tuple[OwnPoint, ...]:
    by_name = sorted(answers, key=lambda answer: (answer[0].name.casefold(), answer[0].code))
    return tuple(OwnPoint(point, zones.get(point.code, ""), decision.reason) for point, decision in by_name)
