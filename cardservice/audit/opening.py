# SPDX-License-Identifier: EUPL-1.2
"""Opening the sealed part of a few lines: one asks, somebody else of the staff council or data protection approves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy.engine import Connection

from cardservice.approvals.kinds import ContentRefused, Facts, Kind
from cardservice.approvals.rules import Content, Request
from cardservice.audit.rules import MAX_LINES, Line, Selection, Stream, content_of, selection_of
from cardservice.audit.words import title_of
from cardservice.web.i18n import Language, marked, translated, when
from cardservice.web.operations import Role

OPEN: Final = "journal.open"
OPENED: Final = "/audit/opened/{}"
STREAMS: Final[Mapping[Stream, str]] = {
    Stream.AUDIT: marked("Changes asked for"),
    Stream.ACCESS: marked("Look-ups and access"),
    Stream.SIGN_IN: marked("Sign-ins"),
}
_LABELS: Final = {
    "lines": marked("How many lines"),
    "entries": marked("Which lines"),
    "stream": marked("What"),
    "all": marked("Everything the record pages show"),
    "operation": marked("Operation"),
    "request": marked("Request id"),
    "account": marked("Account"),
    "from": marked("From"),
    "until": marked("Until"),
    "opens": marked("What is opened"),
    "told": marked("names, logins and reasons, for whoever asked and for 24 hours; everybody named is told"),
}
# So many are told one by one.
_NAMED: Final = 10

# Returns the open part of the lines of a selection, at most one more than may be opened. Blocks.
ShowLines = Callable[[Selection], Sequence[Line]]
Now = Callable[[], int]


def opening_kind(show: ShowLines, now_ms: Now) -> Kind:
    """Return the kind of request that opens lines."""

    def accept(content: Content) -> Content:
        asked = {name: value for name, value in content.items() if name != "lines"}
        selection = selection_of(asked)
        found = selection.range
        if found is not None and (found.until_ms or 0) > now_ms():
            raise ContentRefused("until_ms: the range must be over, so that no line is added to it later")
        lines = len(show(selection))
        if not 1 <= lines <= MAX_LINES:
            raise ContentRefused(f"1 to {MAX_LINES} lines can be opened at a time; these are {'more' if lines else 0}")
        if selection.entries and lines != len(selection.entries):
            raise ContentRefused("entries: not all of these lines exist")
        return {**content_of(selection), "lines": lines}

    def describe(content: Content, language: Language) -> Facts:
        return described(content, show(chosen_of(content)), language)

    return Kind(
        name=OPEN,
        title=marked("Open lines of the record"),
        asks=OPEN,
        approves=frozenset({Role.STAFF_COUNCIL, Role.DATA_PROTECTION}),
        accept=accept,
        describe=describe,
        carry_out=_nothing,
        result=OPENED,
    )


def chosen_of(content: Content) -> Selection:
    """Return which lines a request that was accepted is about."""
    return selection_of({name: value for name, value in content.items() if name != "lines"})


def described(content: Content, lines: Sequence[Line], language: Language) -> Facts:
    """Say which lines a request is about: how many, of which filter, and what the first of them say openly."""
    words = {name: translated(language, text) for name, text in _LABELS.items()}
    found = [(words["lines"], str(content["lines"]))]
    selection = chosen_of(content)
    if selection.range is not None:
        found += _range(content, words, language)
    first = [f"{when(line.at_ms, language)}: {title_of(line, language)[0]}" for line in lines[:_NAMED]]
    more = ["…"] if len(lines) > _NAMED else []
    found.append((words["entries"], "; ".join([*first, *more])))
    return [*found, (words["opens"], words["told"])]


def _range(content: Content, words: Mapping[str, str], language: Language) -> list[tuple[str, str]]:
    stream = content.get("stream")
    what = words["all"] if stream is None else translated(language, STREAMS[Stream(stream)])
    said: dict[str, Any] = {"stream": what, "from": when(content["from_ms"], language)}
    said |= {"until": when(content["until_ms"], language)}
    said |= {name: content[name] for name in ("operation", "request", "account") if name in content}
    return [(words[name], str(value)) for name, value in said.items()]


def _nothing(_: Connection, __: Request) -> None:
    """Nothing is to be carried out: the approval itself is what opens the lines, for a while."""
