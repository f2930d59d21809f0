# SPDX-License-Identifier: EUPL-1.2
"""What somebody's own page says: read for one person alone, who is always whoever asks."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import structlog
from sqlalchemy.engine import Connection

from cardservice.access.record import STREAM as ACCESS
from cardservice.access.rules import Use
from cardservice.cards.rules import CardState, next_states, state_at, use_of
from cardservice.cards.service import By, NewState, change_state_in
from cardservice.clock import Clock
from cardservice.database import Databases, read, write
from cardservice.errors import CardServiceError, NotFound
from cardservice.journal.audit import STREAM as AUDIT
from cardservice.journal.service import Journal
from cardservice.journal.sign_ins import STREAM as SIGN_IN
from cardservice.keeping import DAY_MS
from cardservice.mycard import store
from cardservice.people.outsiders.service import Outsiders
from cardservice.people.outsiders.views import OutsiderView
from cardservice.pseudonyms import pseudonym_of

MAX_LINES: Final = 20
# Who looked is what one comes for: more of it, and no sign-in of one's own takes its place.
MAX_LOOKS: Final = 50
# By which limit an item ends; what is not named here goes with the account it belongs to.
LIMIT_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "door taps": "doors",
        "door taps_high": "doors_high",
        "workstation taps": "workstations",
        "timeclock taps": "timeclock_taps",
        "timeclock bookings": "time_bookings",
        "timeclock unbooked": "unbooked_taps",
        "printer taps": "printing",
        "printer releases": "printing",
        "canteen taps": "canteen_taps",
        "access": "lookups",
        "sign_in": "security_log",
        "audit": "security_log",
    }
)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OwnCard:
    """One card; `known_as` are the uses it has a number for, `reportable` says that it can be reported lost."""

    reference: str
    state: CardState
    valid_until_ms: int | None
    suspended_until_ms: int | None
    known_as: tuple[str, ...]
    reportable: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """Something one use holds: how often, since when, and when the oldest is deleted (None: no date is set)."""

    item: str
    count: int
    oldest_ms: int | None
    deleted_ms: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A tap of one's own that was refused, and why: a value of `access.rules.Reason`."""

    at_ms: int
    use: str
    point: str
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """Something about oneself on record: what it was, where, and by whom, if somebody else did it.

    `who` is a name if the one who looked can be told, else what the record calls them; `by` is "person" or "system",
    None where the line does not say.
    """

    at_ms: int
    what: str
    where: str | None
    who: str | None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a person for all uses together; `directory` is name -> value, as far as there is one."""

    directory: dict[str, str]
    pin_changed_ms: int | None
    sessions: int
    sessions_end_ms: int | None


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """Everything about one person."""

    cards: tuple[OwnCard, ...]
    entry: Entry
    uses: dict[str, tuple[Stored, ...]]
    records: tuple[Stored, ...]
    looks: tuple[Look, ...]
    sign_ins: tuple[Look, ...]
    refusals: tuple[Refusal, ...]


# Returns a secret of the key store by its purpose.
Secret = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Names:
    """What finds and opens what is about somebody: secrets of the key store, and the journal."""

    secret: Secret
    journal: Journal


@dataclass(frozen=True, slots=True)
class Kept:
    """How long things are kept: days by the names of the limits, and the points with the limit of high protection.

    `high_points` blocks and may raise DatabaseUnavailable.
    """

    days: Mapping[str, int]
    high_points: Callable[[], frozenset[str]]

    def deleted_ms(self, item: str, at_ms: int | None) -> int | None:
        """Return when an item of this age is deleted, None if no date is set for it."""
        limit = LIMIT_OF.get(item)
        return None if limit is None or at_ms is None else at_ms + self.days[limit] * DAY_MS


class MyCard:
    """Answers whoever asks about themselves. Everything blocks and may raise DatabaseUnavailable."""

    def __init__(
        self, databases: Databases, names: Names, clock: Clock, publish: Callable[[], None], kept: Kept
    ) -> None:
        self._databases, self._secret, self._journal = databases, names.secret, names.journal
        self._clock, self._publish, self._kept = clock, publish, kept

    def cards(self, person: int) -> tuple[OwnCard, ...]:
        """Return the cards of a person, the newest first."""
        now_ms = self._clock.now_ms()
        with read(self._databases.state) as connection:
            return self._cards(connection, person, now_ms)

    def record(self, person: int) -> OwnRecord:
        """Return everything that is stored about a person."""
        now_ms = self._clock.now_ms()
        with read(self._databases.state) as connection:
            cards, entry = self._cards(connection, person, now_ms), _entry(connection, person)
        with read(self._databases.record) as connection:
            found = OwnRecord(
                cards=cards,
                entry=entry,
                uses={use.value: self._stored(connection, use.value, person) for use in Use},
                records=tuple(self._lines(connection, stream, person) for stream in (ACCESS, SIGN_IN, AUDIT)),
                looks=self._looks(connection, person),
                sign_ins=self._sign_ins(connection, person),
                refusals=self._refusals(connection, person),
            )
        return replace(found, looks=self._with_names(found.looks))

    @property
    def leavers_days(self) -> int:
        """For how many days somebody's name is kept after they left."""
        return self._kept.days["leavers"]

    def outsiders(self, person: int) -> tuple[OutsiderView, ...]:
        """Return the people outside the directory whom a person answers for."""
        return Outsiders(self._databases.state, self._clock).of_sponsor(person)

    def report_lost(self, person: int, reference: str) -> None:
        """Revoke a card of one's own, for every use at once.

        Raises:
            NotFound: no card of theirs is called so.
            Conflict: it is not in use any more.
        """
        with write(self._databases.state) as connection:
            if not store.own_card(connection, person, reference):
                raise NotFound("you have no such card")
            lost, by = NewState(CardState.REVOKED, "lost"), By("the holder", person)
            change_state_in(connection, reference, lost, self._clock.now_ms(), by)
        try:
            self._publish()
        except CardServiceError as error:
            # The card is revoked; whoever follows the change log applies it in any case.
            _log.error("change.not_published", error=str(error))

    def _cards(self, connection: Connection, person: int, now_ms: int) -> tuple[OwnCard, ...]:
        keys = store.keys_of_cards(connection, person)
        found = []
        for row in store.cards_of(connection, person):
            state = state_at(CardState(row.state), row.suspended_until_ms, now_ms)
            known_as = tuple(sorted({use_of(key) for key in keys.get(row.id, ())}))
            until_ms = row.suspended_until_ms if state is CardState.SUSPENDED else None
            reportable = CardState.REVOKED in next_states(state)
            found.append(OwnCard(row.reference, state, row.valid_until_ms, until_ms, known_as, reportable))
        return tuple(found)

    def _stored(self, connection: Connection, use: str, person: int) -> tuple[Stored, ...]:
        items = store.ITEMS[use]
        # A use without items names nobody outside the journal, and has no secret for it.
        pseudonym = pseudonym_of(self._secret(f"{use} pseudonym"), person) if items else ""
        counted = (self._dated(use, item, count(connection, pseudonym)) for item, count in items.items())
        return (*self._taps(connection, use, person), *counted)

    def _taps(self, connection: Connection, use: str, person: int) -> tuple[Stored, ...]:
        """Return the lines of a use; those of points of high protection apart, where their limit is another one."""
        subject, high = self._subject(use, person), sorted(self._kept.high_points()) if use == Use.DOOR else []
        plain = self._dated(use, "taps", store.journal_lines(connection, use, subject, beside=high))
        if not high:
            return (plain,)
        return plain, self._dated(use, "taps_high", store.journal_lines(connection, use, subject, only=high))

    def _lines(self, connection: Connection, stream: str, person: int) -> Stored:
        amount = store.journal_lines(connection, stream, self._subject(stream, person))
        return Stored(stream, amount.count, amount.oldest_ms, self._kept.deleted_ms(stream, amount.oldest_ms))

    def _dated(self, use: str, item: str, amount: store.Amount) -> Stored:
        deleted_ms = self._kept.deleted_ms(f"{use} {item}", amount.oldest_ms)
        return Stored(item, amount.count, amount.oldest_ms, deleted_ms)

    def _looks(self, connection: Connection, person: int) -> tuple[Look, ...]:
        found = []
        for line in store.newest_lines(connection, ACCESS, self._subject(ACCESS, person), MAX_LOOKS):
            facts = json.loads(line.payload)
            who = _text((self._journal.open_sealed(connection, line.place) or {}).get("caller"))
            found.append(
                Look(line.at_ms, str(facts.get("kind")), _text(facts.get("point")), who, _text(facts.get("by")))
            )
        return tuple(found)

    def _with_names(self, looks: Sequence[Look]) -> tuple[Look, ...]:
        """Return the looks with the names of the people who looked, as far as a login is one person's."""
        logins = {one.who for one in looks if one.who is not None and one.by == "person"}
        if not logins:
            return tuple(looks)
        with read(self._databases.state) as connection:
            names = store.names_of(connection, logins)
        return tuple(
            replace(one, who=names.get(one.who or "", one.who)) if one.by == "person" else one for one in looks
        )

    def _sign_ins(self, connection: Connection, person: int) -> tuple[Look, ...]:
        lines = store.newest_lines(connection, SIGN_IN, self._subject(SIGN_IN, person), MAX_LINES)
        return tuple(Look(one.at_ms, str(json.loads(one.payload).get("outcome")), None, None) for one in lines)

    def _refusals(self, connection: Connection, person: int) -> tuple[Refusal, ...]:
        found = []
        for use in Use:
            for line in store.newest_refusals(connection, use, self._subject(use, person), MAX_LINES):
                facts = json.loads(line.payload)
                found.append(Refusal(line.at_ms, use.value, facts["point"], facts["reason"]))
        return tuple(sorted(found, key=lambda one: -one.at_ms)[:MAX_LINES])

    def _subject(self, stream: str, person: int) -> str:
        """Return what the journal calls a person in one stream."""
        return pseudonym_of(self._secret(f"journal {stream} pseudonym"), person)


def _entry(connection: Connection, person: int) -> Entry:
    row = store.directory_entry(connection, person)
    count, ends_ms = store.sessions_of(connection, person)
    named = ("name", "login", "mail", "personnel_number", "department", "cost_centre")
    values = {} if row is None else {name: str(getattr(row, name)) for name in named if getattr(row, name)}
    return Entry(values, store.pin_changed_ms(connection, person), count, ends_ms)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
