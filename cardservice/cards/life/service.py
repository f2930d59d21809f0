# SPDX-License-Identifier: EUPL-1.2
"""Giving, replacing, lending and taking back cards. Each is one transaction, which the caller opens."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice import changes
from cardservice.cards import store
from cardservice.cards.life import stock
from cardservice.cards.life.persons import is_same
from cardservice.cards.life.rules import PROFILES, TEMPORARY, Profile, ends_ms, needs_second
from cardservice.cards.rules import ENDED, CardState, desfire_credential, state_at
from cardservice.cards.service import By, Effects, NewState, OwnCard, change_state_in, end_replaced
from cardservice.errors import Conflict, NotFound
from cardservice.people.register import within
from cardservice.people.store import organisation, person
from cardservice.web.reach import Reach

MAX_EVENTS: Final = 200
_REPLACED: Final = NewState(CardState.REVOKED, "replaced")


class GiftRefused(Conflict):
    """A card cannot be given so."""

    code = "gift_refused"


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gives a card, and whose people are within their reach."""

    by: By
    reaches: tuple[Reach, ...]


@dataclass(frozen=True, slots=True)
class Gift:
    """A card for somebody: the holder's row number, what it is for, and its number (12 bytes) of each use.

    Without numbers it has to be produced first. Instants None: from now on, as long as the profile allows.
    """

    person: int
    profile: str
    numbers: Mapping[str, bytes] = field(default_factory=dict)
    from_ms: int | None = None
    until_ms: int | None = None
    delivery: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Which card a new one replaces, or stands in for; row numbers."""

    replaces_id: int | None = None
    stands_in_for_id: int | None = None


def give(connection: Connection, gift: Gift, giver: Giver, now_ms: int, link: Link | None = None) -> str:
    """Give somebody a card; return its reference.

    Raises:
        NotFound: nobody within reach has this number.
        OwnCard: it would be one's own.
        GiftRefused: the profile, its uses, the time or the stock do not allow it.
    """
    link = link or Link()
    profile = _profile(gift)
    organisation_id = _holder(connection, gift, giver)
    begin_ms = now_ms if gift.from_ms is None else gift.from_ms
    end_ms = _end(gift, profile, begin_ms, now_ms)
    state = _first_state(gift)
    reference, keys = str(uuid4()), [desfire_credential(use, number) for use, number in sorted(gift.numbers.items())]
    if gift.delivery is not None:
        stock.take(connection, gift.delivery, organisation_id)
    values = {"state": state.value, "profile": profile.name, "valid_from_ms": begin_ms, "valid_until_ms": end_ms}
    links = {"replaces_id": link.replaces_id, "stands_in_for_id": link.stands_in_for_id, "delivery_id": gift.delivery}
    try:
        number = store.add_card(connection, reference, organisation_id, gift.person, keys, **values, **links)
    except sa.exc.IntegrityError as error:
        raise GiftRefused("a number of the new card already belongs to another card") from error
    facts: dict[str, Any] = {"actor": giver.by.name, "uses_ended": 0, "certificates_changed": 0}
    store.add_event(connection, number, at_ms=now_ms, after=state.value, second_actor=giver.by.second, **facts)
    changes.append(connection, "card", [number])
    if state is CardState.ACTIVE:
        end_replaced(connection, link.replaces_id, now_ms, _within_itself(giver.by))
    return reference


def replace_card(connection: Connection, reference: str, gift: Gift, giver: Giver, now_ms: int) -> str:
    """Give the holder of a card another one, which lasts as long as the old one; return its reference.

    The old one ends when the new one counts. What belongs to the person (wallet, grants, history) stays with them.

    Raises:
        NotFound, OwnCard, GiftRefused: as `give`.
        Conflict: the card is nobody's, or is being replaced already.
    """
    old = _locked(connection, reference)
    if old.person_id is None or old.state in {CardState.STOCK, CardState.DESTROYED}:
        raise Conflict(f"card {reference} is nobody's: give a new one")
    _require_alone(connection, old)
    until_ms = old.valid_until_ms if old.valid_until_ms is not None and old.valid_until_ms > now_ms else None
    wanted = replace(gift, person=old.person_id, profile=old.profile or gift.profile, until_ms=until_ms)
    return give(connection, wanted, giver, now_ms, Link(replaces_id=old.id))


def lend(connection: Connection, reference: str, gift: Gift, giver: Giver, now_ms: int) -> str:
    """Give whoever has forgotten their card a temporary one for this shift; return its reference.

    Their own card is suspended until the temporary one is handed back: a tap of it changes nothing.

    Raises:
        NotFound, OwnCard, GiftRefused: as `give`.
        Conflict: the card has ended, or another one stands for it already.
    """
    main = _locked(connection, reference)
    _require_alone(connection, main)
    state = state_at(CardState(main.state), main.suspended_until_ms, now_ms)
    if main.person_id is None or main.profile == TEMPORARY or state not in {CardState.ACTIVE, CardState.SUSPENDED}:
        raise Conflict(f"card {reference} is {state}: there is nothing to stand in for")
    if state is CardState.SUSPENDED and main.state_reason != "forgotten":
        raise Conflict(f"card {reference} is suspended, and not because it was forgotten")
    wanted = replace(gift, person=main.person_id, profile=TEMPORARY)
    temporary = give(connection, wanted, giver, now_ms, Link(stands_in_for_id=main.id))
    if state is CardState.ACTIVE:
        forgotten = NewState(CardState.SUSPENDED, "forgotten")
        change_state_in(connection, reference, forgotten, now_ms, _within_itself(giver.by))
    elif main.suspended_until_ms is not None:
        # An end of its own would bring it back beside the temporary one.
        store.set_state(connection, main.id, CardState.SUSPENDED, "forgotten", None)
        changes.append(connection, "card", [main.id])
    return temporary


def hand_back(connection: Connection, reference: str, giver: Giver, now_ms: int) -> str | None:
    """Take a temporary card back and let the forgotten one count again; return that one's reference.

    None: that one has ended meanwhile, or is suspended for another reason by now.

    Raises:
        NotFound: no such card.
        OwnCard: it is one's own.
        Conflict: it stands in for none, or has ended.
    """
    temporary = _locked(connection, reference)
    by = _within_itself(giver.by)
    if temporary.stands_in_for_id is None:
        raise Conflict(f"card {reference} stands in for no other card")
    if is_same(connection, by.person, temporary.person_id):
        raise OwnCard("nobody hands a card back to themselves: a colleague takes it")
    if temporary.state not in {CardState.REVOKED, CardState.EXPIRED}:
        change_state_in(connection, reference, _REPLACED, now_ms, by)
    change_state_in(connection, reference, NewState(CardState.RETURNED), now_ms, by)
    main = store.card_numbered(connection, temporary.stands_in_for_id)
    if main is None or (main.state, main.state_reason) != (CardState.SUSPENDED, "forgotten"):
        return None
    if main.valid_until_ms is not None and main.valid_until_ms <= now_ms:
        return None
    change_state_in(connection, main.reference, NewState(CardState.ACTIVE), now_ms, by)
    return str(main.reference)


def report_lost(connection: Connection, person_id: int, by: By, now_ms: int) -> list[tuple[str, Effects]]:
    """Revoke every card of somebody that is not over, for every use at once; return them and what followed.

    Their own ones as well, the ordered ones among them: whoever has lost a card may always say so.
    """
    chosen = sa.select(store.card.c.reference).where(
        store.card.c.person_id == person_id, store.card.c.state.not_in(sorted(ENDED))
    )
    lost, reporter = NewState(CardState.REVOKED, "lost"), replace(_within_itself(by), person=None)
    return [
        (one, change_state_in(connection, one, lost, now_ms, reporter))
        for one in connection.execute(chosen.order_by(store.card.c.id)).scalars().all()
    ]


def _within_itself(by: By) -> By:
    """Return the same actor for a step that belongs to what they may do as a whole."""
    return replace(by, operation=None)


def _locked(connection: Connection, reference: str) -> sa.Row[Any]:
    found = store.lock(connection, reference)
    if found is None:
        raise NotFound(f"there is no card {reference}")
    return found


def _require_alone(connection: Connection, old: sa.Row[Any]) -> None:
    if store.in_its_place(connection, old.id):
        raise Conflict(f"another card stands for card {old.reference} already: take that one back first")


def _profile(gift: Gift) -> Profile:
    found = PROFILES.get(gift.profile)
    if found is None:
        raise GiftRefused(f"profile: allowed are {', '.join(sorted(PROFILES))}")
    foreign = sorted(set(gift.numbers) - found.uses)
    if foreign:
        raise GiftRefused(f"a card for {found.name} is not for {', '.join(foreign)}")
    return found


def _holder(connection: Connection, gift: Gift, giver: Giver) -> int:
    """Return the holder's organisation."""
    chosen = sa.select(person.c.organisation_id, person.c.present).join(
        organisation, person.c.organisation_id == organisation.c.id
    )
    row = connection.execute(chosen.where(person.c.id == gift.person, within(giver.reaches))).first()
    if row is None:
        raise NotFound(f"there is no person {gift.person}")
    if is_same(connection, giver.by.person, gift.person):
        raise OwnCard("nobody gives a card to themselves: a colleague does")
    if not row.present:
        raise GiftRefused(f"person {gift.person} has left")
    return int(row.organisation_id)


def _end(gift: Gift, profile: Profile, begin_ms: int, now_ms: int) -> int:
    latest_ms = ends_ms(profile, begin_ms)
    end_ms = latest_ms if gift.until_ms is None else gift.until_ms
    if not max(begin_ms, now_ms) < end_ms <= latest_ms:
        raise GiftRefused(f"until: after it begins, and at most as long as {profile.name} allows")
    return end_ms


def _first_state(gift: Gift) -> CardState:
    if not gift.numbers:
        return CardState.IN_PRODUCTION
    # Whatever takes two people waits for the second one.
    return CardState.READY_FOR_PICKUP if needs_second(gift.profile, CardState.ACTIVE) else CardState.ACTIVE
