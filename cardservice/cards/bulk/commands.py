# SPDX-License-Identifier: EUPL-1.2
"""`cardservice cards batch check|begin|list|show|report|cancel`, for whoever administers the machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, open_stores, show, traced
from cardservice.errors import Conflict, SettingsError

if TYPE_CHECKING:
    from cardservice.cards.bulk.service import Progress
    from cardservice.cards.life.service import Giver

_HERE: Final = "the command line"
FileArgument = Annotated[Path, typer.Argument(help="The list (CSV): person;profile;valid_from.")]
BatchArgument = Annotated[int, typer.Argument(min=1, help="The number of the batch.")]
batch = typer.Typer(no_args_is_help=True, help="Many cards, from a list.")


@batch.command("check")
@clearly
def check(file: FileArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look at the list in FILE: each fault with its line and column; nothing is made."""
    from dataclasses import asdict

    from cardservice.cards.bulk.service import look_at
    from cardservice.database import read

    databases, content = open_stores(config), content_of(file)
    with read(databases.state) as connection:
        found = look_at(connection, content, giver_here())
    faults = [{name: asdict(one)[name] for name in ("line", "column", "message")} for one in found.faults]
    text = [f"line {one['line']}, {one['column'] or 'all of it'}: {one['message']}" for one in faults]
    text.append(f"{len(found.lines)} cards would be ordered, {len(faults)} lines have a fault")
    show({"cards": len(found.lines), "faults": faults}, "\n".join(text), as_json=as_json)
    if faults:
        raise Conflict(f"{file}: correct {len(faults)} lines first; a list is stored as a whole or not at all")


@batch.command("begin")
@clearly
@traced("cards.issue")
def begin(file: FileArgument, config: ConfigOption = None) -> None:
    """Store the list in FILE; the running service carries it out."""
    from cardservice.cards.bulk import service
    from cardservice.clock import SystemClock
    from cardservice.database import write

    databases, content = open_stores(config), content_of(file)
    with write(databases.state) as connection:
        number = service.begin(connection, content, giver_here(), SystemClock().now_ms())
    typer.echo(f"batch {number} is begun; 'cardservice cards batch show {number}' tells how far it is")


@batch.command("list")
@clearly
def list_batches(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the newest batches, whoever began them."""
    from cardservice.cards.bulk.service import batches

    found = batches(open_stores(config).state, None)
    show([_document(one) for one in found], "\n".join(map(_line, found)) or "no batches", as_json=as_json)


@batch.command("show")
@clearly
def show_batch(number: BatchArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show how far the batch NUMBER is, and which lines failed."""
    from cardservice.cards.bulk.report import outcome_of
    from cardservice.cards.bulk.service import lines_of, progress

    databases = open_stores(config)
    found = progress(databases.state, number, None)
    failed = [one for one in lines_of(databases.state, number, None) if outcome_of(one) == "failed"]
    text = [_line(found), *(f"line {one.line}: {one.fault}" for one in failed)]
    document = _document(found) | {"faults": [{"line": one.line, "message": one.fault} for one in failed]}
    show(document, "\n".join(text), as_json=as_json)


@batch.command("report")
@clearly
def report_batch(number: BatchArgument, config: ConfigOption = None) -> None:
    """Print what came of each line of the batch NUMBER as CSV: line;profile;card;outcome;fault."""
    from cardservice.cards.bulk.report import report
    from cardservice.cards.bulk.service import lines_of

    typer.echo(report(lines_of(open_stores(config).state, number, None)), nl=False)


@batch.command("cancel")
@clearly
@traced("cards.issue")
def cancel_batch(number: BatchArgument, config: ConfigOption = None) -> None:
    """Make no card of what is left of the batch NUMBER."""
    from cardservice.cards.bulk.service import cancel
    from cardservice.clock import SystemClock
    from cardservice.database import write

    with write(open_stores(config).state) as connection:
        left = cancel(connection, number, None, SystemClock().now_ms())
    typer.echo(f"batch {number}: {left} lines are cancelled")


def giver_here() -> "Giver":
    """Return whoever administers the machine, who may give cards to everybody."""
    from cardservice.cards.life.service import Giver
    from cardservice.cards.service import By
    from cardservice.web.reach import EVERYWHERE

    return Giver(By(_HERE), (EVERYWHERE,))


def content_of(file: Path) -> bytes:
    """Return what is in a list. Raises SettingsError."""
    from cardservice.cards.bulk.rules import MAX_BYTES

    try:
        with file.open("rb") as source:
            content = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{file}: longer than {MAX_BYTES} bytes; send it in parts")
    return content


def _document(found: "Progress") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(found) | {"waiting": found.waiting}


def _line(found: "Progress") -> str:
    from cardservice.instants import instant

    counts = f"{found.lines} lines = {found.done} done + {found.failed} failed + {found.cancelled} cancelled"
    return f"{found.batch}  {instant(found.made_ms)}  {counts} + {found.waiting} waiting"
