# SPDX-License-Identifier: EUPL-1.2
"""`cardservice cards old check|bring-in|left|end`, for whoever administers the machine."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cardservice.cards.bulk.commands import content_of, giver_here
from cardservice.console import ConfigOption, JsonOption, clearly, open_stores, show, traced
from cardservice.errors import Conflict
from cardservice.instants import instant

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from cardservice.cards.old.service import OldCards, OldList

old = typer.Typer(no_args_is_help=True, help="Old card numbers that count beside the new ones, building by building.")
FileArgument = Annotated[Path, typer.Argument(help="The list (CSV): person;number;written;building;until.")]
UseOption = Annotated[list[str] | None, typer.Option("--use", help="A use whose readers know them; default: door.")]


@old.command("check")
@clearly
def check(file: FileArgument, use: UseOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look at the list in FILE: each fault with its line and column; nothing is made."""
    from cardservice.database import read

    databases, sent = open_stores(config), _list(file, use)
    with read(databases.state) as connection:
        found = _cards(connection).look_at(sent)
    faults = [{name: asdict(one)[name] for name in ("line", "column", "message")} for one in found.faults]
    text = [f"line {one['line']}, {one['column'] or 'all of it'}: {one['message']}" for one in faults]
    text.append(f"{len(found.lines)} old cards would count, {len(faults)} lines have a fault")
    show({"cards": len(found.lines), "faults": faults}, "\n".join(text), as_json=as_json)
    if faults:
        raise Conflict(f"{file}: correct {len(faults)} lines first; a list is taken as a whole or not at all")


@old.command("bring-in")
@clearly
@traced("cards.issue")
def bring_in(file: FileArgument, use: UseOption = None, config: ConfigOption = None) -> None:
    """Have the old cards of the list in FILE count: all of them or none."""
    from cardservice.database import write

    databases, sent = open_stores(config), _list(file, use)
    with write(databases.state) as connection:
        made = _cards(connection).bring_in(sent)
    typer.echo(f"{made} old cards count now")


@old.command("left")
@clearly
def left(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell what is left in each building: old cards, people without a newer one, and when they end."""
    from cardservice.database import read

    with read(open_stores(config).state) as connection:
        found = _cards(connection).left()
    lines = [
        f"{one.building}: {one.cards} old cards of {one.people} people, {one.only_old} of them without a newer one; "
        f"they end from {instant(one.first_end_ms)} to {instant(one.last_end_ms)}"
        for one in found
    ]
    show([asdict(one) for one in found], "\n".join(lines) or "no old card counts anywhere", as_json=as_json)


@old.command("end")
@clearly
@traced("cards.issue")
def end(building: Annotated[str, typer.Argument(help="The code of a zone.")], config: ConfigOption = None) -> None:
    """Have no old card count in BUILDING any more."""
    from cardservice.database import write

    with write(open_stores(config).state) as connection:
        ended = _cards(connection).end(building)
    typer.echo(f"{ended} old cards have ended")


def _cards(connection: "Connection") -> "OldCards":
    from cardservice.access.store import zone_numbers
    from cardservice.cards.old.service import OldCards
    from cardservice.clock import SystemClock

    return OldCards(connection, giver_here(), zone_numbers(connection), SystemClock().now_ms())


def _list(file: Path, uses: list[str] | None) -> "OldList":
    from cardservice.cards.old.service import OldList

    return OldList(content_of(file), tuple(uses or ["door"]))
