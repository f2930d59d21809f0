# SPDX-License-Identifier: EUPL-1.2
"""Tables of owners, reviews and the grants in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access.review.rules import Owners, Tally, Verdict, Wanted, bound_of, zones_inside
from cardservice.access.store import access_rule, point, schedule, zone
from cardservice.database import STATE, RowNumber, insert_or, row_id
from cardservice.errors import Conflict, NotFound
from cardservice.people.store import directory_group, person

grant_owner = sa.Table(
    "grant_owner",
    STATE,
    sa.Column("rule_id", sa.ForeignKey("access_rule.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("group_id", sa.ForeignKey("directory_group.id"), nullable=False),
)

zone_owner = sa.Table(
    "zone_owner",
    STATE,
    sa.Column("zone_id", sa.ForeignKey("zone.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("group_id", sa.ForeignKey("directory_group.id"), nullable=False),
)

access_review = sa.Table(
    "access_review",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("code", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    # What it is about, by the names of that time; neither: every grant.
    sa.Column("zone", sa.String(64)),
    sa.Column("group", sa.Text),
    sa.Column("deadline_ms", sa.BigInteger, nullable=False),
    sa.Column("begun_ms", sa.BigInteger, nullable=False),
    sa.Column("begun_by", sa.String(200), nullable=False),
    sa.Column("aborted_ms", sa.BigInteger),
)

access_review_item = sa.Table(
    "access_review_item",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("review_id", sa.ForeignKey("access_review.id"), nullable=False, index=True),
    # None once the grant was deleted: its row number may be given to another.
    sa.Column("rule_id", sa.ForeignKey("access_rule.id", ondelete="SET NULL"), index=True),
    # Whose it was at the beginning; none: nobody's.
    sa.Column("owner_group_id", sa.ForeignKey("directory_group.id")),
    # Where the grant ended before, and where it ends if nobody answers.
    sa.Column("before_ms", sa.BigInteger),
    sa.Column("bound_ms", sa.BigInteger, nullable=False),
    sa.Column("verdict", sa.String(10)),
    # The end that the answer named; none: the one before.
    sa.Column("until_ms", sa.BigInteger),
    sa.Column("answered_ms", sa.BigInteger),
    sa.Column("answered_by", sa.String(200)),
    sa.Column("reason", sa.String(200)),
    sa.CheckConstraint("verdict IN ('keep', 'end', 'renew')", name="verdict"),
)

_ITEM: Final = access_review_item.c
_UNANSWERED: Final = sa.and_(_ITEM.verdict.is_(None), _ITEM.rule_id.is_not(None))


@dataclass(frozen=True, slots=True)
class Scope:
    """The grants of a zone with those inside it, or of one group; neither: all."""

    zone_id: int | None = None
    group_id: int | None = None


def take_turn(connection: Connection) -> None:
    """Let nobody else change reviews before this transaction ends; reading goes on."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE access_review IN SHARE ROW EXCLUSIVE MODE"))


def member(connection: Connection, login: str) -> Any:
    """Return row number and effective groups (JSON) of whoever has this login.

    Raises:
        NotFound: nobody has, or they are disabled.
        Conflict: two people have it.
    """
    wanted = sa.select(person.c.id, person.c.groups).where(person.c.login == login, person.c.present, person.c.enabled)
    found = connection.execute(wanted.limit(2)).all()
    if not found:
        raise NotFound("nobody who may answer has this login")
    if len(found) > 1:
        raise Conflict("the directory gives this login to more than one person")
    return found[0]


def has_grant(connection: Connection, grant: int) -> bool:
    """Tell whether there is such a grant."""
    found = sa.select(access_rule.c.id).where(access_rule.c.id == grant, access_rule.c.effect == "grant")
    return connection.execute(found).first() is not None


def set_owner(connection: Connection, table: sa.Table, number: int, group_id: int | None) -> None:
    """Have a group answer for a grant (`grant_owner`) or a zone (`zone_owner`); None: nobody of its own."""
    (key,) = table.primary_key
    if group_id is None:
        connection.execute(sa.delete(table).where(key == number))
        return
    new = insert_or(connection, table).values({key.name: number, "group_id": group_id})
    connection.execute(new.on_conflict_do_update(index_elements=[key], set_={"group_id": group_id}))


def owners(connection: Connection) -> Owners:
    """Return who answers for what; a group that is gone answers for nothing."""

    def stored(table: sa.Table) -> dict[int, int]:
        present = sa.select(table).join(directory_group).where(directory_group.c.present)
        return {row[0]: row.group_id for row in connection.execute(present)}

    return Owners(stored(grant_owner), stored(zone_owner), _parents(connection))


def _parents(connection: Connection) -> Mapping[int, int | None]:
    return {row.id: row.parent_id for row in connection.execute(sa.select(zone.c.id, zone.c.parent_id))}


def running_grants(connection: Connection, scope: Scope, now_ms: int, limit: int) -> Sequence[Any]:
    """Return id, zone (its own or its point's) and end of the grants in scope that have not ended, kept as they are."""
    rule = access_rule.c
    where = sa.func.coalesce(rule.zone_id, point.c.zone_id)
    wanted = (
        sa.select(rule.id, where.label("zone_id"), rule.valid_until_ms)
        .join(point, rule.point_id == point.c.id, isouter=True)
        .where(rule.effect == "grant", sa.or_(rule.valid_until_ms.is_(None), rule.valid_until_ms > now_ms))
    )
    if scope.zone_id is not None:
        wanted = wanted.where(where.in_(sorted(zones_inside(scope.zone_id, _parents(connection)))))
    if scope.group_id is not None:
        wanted = wanted.where(rule.group_id == scope.group_id)
    return connection.execute(wanted.order_by(rule.id).limit(limit).with_for_update(of=access_rule)).all()


def under_review(connection: Connection, now_ms: int, grant: int | None = None) -> dict[int, str]:
    """Return grant -> review, of the grants (or of one) that a running review waits for."""
    running = sa.and_(access_review.c.aborted_ms.is_(None), access_review.c.deadline_ms > now_ms)
    found = sa.select(_ITEM.rule_id, access_review.c.code).join(access_review).where(_UNANSWERED, running)
    if grant is not None:
        found = found.where(_ITEM.rule_id == grant)
    return {row.rule_id: row.code for row in connection.execute(found)}


def find_review(connection: Connection, code: str) -> sa.Row[Any] | None:
    """Return a review's row, None if there is none."""
    return connection.execute(sa.select(access_review).where(access_review.c.code == code)).first()


def begin(
    connection: Connection, review: Mapping[str, Any], grants: Sequence[Any], owned: Mapping[int, int | None]
) -> int:
    """Store a review and its items, and have each grant end at the deadline at the latest; return its row number."""
    number, deadline_ms = row_id(connection.execute(sa.insert(access_review).values(**review))), review["deadline_ms"]
    items = [
        {
            "review_id": number,
            "rule_id": grant.id,
            "owner_group_id": owned[grant.id],
            "before_ms": grant.valid_until_ms,
            "bound_ms": bound_of(grant.valid_until_ms, deadline_ms),
        }
        for grant in grants
    ]
    connection.execute(sa.insert(access_review_item), items)
    later = sa.or_(access_rule.c.valid_until_ms.is_(None), access_rule.c.valid_until_ms > deadline_ms)
    connection.execute(
        sa.update(access_rule)
        .where(access_rule.c.id.in_(sa.select(_ITEM.rule_id).where(_ITEM.review_id == number)), later)
        .values(valid_until_ms=deadline_ms)
    )
    return number


def move_bounds(connection: Connection, number: int, deadline_ms: int) -> None:
    """Have the unanswered grants of a review end at another deadline; an end set beside the review stands."""
    before = _ITEM.before_ms
    moved = sa.case((sa.or_(before.is_(None), before > deadline_ms), deadline_ms), else_=before)
    _set_ends(connection, number, moved)
    connection.execute(
        sa.update(access_review_item).where(_ITEM.review_id == number, _UNANSWERED).values(bound_ms=moved)
    )
    connection.execute(sa.update(access_review).where(access_review.c.id == number).values(deadline_ms=deadline_ms))


def abort(connection: Connection, number: int, now_ms: int) -> None:
    """Give the unanswered grants of a review their old ends; an end set beside the review stands."""
    _set_ends(connection, number, _ITEM.before_ms)
    connection.execute(sa.update(access_review).where(access_review.c.id == number).values(aborted_ms=now_ms))


def _set_ends(connection: Connection, number: int, end: sa.ColumnElement[Any]) -> None:
    its_own = sa.and_(_ITEM.review_id == number, _UNANSWERED, _ITEM.rule_id == access_rule.c.id)
    ours = sa.exists().where(its_own, _ITEM.bound_ms == access_rule.c.valid_until_ms)
    new_end = sa.select(end).where(its_own).correlate(access_rule).scalar_subquery()
    connection.execute(sa.update(access_rule).where(ours).values(valid_until_ms=new_end))


def find_item(connection: Connection, code: str, number: int) -> sa.Row[Any] | None:
    """Return an item's row with what it is about, None if there is none; its grant stays as it is meanwhile."""
    mine = sa.select(_ITEM.rule_id).where(_ITEM.id == number).scalar_subquery()
    connection.execute(sa.select(access_rule.c.id).where(access_rule.c.id == mine).with_for_update())
    return connection.execute(_items().where(_ITEM.id == number, access_review.c.code == code)).first()


def answer(connection: Connection, number: int, grant: int, ends_ms: int | None, values: Mapping[str, Any]) -> None:
    """Store the answer to an item and where its grant ends from now on."""
    connection.execute(sa.update(access_rule).where(access_rule.c.id == grant).values(valid_until_ms=ends_ms))
    connection.execute(sa.update(access_review_item).where(_ITEM.id == number).values(**values))


def _items() -> sa.Select[Any]:
    owner, subject = directory_group.alias("owner"), directory_group.alias("subject")
    rule = access_rule.c
    return (
        sa.select(
            access_review_item,
            *(access_review.c.code.label("review"), access_review.c.aborted_ms, rule.person_id, rule.use),
            *(rule.valid_until_ms.label("ends_ms"), owner.c.name.label("owner"), subject.c.name.label("group")),
            *(person.c.login, point.c.code.label("point"), zone.c.code.label("zone")),
            schedule.c.code.label("schedule"),
        )
        .join(access_review, _ITEM.review_id == access_review.c.id)
        .join(owner, _ITEM.owner_group_id == owner.c.id, isouter=True)
        .join(access_rule, _ITEM.rule_id == rule.id, isouter=True)
        .join(subject, rule.group_id == subject.c.id, isouter=True)
        .join(person, rule.person_id == person.c.id, isouter=True)
        .join(point, rule.point_id == point.c.id, isouter=True)
        .join(zone, rule.zone_id == zone.c.id, isouter=True)
        .join(schedule, rule.schedule_id == schedule.c.id, isouter=True)
    )


def items(connection: Connection, wanted: Wanted, limit: int, now_ms: int) -> Sequence[sa.Row[Any]]:
    """Return items in the order of their numbers, at most `limit`."""
    found = _items().where(_ITEM.id > wanted.after).order_by(_ITEM.id).limit(limit)
    if wanted.review is not None:
        found = found.where(access_review.c.code == wanted.review)
    if wanted.owner is not None:
        named = sa.select(directory_group.c.id).where(directory_group.c.name == wanted.owner)
        found = found.where(_ITEM.owner_group_id.in_(named))
    if wanted.nobodys:
        found = found.where(_ITEM.owner_group_id.is_(None))
    if wanted.unanswered:
        end = access_rule.c.valid_until_ms
        runs = sa.or_(end.is_(None), end > now_ms)
        found = found.where(_UNANSWERED, access_review.c.aborted_ms.is_(None), runs)
    return connection.execute(found).all()


def reviews(connection: Connection, after: int, limit: int) -> Sequence[sa.Row[Any]]:
    """Return reviews in the order of their beginning, at most `limit`."""
    found = sa.select(access_review).where(access_review.c.id > after).order_by(access_review.c.id).limit(limit)
    return connection.execute(found).all()


def unanswered_by_owner(connection: Connection, numbers: Sequence[int]) -> dict[int, dict[str | None, int]]:
    """Return review -> owner (None: nobody) -> how many grants that are still there they have not answered for."""
    counted = (
        sa.select(_ITEM.review_id, directory_group.c.name, sa.func.count())
        .join(directory_group, _ITEM.owner_group_id == directory_group.c.id, isouter=True)
        .where(_UNANSWERED, _ITEM.review_id.in_(numbers))
        .group_by(_ITEM.review_id, directory_group.c.name)
        .order_by(directory_group.c.name)
    )
    found: dict[int, dict[str | None, int]] = {}
    for review_id, name, count in connection.execute(counted):
        found.setdefault(review_id, {})[name] = count
    return found


def tallies(connection: Connection, *, deadline_after_ms: int) -> tuple[Tally, ...]:
    """Return how far the reviews are that end after an instant; aborted ones are none."""
    end = access_rule.c.valid_until_ms
    prolonged = sa.and_(_UNANSWERED, sa.or_(end.is_(None), end > _ITEM.bound_ms))

    def counted(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((condition, 1), else_=0))

    found = (
        sa.select(
            *(access_review.c.code, access_review.c.deadline_ms, sa.func.count().label("grants")),
            *(counted(_UNANSWERED).label("unanswered"), counted(prolonged).label("prolonged")),
        )
        .join(access_review, _ITEM.review_id == access_review.c.id)
        .join(access_rule, _ITEM.rule_id == access_rule.c.id, isouter=True)
        .where(access_review.c.aborted_ms.is_(None), access_review.c.deadline_ms > deadline_after_ms)
        .group_by(access_review.c.id, access_review.c.code, access_review.c.deadline_ms)
        .order_by(access_review.c.deadline_ms, access_review.c.code)
    )
    rows = connection.execute(found)
    return tuple(Tally(row.code, row.deadline_ms, row.grants, row.unanswered, row.prolonged) for row in rows)


def verdict_of(row: sa.Row[Any]) -> Verdict | None:
    """Return what was said of an item, None before anybody did."""
    return None if row.verdict is None else Verdict(row.verdict)
