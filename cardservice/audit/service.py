# SPDX-License-Identifier: EUPL-1.2
"""Reading the record: its open part, and, once somebody else approved it, the names of a few lines."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.engine import Connection

from cardservice.approvals.rules import State
from cardservice.approvals.service import Approvals
from cardservice.audit import store
from cardservice.audit.opening import OPEN, chosen_of
from cardservice.audit.rules import MAX_LINES, READABLE_MS, Filter, Line, Position, Selection, Stream
from cardservice.audit.store import Human
from cardservice.clock import Clock
from cardservice.database import Databases, read
from cardservice.errors import Conflict, NotFound
from cardservice.journal.rules import Place, Scalar
from cardservice.journal.service import Journal
from cardservice.pseudonyms import pseudonym_of
from cardservice.web.gate import Actor
from cardservice.web.looks import Look

# Under whose number lines about nobody are sealed.
NOBODY: Final = 0

# Returns a secret of the key store by its purpose.
Secret = Callable[[str], bytes]
# Has the lines of these looks on disk when it returns.
KeepLooks = Callable[[Sequence[Look]], None]


class NotReadable(Conflict):
    """The lines are not open for this person at this moment."""

    code = "not_open"


@dataclass(frozen=True, slots=True)
class OpenedLine:
    """One line with what was sealed: who it was by and about, and why; None where it says nothing of that.

    `erased`: it had a sealed part, which is gone.
    """

    line: Line
    who: str | None
    about: str | None
    reason: str | None
    erased: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """The lines of one approved request, the newest first, readable until an instant."""

    number: int
    reason: str
    approved_by: str
    until_ms: int
    lines: tuple[OpenedLine, ...]


class AuditTrail:
    """Answers auditors. Everything blocks and may raise DatabaseUnavailable."""

    def __init__(self, databases: Databases, secret: Secret, journal: Journal, clock: Clock) -> None:
        self._databases, self._secret, self._journal, self._clock = databases, secret, journal, clock

    def lines(self, wanted: Filter, below: Position | None, limit: int) -> list[Line]:
        """Return the open part of the newest lines that fit, newest first."""
        with read(self._databases.record) as connection:
            return store.newest(connection, wanted, below, limit)

    def chosen(self, selection: Selection) -> list[Line]:
        """Return the open part of the lines of a selection, at most one more than may be opened."""
        with read(self._databases.record) as connection:
            return _chosen(connection, selection)

    def opened(self, approvals: Approvals, keep: KeepLooks, actor: Actor, number: int) -> Opened:
        """Return the lines of a request of one's own that was approved, with names.

        Everybody whose name is shown is told of it first, and so is whoever audits.

        Raises:
            NotFound: there is no such request of theirs.
            NotReadable: nobody approved it, or that was too long ago.
        """
        seen = approvals.one(actor, number)
        request, answer = seen.request, seen.request.answer
        if request.kind != OPEN or not seen.own:
            raise NotFound(f"there is no request {number} of yours that opens lines")
        if seen.state is not State.APPROVED or answer is None:
            raise NotReadable("the request is not approved")
        until_ms = answer.at_ms + READABLE_MS
        if self._clock.now_ms() >= until_ms:
            raise NotReadable("the lines could be read for 24 hours; that is over, ask anew")
        with read(self._databases.state) as connection:
            humans = tuple(store.everybody(connection))
        with read(self._databases.record) as connection:
            lines = _chosen(connection, chosen_of(request.content))[:MAX_LINES]
            reader = _Reader(connection, self._journal, self._secret, humans)
            opened, named = reader.open(lines)
        facts: dict[str, Scalar] = {"approval": number}
        looks = [Look("journal_opened", actor, one, {**facts, "lines": count}) for one, count in named.items()]
        keep([Look("journal_read", actor, facts={**facts, "lines": len(lines)}), *looks])
        return Opened(number, request.reason, answer.by.login, until_ms, opened)


def _chosen(connection: Connection, selection: Selection) -> list[Line]:
    if selection.range is None:
        return store.at(connection, selection.entries)
    return store.newest(connection, selection.range, None, MAX_LINES + 1)


class _Reader:
    """Opens lines within one transaction, and remembers whom they name."""

    def __init__(self, connection: Connection, journal: Journal, secret: Secret, humans: Sequence[Human]) -> None:
        self._connection, self._journal = connection, journal
        self._secret, self._humans = secret, humans
        self._by_login = {one.login: one for one in humans if one.login is not None}

    def open(self, lines: Sequence[Line]) -> tuple[tuple[OpenedLine, ...], Counter[int]]:
        """Return the lines with names, and person (row number) -> in how many of them they are named."""
        carried = store.pseudonyms(self._connection, [line.place for line in lines])
        subjects = self._subjects(carried)
        opened, named = [], Counter[int]()
        for line in lines:
            one, humans = self._opened(line, subjects.get(line.place), sealed=line.place in carried)
            opened.append(one)
            named.update({human.person for human in humans})
        return tuple(opened), named

    def _subjects(self, carried: Mapping[Place, str]) -> dict[Place, Human]:
        """Return whose pseudonym each line carries: a pseudonym leads to nobody, so everybody's is made anew."""
        known: dict[tuple[str, str], Human] = {}
        for stream in {place.stream for place in carried}:
            secret = self._secret(f"journal {stream} pseudonym")
            known |= {(stream, pseudonym_of(secret, one.person)): one for one in self._humans}
        found = {place: known.get((place.stream, pseudonym)) for place, pseudonym in carried.items()}
        return {place: human for place, human in found.items() if human is not None}

    def _opened(self, line: Line, subject: Human | None, *, sealed: bool) -> tuple[OpenedLine, list[Human]]:
        personal = self._journal.open_sealed(self._connection, line.place)
        erased = sealed and personal is None
        said = {} if personal is None else personal
        if line.place.stream == Stream.ACCESS:
            by, login = _text(said, "caller", "by"), _text(said, "login")
            actor = None if line.facts.get("by") == "system" else self._by_login.get(by or "")
            about = None if erased else subject or self._by_login.get(login or "")
        else:
            by, login = _text(said, "login", "os_user"), None
            actor, about = None if erased else subject, None
        account = line.facts.get("account")
        who = _told(actor) or by or (account if isinstance(account, str) else None)
        named = [one for one in (about, actor) if one is not None]
        return OpenedLine(line, who, _told(about) or login, _text(said, "reason"), erased), named


def _told(human: Human | None) -> str | None:
    if human is None:
        return None
    return human.name if human.login is None else f"{human.name} ({human.login})"


def _text(personal: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of these that is there."""
    return next((value for name in names if isinstance(value := personal.get(name), str)), None)
