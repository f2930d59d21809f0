# SPDX-License-Identifier: EUPL-1.2
"""Reviews of grants: begun, answered, extended, aborted, and what lapsed renewed.

Nothing has to run at the deadline: beginning a review has every grant in it end there, and only an answer takes that
back. Each act is one transaction of the state store; its line is in the journal before it is committed, so that no
right lives on without one.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access import store as model
from cardservice.access.review import store
from cardservice.access.review.record import KeepLine, require_text
from cardservice.access.review.rules import ANSWERED, MIN_LEAD_MS, Verdict, Wanted
from cardservice.access.review.views import ItemView, ReviewView, item_view, review_views, reviewed
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import CardServiceError, Conflict, NotFound
from cardservice.instants import MAX_INSTANT_MS, instant
from cardservice.people.store import directory_group

MAX_GRANTS: Final = 100_000
MAX_PAGE: Final = 500
_CODE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NewReview:
    """A review to begin: of a zone with what is inside it, of one group's grants, or of all."""

    code: str
    name: str
    deadline_ms: int
    zone: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Who:
    """Who acts: an administrator's program (`by`), and if it speaks for one of an owner's members, their login."""

    by: str
    login: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one grant. `until_ms` is a new end; none: the one before."""

    verdict: Verdict
    until_ms: int | None = None
    reason: str | None = None


class Reviews:
    """The use cases. `keep` writes to the journal, `publish` lets the city know at once. All of it blocks.

    Everything here raises DatabaseUnavailable or Overloaded if a store cannot be used; nothing is changed then.
    """

    def __init__(self, engine: Engine, clock: Clock, keep: KeepLine, publish: Callable[[], None]) -> None:
        self._engine, self._clock, self._keep, self._publish = engine, clock, keep, publish

    def begin(self, new: NewReview, who: Who) -> ReviewView:
        """Begin a review: every grant in it ends at the deadline at the latest. The same one again changes nothing.

        Raises:
            NotFound: there is no such zone or group.
            Conflict: the code is taken, the deadline too near, nothing in scope, or a review waits for some of it.
        """
        require_text(name=new.name, group=new.group, by=who.by)
        if not _CODE.fullmatch(new.code):
            raise Conflict("code: allowed are up to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")
        if new.zone is not None and new.group is not None:
            raise Conflict("a review is of a zone, of a group or of all grants, not of a zone and a group")
        now_ms = self._clock.now_ms()
        with self._changing() as connection:
            known = store.find_review(connection, new.code)
            if known is not None:
                if NewReview(known.code, known.name, known.deadline_ms, known.zone, known.group) != new:
                    raise Conflict(f"there is a review {new.code} already")
                return _review(connection, new.code)
            self._require_deadline(new.deadline_ms, now_ms)
            grants = _free_grants(connection, new, now_ms)
            owners = store.owners(connection)
            owned = {grant.id: owners.of(grant.id, grant.zone_id) for grant in grants}
            row: dict[str, Any] = asdict(new) | {"begun_ms": now_ms, "begun_by": who.by}
            store.begin(connection, row, grants, owned)
            begun = {"kind": "review_begun", "review": new.code, "deadline_ms": new.deadline_ms, "grants": len(grants)}
            scope = {"zone": new.zone, "group": new.group}
            self._note(connection, begun | {name: text for name, text in scope.items() if text is not None}, who)
            view = _review(connection, new.code)
        self._tell()
        return view

    def extend(self, code: str, deadline_ms: int, who: Who, *, reason: str) -> ReviewView:
        """Give a running review a later deadline; the same one again changes nothing.

        Raises:
            NotFound: there is no such review.
            Conflict: it is over or was aborted, or the deadline is not later.
        """
        require_text(by=who.by, reason=reason)
        with self._changing() as connection:
            row = self._running(connection, code)
            if deadline_ms == row.deadline_ms:
                return _review(connection, code)
            if not row.deadline_ms < deadline_ms < MAX_INSTANT_MS:
                raise Conflict(f"review {code} ends on {instant(row.deadline_ms)}: give it a later deadline")
            store.move_bounds(connection, row.id, deadline_ms)
            facts = {"kind": "review_extended", "review": code, "from_ms": row.deadline_ms, "deadline_ms": deadline_ms}
            self._note(connection, facts, who, reason)
            view = _review(connection, code)
        self._tell()
        return view

    def abort(self, code: str, who: Who, *, reason: str) -> ReviewView:
        """End a running review: what nobody answered for ends when it would have ended. Answers stand.

        Raises:
            NotFound: there is no such review.
            Conflict: it is over.
        """
        require_text(by=who.by, reason=reason)
        with self._changing() as connection:
            row = store.find_review(connection, code)
            if row is not None and row.aborted_ms is not None:
                return _review(connection, code)
            row = self._running(connection, code)
            store.abort(connection, row.id, self._clock.now_ms())
            self._note(connection, {"kind": "review_aborted", "review": code}, who, reason)
            view = _review(connection, code)
        self._tell()
        return view

    def answer(self, code: str, item: int, answer: Answer, who: Who) -> ItemView:
        """Keep, end or renew one grant of a review, once; the same answer again changes nothing.

        Raises:
            NotFound: there is no such item, or nobody who may answer has this login.
            Conflict: it was answered otherwise, it is too late or too early for this answer, a reason is missing, or
                the login is not one of the owner's members, or the grant's own holder.
        """
        require_text(by=who.by, login=who.login, reason=answer.reason)
        if answer.verdict is Verdict.RENEW and answer.reason is None:
            raise Conflict("reason: whoever renews a grant that lapsed says why")
        if answer.verdict is Verdict.END and answer.until_ms is not None:
            raise Conflict("until: a grant that is not needed ends now")
        with self._changing() as connection:
            row = _item_row(connection, code, item)
            if who.login is not None:
                _require_owner(connection, row, who.login)
            if row.verdict is not None:
                if (row.verdict, row.until_ms) != (answer.verdict, answer.until_ms):
                    raise Conflict(f"item {item} was answered on {instant(row.answered_ms)}: {row.verdict}")
                return item_view(row, self._clock.now_ms())
            self._give(connection, row, answer, who)
            view = item_view(_item_row(connection, code, item), self._clock.now_ms())
        self._tell()
        return view

    def _give(self, connection: Connection, row: Any, answer: Answer, who: Who) -> None:
        now_ms = self._clock.now_ms()
        waiting = store.under_review(connection, now_ms, row.rule_id).get(row.rule_id, row.review)
        if answer.verdict is not Verdict.END and waiting != row.review:
            raise Conflict(f"item {row.id}: review {waiting} waits for this grant; answer there")
        try:
            ends_ms = reviewed(row).new_end(answer.verdict, answer.until_ms, now_ms)
        except ValueError as error:
            raise Conflict(f"item {row.id} of review {row.review}: {error}") from None
        values = {"verdict": answer.verdict.value, "until_ms": answer.until_ms, "reason": answer.reason}
        values |= {"answered_ms": now_ms, "answered_by": who.login or who.by}
        store.answer(connection, row.id, row.rule_id, ends_ms, values)
        facts = {"kind": f"grant_{ANSWERED[answer.verdict]}", "review": row.review, "item": row.id}
        self._note(connection, facts | {"grant": row.rule_id, "ends_ms": ends_ms}, who, answer.reason)

    def set_owner(self, who: Who, group: str | None, *, zone: str | None = None, grant: int | None = None) -> None:
        """Have a group answer for a zone or for a grant, from the next review on; None: nobody of its own.

        Raises:
            NotFound: there is no such group, zone or grant.
            Conflict: two groups are called so, or not one of zone and grant is named.
        """
        require_text(by=who.by, group=group)
        if (zone is None) == (grant is None):
            raise Conflict("an owner is of a zone or of a grant")
        with self._changing() as connection:
            number = None if group is None else model.number_of(connection, directory_group.c.name, group)
            if zone is not None:
                owned = model.number_of(connection, model.zone.c.code, zone)
                store.set_owner(connection, store.zone_owner, owned, number)
            elif grant is not None:
                if not store.has_grant(connection, grant):
                    raise NotFound(f"there is no grant {grant}")
                store.set_owner(connection, store.grant_owner, grant, number)
            what: dict[str, Any] = {"zone": zone} if grant is None else {"grant": grant}
            self._note(connection, {"kind": "owner_set", "owner": group} | what, who)

    def list(self, after: int = 0, limit: int = MAX_PAGE) -> tuple[ReviewView, ...]:
        """Return reviews in the order of their beginning, after the one of a number."""
        with read(self._engine) as connection:
            return review_views(connection, store.reviews(connection, after, min(limit, MAX_PAGE)))

    def items(self, wanted: Wanted, limit: int = MAX_PAGE) -> tuple[ItemView, ...]:
        """Return items in the order of their numbers.

        Raises:
            NotFound: there is no such review.
            Conflict: nobody can be called like this owner.
        """
        require_text(owner=wanted.owner)
        now_ms = self._clock.now_ms()
        with read(self._engine) as connection:
            if wanted.review is not None and store.find_review(connection, wanted.review) is None:
                raise _no_review(wanted.review)
            return tuple(
                item_view(row, now_ms) for row in store.items(connection, wanted, min(limit, MAX_PAGE), now_ms)
            )

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with write(self._engine) as connection:
            store.take_turn(connection)
            yield connection

    def _note(self, connection: Connection, facts: dict[str, Any], who: Who, reason: str | None = None) -> None:
        """Name the change in the log, and have the act in the journal: the last thing before the commit."""
        changes.append(connection, "access", [0])
        personal = {"by": who.by, "login": who.login, "reason": reason}
        self._keep(facts, {name: text for name, text in personal.items() if text is not None})

    def _tell(self) -> None:
        try:
            self._publish()
        except CardServiceError as error:
            _log.error("review.not_published", error=str(error))

    def _running(self, connection: Connection, code: str) -> Any:
        row = store.find_review(connection, code)
        if row is None:
            raise _no_review(code)
        if row.aborted_ms is not None:
            raise Conflict(f"review {code} was aborted on {instant(row.aborted_ms)}")
        if row.deadline_ms <= self._clock.now_ms():
            raise Conflict(f"review {code} is over since {instant(row.deadline_ms)}; what lapsed can be renewed")
        return row

    def _require_deadline(self, deadline_ms: int, now_ms: int) -> None:
        if not now_ms + MIN_LEAD_MS <= deadline_ms < MAX_INSTANT_MS:
            raise Conflict(f"deadline: {instant(now_ms)} is now; allowed is a day from now or later")


def _free_grants(connection: Connection, new: NewReview, now_ms: int) -> Any:
    """Return the grants in a new review's scope; one that another review waits for is not to be had."""
    zone_id = None if new.zone is None else model.number_of(connection, model.zone.c.code, new.zone)
    group_id = None if new.group is None else model.number_of(connection, directory_group.c.name, new.group)
    grants = store.running_grants(connection, store.Scope(zone_id, group_id), now_ms, MAX_GRANTS + 1)
    if not grants:
        raise Conflict("there is no grant to review in this scope")
    if len(grants) > MAX_GRANTS:
        raise Conflict(f"more than {MAX_GRANTS} grants: begin a review for each zone or group")
    taken = store.under_review(connection, now_ms)
    waiting = sorted({taken[grant.id] for grant in grants if grant.id in taken})
    if waiting:
        raise Conflict(f"review {waiting[0]} waits for some of these grants; have it answered or abort it first")
    return grants


def _require_owner(connection: Connection, row: Any, login: str) -> None:
    """Refuse somebody who may not answer for a grant.

    Raises:
        NotFound: nobody who may answer has this login.
        Conflict: they are not one of the owner's members, or the grant is their own.
    """
    person = store.member(connection, login)
    if row.owner_group_id is None or row.owner_group_id not in json.loads(person.groups):
        raise Conflict(f"item {row.id}: this login is not a member of the group that answers for it")
    if row.person_id == person.id:
        raise Conflict(f"item {row.id}: nobody answers for a grant of their own")


def _no_review(code: str) -> NotFound:
    return NotFound(f"there is no review {code!r}")


def _item_row(connection: Connection, code: str, item: int) -> Any:
    row = store.find_item(connection, code, item)
    if row is None:
        raise NotFound(f"there is no item {item} in a review {code!r}")
    return row


def _review(connection: Connection, code: str) -> ReviewView:
    row = store.find_review(connection, code)
    if row is None:
        raise _no_review(code)
    return review_views(connection, [row])[0]
