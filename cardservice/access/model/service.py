# SPDX-License-Identifier: EUPL-1.2
"""Looking at and changing single entries of the access model.

What a file may say, one entry may: the same checks, made by the same code (`access/setup.py`, `access/plan/`). Each
change is one transaction; its line is in the journal before it is committed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access.model import store
from cardservice.access.model.store import RulesWanted, StoredRule
from cardservice.access.model.territory import Territory, require
from cardservice.access.plan.rules import CODED, KINDS, Difference, differences, in_order, require_whole
from cardservice.access.plan.service import Plans
from cardservice.access.plan.store import Replacer, stored_parts
from cardservice.access.review.record import KeepLine
from cardservice.access.review.store import take_turn, under_review
from cardservice.access.rules import Use
from cardservice.access.setup import OptionRule
from cardservice.access.setup_parts import AccessSetup, PointSetup, RuleSetup, ZoneSetup
from cardservice.access.store import MAX_ZONE_DEPTH
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, NotFound
from cardservice.journal.rules import Scalar
from cardservice.web.limits import request_id
from cardservice.web.lists import MAX_PAGE, first_that_fit
from cardservice.web.once import Asked, Once
from cardservice.web.reach import Reach

# Refuses a change that does not rest on what is there now (None: nothing is).
Check = Callable[[Any | None], None]


@dataclass(frozen=True, slots=True)
class By:
    """Who asks: their name in the record, and how far their right goes."""

    name: str
    reaches: tuple[Reach, ...]


@dataclass(frozen=True, slots=True)
class NewTimes:
    """The hours and bounds that a grant or block is to have."""

    schedule: str | None
    valid_from_ms: int | None
    valid_until_ms: int | None


@dataclass(frozen=True, slots=True)
class ModelServices:
    """What the model uses; `keep` writes to the journal, `publish` has the next tap see a change."""

    state: Engine
    clock: Clock
    option_rules: Mapping[Use, OptionRule]
    keep: KeepLine
    once: Once
    publish: Callable[[], None]


class Model:
    """The use cases. Everything blocks, and raises DatabaseUnavailable or Overloaded if a store cannot be used."""

    def __init__(self, services: ModelServices) -> None:
        self._services = services

    def parts(self, kind: str, by: By, fits: Callable[[Any], bool] = lambda _: True) -> list[Any]:
        """Return every entry of a kind (`plan.rules.CODED`) that fits and is within reach, by code."""
        with read(self._services.state) as connection:
            held = _held(Territory(connection, by.reaches), kind)
            return sorted(
                (one for one in stored_parts(connection, kind) if fits(one) and held(one.code)),
                key=lambda one: str(one.code),
            )

    def part(self, kind: str, code: str, by: By) -> Any:
        """Return one entry.

        Raises:
            NotFound: there is none of this code within reach.
        """
        found = self.parts(kind, by, lambda one: one.code == code)
        if not found:
            raise _nothing(kind, code)
        return found[0]

    def put(self, kind: str, part: Any, by: By, check: Check) -> bool:
        """Add an entry, or bring the one of this code to what `part` says; return whether it is new.

        Raises:
            NotFound: what it refers to does not exist.
            Conflict: it contradicts itself or what is stored.
            ApiProblem: it is not within reach, or rests on something else than what is there now.
        """
        with self._changing() as connection:
            before, old = _stored(connection, kind, part.code)
            territory = Territory(connection, by.reaches)
            _require_held(territory, kind, old, part)
            check(old)
            after = in_order(_with(before, kind, part.code, part))
            if kind == "zones":
                _require_tree(after, part)
            found = differences(before, after)
            if any(found):
                self._replace(connection, found, after, _owner(connection, territory, part))
                self._note(connection, by, {"what": KINDS[kind], "code": part.code, "done": _done(old)})
        self._services.publish()
        return old is None

    def remove(self, kind: str, code: str, by: By, check: Check) -> None:
        """Remove an entry that nothing uses.

        Raises:
            NotFound: there is none of this code.
            Conflict: it is still in use, or a zone that is locked down.
            ApiProblem: it is not within reach, or something else is there now.
        """
        with self._changing() as connection:
            before, old = _stored(connection, kind, code)
            if old is None:
                raise _nothing(kind, code)
            _require_held(Territory(connection, by.reaches), kind, old, None)
            check(old)
            after = _with(before, kind, code, None)
            self._replace(connection, differences(before, after), after, 0)
            self._note(connection, by, {"what": KINDS[kind], "code": code, "done": "removed"})
        self._services.publish()

    def export(self, by: By) -> str:
        """Return everything as the file that the command line takes over; that somebody asked for it is on record."""
        text = self.current()
        self._services.keep({"kind": "model_exported", "request": request_id.get()}, {"by": by.name})
        return text

    def current(self) -> str:
        """Return everything as a file, for what is compared with it and not handed out."""
        services = self._services
        return Plans(services.state, services.clock, services.option_rules).export()

    def take_over(self, content: bytes, by: By, check: Callable[[str], None], *, removing: bool) -> str:
        """Bring everything to what a file says; return the file as it was until then, which is the way back.

        `check` is shown that file first, and may refuse. Without `removing` nothing goes.

        Raises:
            NotFound: a group or person the file names does not exist.
            Conflict: the file says what cannot be, or lacks what is stored.
        """
        services, before = self._services, ""

        def seen(text: str) -> None:
            nonlocal before
            before = text
            check(text)

        def keep(facts: Mapping[str, Scalar]) -> None:
            services.keep({**facts, "request": request_id.get()}, {"by": by.name})

        plans = Plans(services.state, services.clock, services.option_rules)
        plans.take_over(content, removing=removing, keep=keep, check=seen)
        services.publish()
        return before

    def rules(
        self,
        wanted: RulesWanted,
        by: By,
        after: int = 0,
        limit: int = 100,
        fits: Callable[[StoredRule], bool] = lambda _: True,
    ) -> list[StoredRule]:
        """Return grants and blocks that fit and are within reach in the order of their numbers, after one of them."""
        with read(self._services.state) as connection:
            territory = Territory(connection, by.reaches)
            return first_that_fit(
                lambda last: store.rules(connection, wanted, max(after, last), MAX_PAGE),
                lambda one: one.number,
                lambda one: fits(one) and territory.holds_rule(one.target, one.holder),
                limit,
            )

    def rule(self, number: int, by: By) -> StoredRule:
        """Return one grant or block.

        Raises:
            NotFound: there is none of this number within reach.
        """
        with read(self._services.state) as connection:
            return _rule(connection, number, by)

    def add_rule(
        self, asked: Asked, rule: RuleSetup, by: By, show: Callable[[StoredRule], dict[str, Any]]
    ) -> dict[str, Any]:
        """Add a grant or block, once for each key; return how it was shown when it was added.

        Raises:
            NotFound: whom or what it names does not exist.
            Conflict: it contradicts itself, or the key was used for something else.
            ApiProblem: it is not within reach.
        """

        def make(connection: Connection) -> dict[str, Any]:
            take_turn(connection)
            return show(self._added(connection, rule, by))

        with _said_plainly():
            answer = self._services.once.run(asked, make)
        self._services.publish()
        return answer

    def _added(self, connection: Connection, rule: RuleSetup, by: By) -> StoredRule:
        number = _Numbered(connection, 0, self._services.option_rules).add(rule)
        added = store.rule_numbered(connection, number)
        if added is None:
            raise AssertionError("what was just stored is there")
        require(
            held=Territory(connection, by.reaches).holds_rule(added.target, added.holder),
            what=f"this {rule.effect}",
        )
        self._note(connection, by, _facts(added, "added"), added.rule.login)
        return added

    def change_rule(self, number: int, times: NewTimes, by: By, check: Check) -> StoredRule:
        """Give a grant or block other hours and bounds.

        Raises:
            NotFound: there is none of this number within reach, or no such schedule.
            Conflict: a review waits for an answer about it, and it would get a later end.
            ApiProblem: something else is there now.
        """
        with self._changing() as connection:
            old = _rule(connection, number, by)
            check(old)
            new = replace(
                old.rule,
                schedule=times.schedule,
                valid_from_ms=times.valid_from_ms,
                valid_until_ms=times.valid_until_ms,
            )
            if new != old.rule:
                reviewed = under_review(connection, self._services.clock.now_ms(), number)
                writer = Replacer(connection, 0, self._services.option_rules)
                writer.change_rule(number, old.rule, new, reviewed)
                self._note(connection, by, _facts(old, "changed"), old.rule.login)
            changed = _rule(connection, number, by)
        self._services.publish()
        return changed

    def remove_rule(self, number: int, by: By, check: Check) -> None:
        """Remove a grant or block.

        Raises:
            NotFound: there is none of this number within reach.
            ApiProblem: something else is there now.
        """
        with self._changing() as connection:
            old = _rule(connection, number, by)
            check(old)
            store.remove_rule(connection, number)
            self._note(connection, by, _facts(old, "removed"), old.rule.login)
        self._services.publish()

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with _said_plainly(), write(self._services.state) as connection:
            take_turn(connection)
            yield connection

    def _replace(self, connection: Connection, found: Sequence[Difference], after: AccessSetup, owner: int) -> None:
        writer = Replacer(connection, owner, self._services.option_rules)
        writer.replace(found, after, self._services.clock.now_ms())

    def _note(self, connection: Connection, by: By, facts: Mapping[str, Scalar], login: str | None = None) -> None:
        """Name the change in the log, and have it in the journal: the last thing before the commit.

        Who asked for it, and the `login` of whom it is about, are sealed.
        """
        changes.append(connection, "access", [0])
        personal = {"by": by.name} | ({} if login is None else {"login": login})
        self._services.keep({"kind": "model_changed", "request": request_id.get(), **facts}, personal)


class _Numbered(Replacer):
    """Stores one grant or block and says which row it became."""

    _added: int = 0

    def add(self, rule: RuleSetup) -> int:
        """Store it; return its row number.

        Raises:
            NotFound, Conflict: as for a setup.
        """
        self._organisation_id = _owner_of_rule(self._connection, rule)
        self.store(AccessSetup(rules=[rule]))
        return self._added

    def _insert(self, table: sa.Table, **values: Any) -> int:
        self._added = super()._insert(table, **values)
        return self._added


def _owner_of_rule(connection: Connection, rule: RuleSetup) -> int:
    """Return the organisation of what a grant or block is about; of a whole use, the first."""
    places = Territory(connection, ())
    zone = rule.zone
    if rule.point is not None:
        known = places.points().get(rule.point)
        zone = None if known is None else str(known.zone)
    return _first(connection, None if zone is None else places.organisation_of(zone))


def _owner(connection: Connection, territory: Territory, part: Any) -> int:
    """Return the organisation that something new belongs to: that of the zone it lies in, else the first."""
    around = part.zone if isinstance(part, PointSetup) else part.parent if isinstance(part, ZoneSetup) else None
    return _first(connection, None if around is None else territory.organisation_of(around))


def _first(connection: Connection, code: str | None) -> int:
    number = store.organisation_number(connection, code)
    if number is None:
        raise NotFound("there is no organisation yet: let the service read the directory once")
    return number


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        raise Conflict("this contradicts what is stored") from error


def _stored(connection: Connection, kind: str, code: str) -> tuple[AccessSetup, Any | None]:
    """Return everything that has a code, and the entry of a kind that has this one."""
    model = in_order(AccessSetup(**{one: stored_parts(connection, one) for one in CODED}))
    return model, next((one for one in getattr(model, kind) if one.code == code), None)


def _with(model: AccessSetup, kind: str, code: str, part: Any | None) -> AccessSetup:
    others = [one for one in getattr(model, kind) if one.code != code]
    changed: dict[str, Any] = {kind: others if part is None else [*others, part]}
    return replace(model, **changed)


def _held(territory: Territory, kind: str) -> Callable[[str], bool]:
    """Return what tells whether an entry is within reach; what lies nowhere is for whoever may look."""
    if kind == "zones":
        return territory.holds_zone
    if kind != "points" or territory.everything:
        return lambda _: True
    points = territory.points()
    return lambda code: territory.holds_point(code, points[code].organisation, points[code].zone)


def _require_held(territory: Territory, kind: str, old: Any | None, new: Any | None) -> None:
    """Refuse to change what is not within reach, and to move something to where nothing is.

    Raises:
        ApiProblem: 403.
    """
    if territory.everything:
        return
    if old is not None:
        require(held=_held(territory, kind)(old.code), what=f"{KINDS[kind]} {old.code}")
    if isinstance(new, ZoneSetup) and (old is None or new.parent != old.parent):
        require(
            held=new.parent is not None and territory.holds_zone(new.parent), what=f"what lies around zone {new.code}"
        )
    elif isinstance(new, PointSetup):
        owner = territory.organisation_of(new.zone)
        if old is not None:
            owner = territory.points()[old.code].organisation
        require(held=owner is not None and territory.holds_point(new.code, owner, new.zone), what=f"point {new.code}")
        if new.agent is not None and (old is None or (new.agent, new.reader) != (old.agent, old.reader)):
            _require_agent(territory, new.agent)
    elif kind not in {"zones", "points"}:
        require(held=False, what=f"{KINDS[kind]} {getattr(new or old, 'code', '')}, which points everywhere use,")


def _require_agent(territory: Territory, agent: str) -> None:
    """Whoever gives a point to an agent could have it act for the agent's other points."""
    served = (point for point in territory.points().values() if point.agent == agent)
    held = all(territory.holds_point(point.code, point.organisation, point.zone) for point in served)
    require(held=held, what=f"agent {agent}")


def _require_tree(after: AccessSetup, zone: ZoneSetup) -> None:
    if zone.parent is not None and all(one.code != zone.parent for one in after.zones):
        raise _nothing("zones", zone.parent)
    require_whole(AccessSetup(zones=after.zones), MAX_ZONE_DEPTH)


def _rule(connection: Connection, number: int, by: By) -> StoredRule:
    found = store.rule_numbered(connection, number)
    if found is None or not Territory(connection, by.reaches).holds_rule(found.target, found.holder):
        raise NotFound(f"there is no grant or block {number}")
    return found


def _nothing(kind: str, code: str) -> NotFound:
    return NotFound(f"there is no {KINDS[kind]} {code!r}")


def _done(old: Any | None) -> str:
    return "added" if old is None else "changed"


def _facts(stored: StoredRule, done: str) -> dict[str, Scalar]:
    """Return what the journal says openly of a grant or block: its number, place and group."""
    rule = stored.rule
    where = {"point": rule.point, "zone": rule.zone, "use": rule.use and rule.use.value, "group": rule.group}
    place: dict[str, Scalar] = {name: text for name, text in where.items() if text is not None}
    return {"what": rule.effect, "number": stored.number, "done": done, **place}
