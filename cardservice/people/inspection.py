# SPDX-License-Identifier: EUPL-1.2
"""What the copy knows of one person, beside what the directory says now: so that a mapping can be checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.database import read
from cardservice.people.rules import DirectoryPerson
from cardservice.people.status import instant
from cardservice.people.store import person

MOST_SHOWN: Final = 20
_COMPARED: Final = tuple(one.name for one in fields(DirectoryPerson) if one.name != "stable_id")
# The years 1 to 9999: what lies beyond stands for an end that is not known.
_CALENDAR_MS: Final = range(-62_135_596_800_000, 253_402_300_800_000)


@dataclass(frozen=True, slots=True)
class Known:
    """A person of the copy; `present` is False once the directory no longer names them."""

    directory: str
    stable_id: str
    present: bool
    groups: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """What the directory says now: `person` None for nobody, `trouble` why it says nothing.

    `shown` are the attributes it showed of them, as the manuals spell them, by the field they belong to; `sources`
    those that a field may come from.
    """

    server: str = ""
    person: DirectoryPerson | None = None
    trouble: str | None = None
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shown: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """One person in one directory; `known` is None if the copy has nobody with this login."""

    directory: str
    login: str
    known: Known | None
    said: Said

    @property
    def differences(self) -> tuple[str, ...]:
        """Return the fields in which copy and directory differ; nothing where one of them says nothing."""
        if self.known is None or self.said.person is None:
            return ()
        values, now = self.known.values, self.said.person
        return tuple(name for name in _COMPARED if values[name] != getattr(now, name))

    def troubles(self) -> list[str]:
        """Return what is wrong, one sentence each."""
        said, known = self.said, self.known
        found = []
        if said.trouble is not None:
            found.append(f"the directory does not say what it knows now: {said.trouble}")
        elif known is None and said.person is not None:
            found.append("the directory names this person and the copy does not: does the service follow it?")
        elif known is not None and known.present and said.person is None:
            found.append("the copy has this person and the directory shows them no longer")
        elif known is not None and not known.present and said.person is not None:
            found.append("the directory shows this person and the copy lost them: does the service follow it?")
        if said.unreadable:
            found.append(f"cannot be read, and what decides about access disables: {', '.join(said.unreadable)}")
        if known is not None and said.person is not None:
            for name in self.differences:
                has, says = _text(name, known.values[name]), _text(name, getattr(said.person, name))
                found.append(f"{_label(name)} differs: the copy has {has}, the directory says {says}")
        return found

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        known, now = self.known, self.said.person
        return {
            "directory": self.directory,
            "login": self.login,
            "stable_id": known.stable_id if known is not None else now.stable_id if now is not None else None,
            "copy": None if known is None else {**known.values, "present": known.present, "groups": known.groups},
            "now": None if now is None else {name: getattr(now, name) for name in _COMPARED},
            "server": self.said.server or None,
            "sources": {name: list(names) for name, names in self.said.sources.items()},
            "shown": {name: list(names) for name, names in self.said.shown.items()},
            "differences": list(self.differences),
            "troubles": self.troubles(),
        }

    def text(self) -> str:
        """Return it as an administrator reads it."""
        lines = [f"directory {self.directory}: {self._heading()}"]
        values = self._values()
        if values:
            lines += [f"  {_label(name):<17} {_text(name, values[name]):<40} {self._from(name)}" for name in _COMPARED]
            lines += [f"  {'groups':<17} {self.known.groups}"] if self.known is not None else []
            lines += [f"  {'photo':<17} {self._photo()}"]
        if self.said.trouble is None:
            same = self.known is not None and self.said.person is not None and not self.differences
            lines.append(f"  {self.said.server} {'says the same' if same else 'was asked'} now")
        lines += [f"  WRONG  {trouble}" for trouble in self.troubles()]
        return "\n".join(line.rstrip() for line in lines)

    def _heading(self) -> str:
        if self.known is None:
            nobody = f"nobody has the login {self.login!r}, neither in the copy nor now"
            return nobody if self.said.person is None else "not in the copy; this is what the directory shows now"
        return "in the copy" if self.known.present else "in the copy as gone; this is what was known last"

    def _values(self) -> Mapping[str, Any]:
        if self.known is not None:
            return self.known.values
        now = self.said.person
        return {} if now is None else {name: getattr(now, name) for name in _COMPARED}

    def _from(self, name: str) -> str:
        """Say where a value comes from: what the entry shows of it, or what it would be taken from."""
        sources = self.said.sources.get(name)
        if name == "dn" or sources is None:
            return ""
        if not sources:
            return "no attribute is mapped"
        if self.said.person is None:
            return f"from {' or '.join(sources)}"
        shown = self.said.shown.get(name, ())
        return f"from {', '.join(shown)}" if shown else f"{' or '.join(sources)}: not there"

    def _photo(self) -> str:
        if not self.said.sources.get("photo"):
            return "no attribute is mapped"
        return f"{self.said.sources['photo'][0]}, read only when it is asked for (--photo FILE)"


def known_by_login(engine: Engine, login: str) -> list[Known]:
    """Return whoever has this login in any directory, in whatever case it is written; present ones first.

    Raises:
        DatabaseUnavailable: the state store cannot be read.
    """
    same = (person.c.login == login) | (sa.func.lower(person.c.login) == login.lower())
    wanted = sa.select(person).where(same).order_by(person.c.present.desc(), person.c.id.desc()).limit(MOST_SHOWN)
    with read(engine) as connection:
        rows = connection.execute(wanted).all()
    return [
        Known(
            row.directory,
            row.stable_id,
            row.present,
            len(json.loads(row.groups)),
            {name: getattr(row, name) for name in _COMPARED},
        )
        for row in rows
    ]


def _label(name: str) -> str:
    return name.removesuffix("_ms").replace("_", " ")


def _text(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_ms"):
        return instant(value) if value in _CALENDAR_MS else "no known instant"
    return str(value)
