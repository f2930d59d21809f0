# SPDX-License-Identifier: EUPL-1.2
"""Exporting the access model, taking over a changed one, and saying before what that does to whom."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access import city
from cardservice.access.plan.effects import Effect, Effects, Membership, People, Side, effects
from cardservice.access.plan.rules import KINDS, Difference, differences, in_order, totals
from cardservice.access.plan.store import Replacer, stored_model
from cardservice.access.plan.text import read_changes, read_model, write_model
from cardservice.access.rules import HouseRules, Use
from cardservice.access.setup import OptionRule
from cardservice.access.setup_parts import AccessSetup
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, NotFound
from cardservice.journal.rules import Scalar
from cardservice.people.movers.store import counting_rows
from cardservice.people.rules import DirectoryGroup, Memberships
from cardservice.people.store import directory_group, organisation, person

DAY_MS: Final = 86_400_000
AHEAD_DAYS: Final = 7
MAX_LISTED: Final = 10_000
# What lasts for a while only is left out: lock-outs as lockdowns.
_NO_LOCK_OUTS: Final = HouseRules(lock_out_stops=frozenset())


@dataclass(frozen=True, slots=True)
class Listed:
    """One person and point that a change does something to."""

    effect: Effect
    point: str
    name: str
    login: str | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a change of the model is, and what it does to whom within the next days; nothing of it is stored."""

    differences: tuple[Difference, ...]
    effects: Effects
    from_ms: int
    until_ms: int
    listed: tuple[Listed, ...]


class _Undone(Exception):
    """Rolls a transaction back that was for looking only."""


class Plans:
    """Exports, compares and takes over; `option_rules` check the points' options."""

    def __init__(self, state: Engine, clock: Clock, option_rules: Mapping[Use, OptionRule]) -> None:
        self._state, self._clock, self._option_rules = state, clock, option_rules

    def export(self) -> str:
        """Return the file of what is stored. Blocks.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        with read(self._state) as connection:
            return write_model(stored_model(connection))

    def take_over(
        self,
        content: bytes,
        *,
        removing: bool,
        keep: Callable[[Mapping[str, Scalar]], None],
        check: Callable[[str], None] = lambda _: None,
    ) -> list[Difference]:
        """Bring what is stored to what a file says, in one transaction; return what that changed.

        Without `removing` a file that lacks what is stored is refused: it may have been cut off. The difference is
        worked out inside the transaction: nothing that somebody else stores meanwhile is overwritten unseen. `keep`
        has a line of these facts on disk before it is stored. `check` is shown the file of what is stored until then,
        and may refuse.

        Raises:
            NotFound: a group or person the file names does not exist.
            Conflict: the file says what cannot be, or lacks what is stored.
            DatabaseUnavailable: a store cannot be written; nothing was changed.
        """
        after = read_model(content)
        with self._transaction(keep=True) as connection:
            check(write_model(stored_model(connection)))
            found = self._replace(connection, after)
            if not removing:
                _require_complete(found)
            if any(found):
                keep({"kind": "model_imported", **totals(found)})
                changes.append(connection, "access", [0])
        return found

    def preview(self, content: bytes) -> Outlook:
        """Return what taking over a file would change, and for whom; every check of `take_over` but for removals.

        Raises:
            NotFound: a group or person the file names does not exist.
            Conflict: the file says what cannot be.
            DatabaseUnavailable: the state store cannot be written.
        """
        return self._outlook(read_model(content), [])

    def what_if(self, content: bytes, *, listed: int = 0) -> Outlook:
        """Return what a file, or who joins and leaves groups in it, would do to whom. Never stores anything.

        Raises:
            NotFound: a group or person the file names does not exist.
            Conflict: the file says what cannot be.
            DatabaseUnavailable: the state store cannot be written.
        """
        after, memberships = read_changes(content)
        return self._outlook(after, memberships, min(listed, MAX_LISTED))

    def weighed(self, change: Callable[[Callable[[Connection], None]], None]) -> Effects:
        """Return what a change would do to whom; nothing is stored that `change` does not store itself.

        `change` makes it in a transaction of its own, hands the connection on before that ends, and rolls it back.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        now_ms = self._clock.now_ms()
        with read(self._state) as connection:
            before = city.PointCompiler(connection, now_ms, _NO_LOCK_OUTS).points(connection)
            direct, crowd = city.people_named_directly(connection), _Crowd(connection)
        compiled = [before]

        def look(connection: Connection) -> None:
            nonlocal direct
            compiled.append(city.PointCompiler(connection, now_ms, _NO_LOCK_OUTS).points(connection))
            direct |= city.people_named_directly(connection)

        change(look)
        people = crowd.people(direct, {})
        until_ms = now_ms + AHEAD_DAYS * DAY_MS
        return effects(Side(before, people), Side(compiled[-1], people), now_ms, until_ms)

    def _outlook(self, after: AccessSetup | None, memberships: Sequence[Membership], listed: int = 0) -> Outlook:
        now_ms = self._clock.now_ms()
        found: list[Difference] = []
        with read(self._state) as connection:
            points_before = city.PointCompiler(connection, now_ms, _NO_LOCK_OUTS).points(connection)
            direct = city.people_named_directly(connection)
            crowd = _Crowd(connection)
            moved = crowd.moved(connection, memberships)
        points_after = points_before
        if after is not None:
            # Nobody else can write meanwhile: only what needs the changed tables happens in here.
            with self._transaction(keep=False) as connection:
                found = self._replace(connection, after)
                points_after = city.PointCompiler(connection, now_ms, _NO_LOCK_OUTS).points(connection)
                direct |= city.people_named_directly(connection)
        people = crowd.people(direct, {})
        before = Side(points_before, people)
        after_side = Side(points_after, crowd.people(direct, moved) if moved else people)
        until_ms = now_ms + AHEAD_DAYS * DAY_MS
        what = effects(before, after_side, now_ms, until_ms)
        names = tuple(Listed(effect, point, *crowd.named(number)) for point, effect, number in what.pairs(listed))
        return Outlook(tuple(found), what, now_ms, until_ms, names)

    def _replace(self, connection: Connection, after: AccessSetup) -> list[Difference]:
        found = differences(in_order(stored_model(connection)), after)
        number = connection.execute(sa.select(sa.func.min(organisation.c.id))).scalar()
        if number is None:
            raise NotFound("there is no organisation yet: let the service read the directory once")
        if any(found):
            try:
                Replacer(connection, int(number), self._option_rules).replace(found, after, self._clock.now_ms())
            except (sa.exc.IntegrityError, sa.exc.DataError) as error:
                raise Conflict(f"the file contradicts what is stored: {error.orig}") from error
        return found

    @contextmanager
    def _transaction(self, *, keep: bool) -> Iterator[Connection]:
        with suppress(_Undone), write(self._state) as connection:
            yield connection
            if not keep:
                raise _Undone


def _require_complete(found: Iterable[Difference]) -> None:
    gone = [f"{len(one.removed)} x {KINDS[one.kind]}" for one in found if one.removed]
    if gone:
        raise Conflict(f"the file lacks what is stored: {', '.join(gone)}; say so if that is to be removed")


class _Crowd:
    """Everybody who is present and enabled, one number each, and the groups they are in."""

    def __init__(self, connection: Connection) -> None:
        wanted = sa.select(person.c.id, person.c.name, person.c.login, person.c.dn, person.c.groups)
        self._rows = connection.execute(wanted.where(person.c.present, person.c.enabled).order_by(person.c.id)).all()

    def named(self, number: int) -> tuple[str, str | None]:
        """Return name and login of one of them."""
        row = self._rows[number]
        return row.name, row.login

    def people(self, direct: frozenset[int], moved: Mapping[int, frozenset[int]]) -> People:
        """Return who is which subjects; `moved` are those whose groups are other ones."""
        subjects = []
        for row in self._rows:
            groups: Iterable[int] = moved[row.id] if row.id in moved else json.loads(row.groups)
            subjects.append([*groups, -row.id] if row.id in direct else groups)
        return People(subjects)

    def moved(self, connection: Connection, memberships: Sequence[Membership]) -> dict[int, frozenset[int]]:
        """Return the row numbers and new groups of everybody whose groups would be other ones."""
        if not memberships:
            return {}
        rows = connection.execute(sa.select(directory_group).where(directory_group.c.present)).all()
        numbers = {f"{row.directory}:{row.stable_id}": row.id for row in rows}
        groups = {
            row.id: DirectoryGroup(
                f"{row.directory}:{row.stable_id}", row.dn, row.name, frozenset(json.loads(row.members))
            )
            for row in rows
        }
        known = Memberships(groups.values())
        # Movers count where they were until their windows end, whoever joins and leaves what meanwhile.
        staying = counting_rows(connection)
        for row in self._rows:
            if row.id in staying:
                known.stay(row.dn, frozenset(groups[one].stable_id for one in staying[row.id] if one in groups))
        touched: set[str] = set()
        for membership in memberships:
            group = known.current(_only(membership.group, groups.values(), "group").stable_id)
            if group is None:
                raise AssertionError("a group that was found is known")
            member = self._member(membership, groups.values())
            members = group.member_dns | {member} if membership.joins else group.member_dns - {member}
            touched |= known.replace(DirectoryGroup(group.stable_id, group.dn, group.name, members))
        return {row.id: frozenset(numbers[one] for one in known.of(row.dn)) for row in self._rows if row.dn in touched}

    def _member(self, membership: Membership, groups: Iterable[DirectoryGroup]) -> str:
        if membership.member_group is not None:
            return _only(membership.member_group, groups, "group").dn
        found = [row.dn for row in self._rows if row.login == membership.login]
        if len(found) != 1:
            raise NotFound("membership.login: there is nobody, or more than one, of this login")
        return str(found[0])


def _only(name: str, groups: Iterable[DirectoryGroup], kind: str) -> DirectoryGroup:
    found = [group for group in groups if group.name == name]
    if len(found) != 1:
        raise NotFound(f"membership.{kind}: there is none, or more than one, called {name!r}")
    return found[0]
