# SPDX-License-Identifier: EUPL-1.2
"""Old cards brought in from a list, what is left of them in each building, and a building that needs them no longer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice import changes
from cardservice.cards import store
from cardservice.cards.bulk.rules import MAX_FAULTS, ONESELF, SEVERAL, UNKNOWN, Fault, ListRefused, fault
from cardservice.cards.bulk.service import ListUnfit, people_called
from cardservice.cards.life.service import Giver
from cardservice.cards.old.rules import KNOWN, NO_BUILDING, OldLine, read_old
from cardservice.cards.rules import BUILDING_BYTES, ENDED, OLD_BYTES, CardState, is_old, old_credential
from cardservice.cards.service import NewState, change_state_in
from cardservice.errors import NotFound
from cardservice.people.register import within
from cardservice.people.store import organisation, person

# What an old number can count for: its readers know nothing else of a card.
USES: Final = ("door", "timeclock", "printer", "canteen")
# Zones by their codes.
Zones = Callable[[Connection], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Understood:
    """How a list was understood: each line with the row numbers of who is meant and of the building."""

    lines: tuple[tuple[OldLine, int, int], ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """What is left in one building: old cards that still count, and whose they are.

    `only_old` of the people have nothing newer; the first of the cards ends at `first_end_ms`, the last at
    `last_end_ms`.
    """

    building: str
    cards: int
    people: int
    only_old: int
    first_end_ms: int
    last_end_ms: int


@dataclass(frozen=True, slots=True)
class OldList:
    """A list as it was sent, and the uses whose readers know its numbers."""

    content: bytes
    uses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OldCards:
    """Old cards in the caller's transaction, as far as somebody reaches; `zones` are their row numbers by code."""

    connection: Connection
    giver: Giver
    zones: Mapping[str, int]
    now_ms: int

    def look_at(self, sent: OldList) -> Understood:
        """Return how a list is understood. Nothing is stored.

        Raises:
            ListUnfit: the file is no list, or the uses are none.
        """
        if not sent.uses or set(sent.uses) - set(USES):
            raise ListUnfit(f"uses: at least one of {', '.join(USES)}")
        try:
            wanted, faults = read_old(sent.content, self.now_ms)
        except ListRefused as refused:
            raise ListUnfit(str(refused)) from None
        lines: list[tuple[OldLine, int, int]] = []
        for one in wanted:
            understood = self._understood(one, sent.uses)
            if isinstance(understood, Fault):
                faults.append(understood)
            else:
                lines.append((one, *understood))
        return Understood(tuple(lines), tuple(sorted(faults, key=lambda one: one.line)[:MAX_FAULTS]))

    def bring_in(self, sent: OldList) -> int:
        """Have the old cards of a list count, all of them or none; return how many.

        Raises:
            ListUnfit: something is wrong with it.
        """
        found = self.look_at(sent)
        if found.faults:
            first = found.faults[0]
            raise ListUnfit(f"line {first.line}, {first.column}: {first.message}")
        if not found.lines:
            raise ListUnfit("the list names nobody")
        changes.append(self.connection, "card", [self._add(one, sent.uses) for one in found.lines])
        return len(found.lines)

    def left(self) -> list[Left]:
        """Return what is left in each building, the one that ends first at the head."""
        names = {number: code for code, number in self.zones.items()}
        newer = _people_with_newer(self.connection, self.now_ms)
        found: dict[int, dict[int, tuple[int, int]]] = {}
        for row in self._old():
            if row.valid_until_ms > self.now_ms:
                found.setdefault(_building_of(row.key), {})[row.id] = (row.person_id, row.valid_until_ms)
        told = []
        for building, cards in found.items():
            people = {holder for holder, _ in cards.values()}
            ends = [end_ms for _, end_ms in cards.values()]
            name = names.get(building, str(building))
            told.append(Left(name, len(cards), len(people), len(people - newer), min(ends), max(ends)))
        return sorted(told, key=lambda one: (one.first_end_ms, one.building))

    def end(self, building: str) -> int:
        """Have no old card count in a building any more; return how many there were.

        Raises:
            NotFound: there is no such zone.
        """
        number = self.zones.get(building)
        if number is None:
            raise NotFound(f"there is no zone {building}")
        over = sorted({row.reference for row in self._old() if _building_of(row.key) == number})
        revoked, by = NewState(CardState.REVOKED, "replaced"), replace(self.giver.by, operation=None)
        for reference in over:
            change_state_in(self.connection, reference, revoked, self.now_ms, by)
        return len(over)

    def _old(self) -> list[Any]:
        return list(self.connection.execute(_OLD.where(within(self.giver.reaches))))

    def _understood(self, one: OldLine, uses: Sequence[str]) -> tuple[int, int] | Fault:
        """Return the row numbers of the holder and the building, or what is wrong."""
        found, building = people_called(self.connection, one.person, self.giver), self.zones.get(one.building)
        if len(found) != 1:
            return fault(one.line, "person", SEVERAL if found else UNKNOWN)
        if found[0] == self.giver.by.person:
            return fault(one.line, "person", ONESELF)
        if building is None:
            return fault(one.line, "building", NO_BUILDING)
        keys = [old_credential(use, one.number, building) for use in uses]
        known = sa.select(store.credential.c.id).where(store.credential.c.key.in_(keys)).limit(1)
        if self.connection.execute(known).first() is not None:
            return fault(one.line, "number", KNOWN)
        return found[0], building

    def _add(self, found: tuple[OldLine, int, int], uses: Sequence[str]) -> int:
        one, holder, building = found
        organisation_of = sa.select(person.c.organisation_id).where(person.c.id == holder)
        number = store.add_card(
            self.connection,
            str(uuid4()),
            self.connection.execute(organisation_of).scalar_one(),
            holder,
            [old_credential(use, one.number, building) for use in uses],
            valid_from_ms=self.now_ms,
            valid_until_ms=one.until_ms,
        )
        facts = {"actor": self.giver.by.name, "uses_ended": 0, "certificates_changed": 0}
        active = CardState.ACTIVE.value
        store.add_event(self.connection, number, at_ms=self.now_ms, before=None, after=active, **facts)
        return number


# Old cards that somebody holds and nobody has ended; one line for each of their numbers.
_OLD: Final = (
    sa.select(
        store.card.c.id,
        store.card.c.reference,
        store.card.c.person_id,
        store.card.c.valid_until_ms,
        store.credential.c.key,
    )
    .join(store.credential, store.credential.c.card_id == store.card.c.id)
    .join(person, person.c.id == store.card.c.person_id)
    .join(organisation, organisation.c.id == person.c.organisation_id)
    .where(
        sa.func.length(store.credential.c.key) == OLD_BYTES,
        ~store.credential.c.retired,
        store.card.c.state.not_in(sorted(ENDED)),
    )
)


def _people_with_newer(connection: Connection, now_ms: int) -> frozenset[int]:
    """Return who holds a card in use that is none of before."""
    chosen = (
        sa.select(store.card.c.person_id, store.credential.c.key)
        .join(store.credential, store.credential.c.card_id == store.card.c.id)
        .where(
            store.card.c.state == CardState.ACTIVE.value,
            ~store.credential.c.retired,
            store.card.c.person_id.is_not(None),
            sa.or_(store.card.c.valid_until_ms.is_(None), store.card.c.valid_until_ms > now_ms),
        )
    )
    return frozenset(row.person_id for row in connection.execute(chosen) if not is_old(bytes(row.key)))


def _building_of(key: bytes) -> int:
    return int.from_bytes(bytes(key)[-BUILDING_BYTES:])
