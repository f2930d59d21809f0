# SPDX-License-Identifier: EUPL-1.2
"""What the commands of every part share: options, settings and stores, errors in one sentence."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from cardservice.errors import CardServiceError, SettingsError
from cardservice.instants import instant_of

if TYPE_CHECKING:
    from cardservice.database import Databases
    from cardservice.settings import Settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="CARDSERVICE_CONFIG", help="The settings file (TOML).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Arguments = ParamSpec("Arguments")
# What is closed when the command that runs has ended.
_at_the_end: ContextVar[ExitStack | None] = ContextVar("at_the_end", default=None)


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say which extra brings the package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"this needs a package that is not installed ({error.name}): pip install 'cardservice[{extra}]'"
        ) from error


def clearly(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """End with one clear message and the error's own exit code instead of a traceback, and with closed stores."""

    @wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            with needs("service"), _closing_stores():
                command(*args, **kwargs)
        except CardServiceError as error:
            typer.echo(f"cardservice: {error}", err=True)
            raise typer.Exit(error.exit_code) from None

    return run


@dataclass(frozen=True, slots=True)
class CommandUse:
    """A command that is about to change something: which operation, why, and who acts, as far as it was told."""

    operation: str
    reason: str | None
    named: str | None


# Has a line about it on disk when it returns, or raises CardServiceError: then the command does nothing.
KeepCommand = Callable[["Path | None", CommandUse], None]
# What writes to the journal lies above this module: the whole command line names it before any command runs.
_keep_command: ContextVar[KeepCommand | None] = ContextVar("keep_command", default=None)


def traces_with(keep: KeepCommand) -> None:
    """Have every command that changes something write that down with `keep` first."""
    _keep_command.set(keep)


def traced(operation: str) -> Callable[[Callable[Arguments, None]], Callable[Arguments, None]]:
    """Return what has a command write down that it is used, before it does anything; stands below `clearly`."""

    def decorate(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
        @wraps(command)
        def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            keep, said = _keep_command.get(), dict[str, Any](kwargs)
            if keep is None:
                raise AssertionError("a change by a command that nobody writes down")
            keep(said.get("config"), CommandUse(operation, said.get("reason"), said.get("by")))
            command(*args, **kwargs)

        return run

    return decorate


@contextmanager
def _closing_stores() -> Iterator[None]:
    with ExitStack() as stack:
        token = _at_the_end.set(stack)
        try:
            yield
        finally:
            _at_the_end.reset(token)


def load_settings(config: Path | None) -> "Settings":
    """Return the settings, and log as they say."""
    from cardservice.settings import load

    loaded = load(config)
    from cardservice import logs

    logs.configure(loaded.logging.level, loaded.logging.format)
    return loaded


def open_stores(config: Path | None) -> "Databases":
    """Return the stores the settings name, at the revision of this program; the end of the command closes them."""
    settings = load_settings(config)
    from cardservice.database import open_databases, require_head

    databases = open_databases(settings.database.url)
    stack = _at_the_end.get()
    if stack is not None:
        stack.callback(databases.close)
    require_head(databases)
    return databases


def read_instant(text: str, option: str) -> int:
    """Return the instant that an option names: a day means its end, and German time counts.

    Raises:
        SettingsError: it is none.
    """
    try:
        return instant_of(text)
    except (ValueError, OverflowError):
        raise SettingsError(f"{option}: {text!r} is no instant; allowed are 2027-03-31 and 2027-03-31T18:00") from None


def tell(text: str) -> None:
    """Print text for people: names in it come from outside and may hold what moves a terminal."""
    typer.echo("".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text))


def show(document: Any, text: str, *, as_json: bool) -> None:
    """Print a document, or its text for people."""
    if as_json:
        typer.echo(json.dumps(document, indent=1))
    else:
        tell(text)
