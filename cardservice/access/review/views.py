# SPDX-License-Identifier: EUPL-1.2
"""What lists show of reviews and of the grants in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from cardservice.access.review import store
from cardservice.access.review.rules import ItemState, Reviewed


@dataclass(frozen=True, slots=True)
class Due:
    """How many grants an owner (None: nobody, so the administrator) has not answered for."""

    owner: str | None
    unanswered: int


@dataclass(frozen=True, slots=True)
class ReviewView:
    """One review; neither zone nor group: of all grants."""

    number: int
    code: str
    name: str
    zone: str | None
    group: str | None
    deadline_ms: int
    begun_ms: int
    begun_by: str
    aborted_ms: int | None
    due: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class ItemView:
    """A grant in a review: for a group or a login, at a point, in a zone or at a use. Names people.

    It ended at `before_ms` before the review, ends at `bound_ms` if nobody answers, and at `ends_ms` as it stands.
    """

    item: int
    review: str
    state: ItemState
    grant: int | None
    owner: str | None
    group: str | None
    login: str | None
    point: str | None
    zone: str | None
    use: str | None
    schedule: str | None
    before_ms: int | None
    bound_ms: int
    ends_ms: int | None
    answered_ms: int | None
    answered_by: str | None
    reason: str | None


def reviewed(row: Any) -> Reviewed:
    """Return what the rules want to know of an item's row."""
    return Reviewed(
        before_ms=row.before_ms,
        bound_ms=row.bound_ms,
        ends_ms=row.ends_ms,
        verdict=store.verdict_of(row),
        deleted=row.rule_id is None,
        aborted=row.aborted_ms is not None,
    )


def review_views(connection: Connection, rows: Sequence[Any]) -> tuple[ReviewView, ...]:
    """Return reviews with what is due in them."""
    due = store.unanswered_by_owner(connection, [row.id for row in rows])
    return tuple(
        ReviewView(
            number=row.id,
            code=row.code,
            name=row.name,
            zone=row.zone,
            group=row.group,
            deadline_ms=row.deadline_ms,
            begun_ms=row.begun_ms,
            begun_by=row.begun_by,
            aborted_ms=row.aborted_ms,
            due=tuple(Due(owner, count) for owner, count in due.get(row.id, {}).items()),
        )
        for row in rows
    )


def item_view(row: Any, now_ms: int) -> ItemView:
    """Return an item as it is at an instant."""
    return ItemView(
        item=row.id,
        review=row.review,
        state=reviewed(row).state(now_ms),
        grant=row.rule_id,
        owner=row.owner,
        group=row.group,
        login=row.login,
        point=row.point,
        zone=row.zone,
        use=row.use,
        schedule=row.schedule,
        before_ms=row.before_ms,
        bound_ms=row.bound_ms,
        ends_ms=row.ends_ms,
        answered_ms=row.answered_ms,
        answered_by=row.answered_by,
        reason=row.reason,
    )
