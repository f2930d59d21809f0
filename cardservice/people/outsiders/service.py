# SPDX-License-Identifier: EUPL-1.2
"""What is done with people outside the directory, by the API, the pages and the command line. Blocks."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import CardServiceError, Conflict, NotFound
from cardservice.people.outsiders import store, views
from cardservice.people.outsiders.rules import Bounds, Kind, State, erased_before_ms, objection_to_time
from cardservice.people.outsiders.store import Entry, Mark
from cardservice.people.outsiders.views import OutsidersWanted, OutsiderView, OwnGroup, Sponsor, Which
from cardservice.people.store import person
from cardservice.web.once import Asked, Once
from cardservice.web.reach import EVERYWHERE, Reach

MAX_OWN: Final = 200
MAX_OWN_GROUPS: Final = 500
# One transaction erases so many, so that nobody waits long for the store.
ERASED_AT_ONCE: Final = 200
_log = structlog.get_logger()


class SponsorUnfit(Conflict):
    """Nobody of a directory, or somebody who is gone, disabled or out of their own time."""

    code = "sponsor_unfit"


class OwnSponsor(Conflict):
    """Who acts would answer for the outsider themselves."""

    code = "own_sponsor"


class TimeUnfit(Conflict):
    """The end is past, before the beginning, or further off than the settings allow."""

    code = "time_unfit"


class NameTaken(Conflict):
    """A group of that name is there already, here or in a directory."""

    code = "name_taken"


@dataclass(frozen=True, slots=True)
class Who:
    """Who acts: what the record calls them, their number if they are a person here, and how far their right goes."""

    name: str
    person: int | None = None
    reaches: tuple[Reach, ...] = (EVERYWHERE,)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an outsider is to be; `from_ms` None: from now on, or as it was. `groups` are numbers of own groups."""

    name: str
    sponsor: int
    until_ms: int
    reason: str
    kind: Kind = Kind.EXTERNAL
    mail: str | None = None
    company: str | None = None
    from_ms: int | None = None
    groups: frozenset[int] = frozenset()


def _nothing() -> None:
    """The running service finds out by itself."""


def _any_state(_: Mapping[str, Any]) -> None:
    """It may be changed whatever it is."""


class Outsiders:
    """The people outside the directory; `publish` has the next tap see a change.

    Everything may raise DatabaseUnavailable: then nothing was changed.
    """

    def __init__(
        self, engine: Engine, clock: Clock, bounds: Bounds | None = None, publish: Callable[[], None] = _nothing
    ) -> None:
        self._engine, self._clock, self._publish = engine, clock, publish
        self.bounds = bounds or Bounds()
        self._once = Once(engine, clock)

    def now_ms(self) -> int:
        """Return the wall clock that counts here."""
        return self._clock.now_ms()

    def list(
        self, wanted: OutsidersWanted, reaches: tuple[Reach, ...], after: int = 0, limit: int = 100
    ) -> tuple[OutsiderView, ...]:
        """Return outsiders within one of `reaches` in the order of their numbers, after one of them."""
        with read(self._engine) as connection:
            return views.listed(connection, wanted, reaches, self._clock.now_ms(), (after, limit))

    def soonest(self, wanted: OutsidersWanted, reaches: tuple[Reach, ...], limit: int) -> tuple[OutsiderView, ...]:
        """Return outsiders within one of `reaches`, those that end first first."""
        with read(self._engine) as connection:
            return views.soonest(connection, wanted, reaches, self._clock.now_ms(), limit)

    def one(self, number: int, reaches: tuple[Reach, ...]) -> OutsiderView:
        """Return one outsider.

        Raises:
            NotFound: there is none of this number within one of `reaches`.
        """
        with read(self._engine) as connection:
            return self._found(connection, number, reaches)

    def of_sponsor(self, number: int) -> tuple[OutsiderView, ...]:
        """Return whom somebody answers for, as long as their time has not ended; nobody else's."""
        return self.soonest(OutsidersWanted(Which.HERE, sponsor=number), (EVERYWHERE,), MAX_OWN)

    def sponsors(self, text: str, who: Who, limit: int) -> tuple[Sponsor, ...]:
        """Return who could answer for an outsider whom `who` adds, and is called so."""
        fits = sa.and_(views.called(text), person.c.id != (who.person or 0))
        with read(self._engine) as connection:
            return views.sponsors(connection, fits, who.reaches, self._clock.now_ms(), limit)

    def add(self, wish: Wish, who: Who, asked: Asked | None = None) -> dict[str, Any]:
        """Add an outsider, once for each request that `asked`; the next tap sees them.

        Raises:
            SponsorUnfit, OwnSponsor, TimeUnfit: see there.
            NotFound: a group is none of the service's own.
        """

        def make(connection: Connection) -> dict[str, Any]:
            now_ms = self._clock.now_ms()
            begin_ms = now_ms if wish.from_ms is None else wish.from_ms
            self._require_time(begin_ms, wish.until_ms, now_ms)
            self._require_sponsor(connection, wish.sponsor, who, now_ms)
            number = store.add(connection, _entry(wish, begin_ms), Mark(who.name, now_ms, wish.reason))
            _set_groups(connection, number, wish.groups)
            changes.append(connection, "outsider", [number])
            changes.append(connection, "person", [number])
            return self._found(connection, number, (EVERYWHERE,)).document()

        return self._run(asked, make, "outsiders.added")

    def change(
        self, number: int, wish: Wish, who: Who, require: Callable[[Mapping[str, Any]], None] = _any_state
    ) -> dict[str, Any]:
        """Change an outsider to what is wished for; `require` refuses to change what it is shown.

        Raises:
            NotFound: there is none within reach, or a group is none of the service's own.
            Conflict: their name is erased.
            SponsorUnfit, OwnSponsor, TimeUnfit: see there.
        """

        def make(connection: Connection) -> dict[str, Any]:
            now_ms = self._clock.now_ms()
            found = self._locked(connection, number, who, require)
            begin_ms = found.from_ms if wish.from_ms is None else wish.from_ms
            if (begin_ms, wish.until_ms) != (found.from_ms, found.until_ms):
                self._require_time(begin_ms, wish.until_ms, now_ms)
            # Who has moved on to another department goes on answering.
            reaches = who.reaches if wish.sponsor != found.sponsor.person else (EVERYWHERE,)
            self._require_sponsor(connection, wish.sponsor, Who(who.name, who.person, reaches), now_ms)
            store.change(connection, number, _entry(wish, begin_ms), Mark(who.name, now_ms, wish.reason))
            _set_groups(connection, number, wish.groups)
            changes.append(connection, "person", [number])
            return self._found(connection, number, (EVERYWHERE,)).document()

        return self._run(None, make, "outsiders.changed")

    def end(self, number: int, who: Who, reason: str, asked: Asked | None = None) -> dict[str, Any]:
        """Let an outsider's time end now, once for each request that `asked`; one that has ended stays as it is.

        Raises:
            NotFound: there is none of this number within reach.
            Conflict: their name is erased.
        """

        def make(connection: Connection) -> dict[str, Any]:
            now_ms = self._clock.now_ms()
            found = self._locked(connection, number, who, _any_state)
            if found.until_ms > now_ms:
                store.end(connection, number, Mark(who.name, now_ms, reason))
                changes.append(connection, "person", [number])
            return self._found(connection, number, who.reaches).document()

        return self._run(asked, make, "outsiders.ended")

    def groups(self) -> tuple[OwnGroup, ...]:
        """Return the groups of the service's own, by name."""
        with read(self._engine) as connection:
            return views.own_groups(connection)

    def add_group(self, name: str, asked: Asked | None = None) -> dict[str, Any]:
        """Add a group for outsiders, to which grants are given as to a directory's.

        Raises:
            NameTaken: see there.
            Conflict: there are too many already.
        """

        def make(connection: Connection) -> dict[str, Any]:
            if store.group_called(connection, name):
                raise NameTaken(f"there is a group {name!r} already, here or in a directory: grants name groups")
            if len(store.own_groups(connection)) >= MAX_OWN_GROUPS:
                raise Conflict(f"there are {MAX_OWN_GROUPS} groups already")
            return asdict(OwnGroup(store.add_group(connection, name), name, 0))

        return self._run(asked, make, "outsiders.group_added")

    def remove_group(self, number: int) -> None:
        """Take a group of the service's own out of use.

        Raises:
            NotFound: there is none of this number.
            Conflict: somebody is in it.
        """

        def make(connection: Connection) -> dict[str, Any]:
            found = next((one for one in views.own_groups(connection) if one.group == number), None)
            if found is None:
                raise NotFound(f"there is no group {number} of the service's own")
            if found.members:
                raise Conflict(f"{found.members} people are in the group; take them out of it first")
            store.remove_group(connection, number)
            return asdict(found)

        self._run(None, make, "outsiders.group_removed")

    def _found(self, connection: Connection, number: int, reaches: tuple[Reach, ...]) -> OutsiderView:
        found = views.one(connection, number, reaches, self._clock.now_ms())
        if found is None:
            raise NotFound(f"there is no person {number} outside the directory")
        return found

    def _locked(
        self, connection: Connection, number: int, who: Who, require: Callable[[Mapping[str, Any]], None]
    ) -> OutsiderView:
        store.lock(connection, number)
        found = self._found(connection, number, who.reaches)
        if found.state is State.ERASED:
            raise Conflict(f"the name of person {number} is erased: add them anew")
        require(found.head())
        return found

    def _require_time(self, from_ms: int, until_ms: int, now_ms: int) -> None:
        objection = objection_to_time(from_ms, until_ms, now_ms, self.bounds)
        if objection is not None:
            raise TimeUnfit(objection)

    @staticmethod
    def _require_sponsor(connection: Connection, number: int, who: Who, now_ms: int) -> None:
        if number == who.person:
            raise OwnSponsor("nobody adds or extends those they answer for themselves: a colleague does")
        if not views.sponsors(connection, person.c.id == number, who.reaches, now_ms, 1):
            raise SponsorUnfit(
                f"person {number} cannot answer for anybody: name somebody of a directory who is present, enabled and "
                "within your reach"
            )

    def _run(self, asked: Asked | None, make: Callable[[Connection], dict[str, Any]], event: str) -> dict[str, Any]:
        if asked is None:
            with write(self._engine) as connection:
                made = make(connection)
        else:
            made = self._once.run(asked, make)
        # A number, never a name.
        _log.info(event, number=made.get("person", made.get("group")))
        try:
            self._publish()
        except CardServiceError as error:
            # It is stored; whoever tails the log applies it in any case.
            _log.error("change.not_published", error=str(error))
        return made


def erase_ended(engine: Engine, now_ms: int, bounds: Bounds) -> int:
    """Erase what is kept of whoever ended long enough ago, but for their number; return how many that were.

    Raises:
        DatabaseUnavailable: the store cannot be used; those before are erased, the next time finds the rest.
    """
    erased = 0
    while True:
        with write(engine) as connection:
            numbers = store.to_erase(connection, erased_before_ms(now_ms, bounds), ERASED_AT_ONCE)
            for number in numbers:
                store.erase(connection, number, now_ms)
            changes.append(connection, "person", numbers)
        erased += len(numbers)
        if len(numbers) < ERASED_AT_ONCE:
            return erased


def _entry(wish: Wish, begin_ms: int) -> Entry:
    return Entry(wish.name, wish.mail, wish.kind.value, wish.company, wish.sponsor, begin_ms, wish.until_ms)


def _set_groups(connection: Connection, number: int, groups: frozenset[int]) -> None:
    unknown = groups - {one for one, _, _ in store.own_groups(connection)}
    if unknown:
        raise NotFound(f"group {min(unknown)} is none of the service's own")
    store.set_groups(connection, number, groups)
