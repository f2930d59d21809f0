# SPDX-License-Identifier: EUPL-1.2
"""`cardservice access ...`: why, what if, and the model as one file. Each command imports what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cardservice.access.review.commands import review
from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, open_stores, show
from cardservice.errors import SettingsError

if TYPE_CHECKING:
    from cardservice.access.explain.api import ExplainedAnswer
    from cardservice.access.explain.sentences import Writer
    from cardservice.access.explain.service import Explainer
    from cardservice.access.plan.service import Outlook, Plans
    from cardservice.access.rules import Level

# A longer list of changes is read in the files themselves.
MAX_LINES: Final = 500
FileArgument = Annotated[Path, typer.Argument(help="A file as 'cardservice access export' prints it.")]
access = typer.Typer(no_args_is_help=True, help="Who may pass, when and how.")
access.add_typer(review, name="review")


@access.command("explain")
@clearly
def access_explain(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    point: Annotated[str, typer.Option(help="Code of the point.")],
    card: Annotated[str | None, typer.Option(help="Reference of a card.")] = None,
    person: Annotated[str | None, typer.Option(help="Login of a person: all their cards.")] = None,
    at: Annotated[str | None, typer.Option(help="When, as 2026-11-22T08:00 at the point; none: now.")] = None,
    level: Annotated[str | None, typer.Option(help="What is proved; none: what a card of that kind can.")] = None,
    first_card: Annotated[str | None, typer.Option(help="Reference of the card that was there just before.")] = None,
    language: Annotated[Literal["de", "en"], typer.Option(help="Language of the sentences.")] = "de",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Tell every step that leads to yes or no for a card, or for every card of a person, at a point."""
    explainer = _explainer(config)
    from cardservice.access.explain.api import described
    from cardservice.access.explain.sentences import Writer
    from cardservice.access.explain.service import Inquiry

    at_ms = None if at is None else explainer.instant(_local(at), point)
    explained = explainer.explain(Inquiry(point, card, person, at_ms, _level(level), first_card))
    writer = Writer(language, explained.time_zone)
    answers = [described(answer, writer) for answer in explained.answers]
    document = {"point": point, "at_ms": explained.at_ms, "answers": [answer.model_dump() for answer in answers]}
    heading = f"{point}, {writer.instant(explained.at_ms)} ({explained.time_zone})"
    none = writer.choose(("Keine Karte passt hier.", "No card fits here."))
    text = "\n\n".join([heading, *(_told(answer, writer) for answer in answers)] if answers else [heading, none])
    show(document, text, as_json=as_json)


def _told(answer: "ExplainedAnswer", writer: "Writer") -> str:
    """Return an answer as lines; a step that refuses is marked, the first of them decides."""
    from cardservice.access.explain.sentences import QUESTIONS

    lines = [f"{answer.card} ({answer.method})"]
    for step in answer.steps:
        mark = " " if step.refusal is None else "✗"
        name = writer.choose(QUESTIONS[step.question])
        for finding in step.findings:
            lines.append(f"  {mark} {name + ':':<15} {finding.sentence}")
            name, mark = "", " "
    verdict = writer.choose(("Entscheidung", "Decision"))
    return "\n".join([*lines, f"  = {verdict}: {answer.reason}: {answer.sentence}"])


def _explainer(config: Path | None) -> "Explainer":
    settings, databases = load_settings(config), open_stores(config)
    from cardservice.access.explain.service import Explainer
    from cardservice.access.service import house_rules
    from cardservice.clock import UNKNOWN_AGE_MS, SystemClock
    from cardservice.people.overview import stored_age_ms

    names = [section.name for section in settings.all_directories().values()]
    clock = SystemClock()

    def age_ms_of(person: int) -> int:
        age_ms = stored_age_ms(databases.state, names, person, clock.now_ms())
        return UNKNOWN_AGE_MS if age_ms is None else age_ms

    return Explainer(databases.state, clock, age_ms_of, house_rules(settings.access))


def _local(at: str) -> datetime:
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        raise SettingsError(f"--at: {at!r} is no instant; allowed is for example 2026-11-22T08:00") from None


def _level(name: str | None) -> "Level | None":
    from cardservice.access.rules import Level

    if name is None:
        return None
    names = {level.name.lower(): level for level in Level}
    if name not in names:
        raise SettingsError(f"--level: {name!r} is no level; allowed are {', '.join(names)}")
    return names[name]


@access.command("export")
@clearly
def access_export(config: ConfigOption = None) -> None:
    """Print zones, special days, schedules, classes, points, grants and blocks as one TOML file."""
    typer.echo(_plans(config).export(), nl=False)


@access.command("import")
@clearly
def access_import(
    file: FileArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing; say what would change, for whom.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what the file lacks.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Bring the stored access model to what FILE says, all of it or nothing."""
    content, plans = _content(file), _plans(config)
    from cardservice.access.plan import words

    outlook = plans.preview(content) if dry_run else None
    found = outlook.differences if outlook else plans.take_over(content, removing=remove, keep=_line_keeper(config))
    changed = list(words.lines(found, MAX_LINES))
    heading = f"{'not stored' if dry_run else 'stored'}: {words.counted(found)}"
    told = [] if outlook is None else [words.told(outlook.effects)]
    document = {"stored": not dry_run, "changes": changed, **_effects(outlook)}
    show(document, "\n".join([heading, *changed, *told]), as_json=as_json)


@access.command("what-if")
@clearly
def access_what_if(
    file: FileArgument,
    listed: Annotated[bool, typer.Option("--list", help="Name people and points, at most 10000.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Count who would gain and lose what within seven days if FILE was imported, or its memberships came true."""
    content, plans = _content(file), _plans(config)
    from cardservice.access.plan import words
    from cardservice.access.plan.service import MAX_LISTED

    outlook = plans.what_if(content, listed=MAX_LISTED if listed else 0)
    pairs = [f"{one.effect}: {one.login or one.name} at {one.point}" for one in outlook.listed]
    people = [
        {"effect": one.effect, "point": one.point, "name": one.name, "login": one.login} for one in outlook.listed
    ]
    document = _effects(outlook) | ({"people": people} if listed else {})
    heading = f"nothing is stored; {words.counted(outlook.differences)}"
    show(document, "\n".join([heading, words.told(outlook.effects), *pairs]), as_json=as_json)


@access.command("exceptions")
@clearly
def access_exceptions(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the points that may demand less than their zones, until when, and those whose exception has ended."""
    databases = open_stores(config)
    from cardservice.access.plan.exceptions import point_exceptions
    from cardservice.access.plan.words import exception_line
    from cardservice.clock import SystemClock

    found = point_exceptions(databases.state, SystemClock().now_ms())
    documents = [
        {**asdict(one), "demands": one.demands.name.lower(), "instead_of": one.instead_of.name.lower()} for one in found
    ]
    show(documents, "\n".join(map(exception_line, found)) or "no point has an exception", as_json=as_json)


def _effects(outlook: "Outlook | None") -> dict[str, Any]:
    from cardservice.access.plan.effects import Effect

    if outlook is None:
        return {}
    counts = {effect.value: asdict(outlook.effects.count(effect)) for effect in Effect}
    return {"from_ms": outlook.from_ms, "until_ms": outlook.until_ms, "effects": counts}


def _plans(config: Path | None) -> "Plans":
    databases = open_stores(config)
    from cardservice.access.plan.service import Plans
    from cardservice.clock import SystemClock
    from cardservice.places import OPTION_RULES

    return Plans(databases.state, SystemClock(), OPTION_RULES)


def _line_keeper(config: Path | None) -> Callable[[Mapping[str, str | int | bool | None]], None]:
    """Return what leaves lines in the journal beside a running service, in chains of their own."""
    databases = open_stores(config)
    from cardservice.access.record import STREAM, OwnChains
    from cardservice.clock import SystemClock
    from cardservice.journal.service import Entry, Journal

    # Nothing in such a line is sealed: no key is needed.
    chains = OwnChains(databases.record, Journal(lambda _stream, _purpose: b""))
    return lambda facts: chains.keep(Entry(STREAM, SystemClock().now_ms(), facts))


def _content(file: Path) -> bytes:
    from cardservice.access.plan.text import MAX_FILE_BYTES

    try:
        with file.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
