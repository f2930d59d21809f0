# SPDX-License-Identifier: EUPL-1.2
"""`cardservice keys ...`. Shares are typed at a terminal without being shown, and are never an argument."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cardservice.console import (
    CommandUse,
    ConfigOption,
    JsonOption,
    clearly,
    load_settings,
    open_stores,
    show,
    tell,
    traced,
)
from cardservice.errors import Conflict, KeyStoreError

if TYPE_CHECKING:
    from cardservice.cards.keys.keyfile import KeyFile, SharedSecret
    from cardservice.cards.keys.sealing import ShareScheme
    from cardservice.cards.keys.service import UseStatus
    from cardservice.cards.keystore import SealedKeyStore
    from cardservice.settings import Settings

keys = typer.Typer(no_args_is_help=True, help="The keys of the cards: ceremonies, generations, who has which.")
SystemId = Annotated[str, typer.Option(help="1 to 16 characters, chosen once for this installation.")]
SharesOption = Annotated[int, typer.Option("--shares", help="How many people get a share.")]
NeededOption = Annotated[int, typer.Option("--needed", help="How many of them are needed, at least 2.")]
RecordOption = Annotated[Path, typer.Option("--record", help="The folder for the record to be signed.")]
UseArgument = Annotated[str, typer.Argument(help="door, timeclock, printer, canteen, or card for the card itself.")]
_HERE: Final = Path()
# Clears the screen, and what can be scrolled back to (ECMA-48, and xterm's extension of it).
_WIPE: Final = "\x1b[H\x1b[2J\x1b[3J"


class _Terminal:
    """`ceremony.Terminal` on the terminal this command runs in."""

    def say(self, text: str) -> None:
        tell(text)

    def ask(self, question: str) -> str:
        return str(typer.prompt(question, default="", show_default=False))

    def ask_hidden(self, question: str) -> str:
        return str(typer.prompt(question, hide_input=True))

    def wipe(self) -> None:
        typer.echo(_WIPE, nl=False)


@keys.command("create")
@clearly
def create(system_id: SystemId, config: ConfigOption = None) -> None:
    """Make a key store that its passphrase alone opens: for trying out. A city's own is made by `init`."""
    from cardservice.clock import SystemClock

    file = _file(config)
    file.create(system_id.encode(), None, SystemClock().now_ms())
    typer.echo(f"made {file.path}; keep a copy of it and of its passphrase apart from each other")


@keys.command("init")
@clearly
def init(
    system_id: SystemId,
    shares: SharesOption = 3,
    needed: NeededOption = 2,
    record: RecordOption = _HERE,
    config: ConfigOption = None,
) -> None:
    """Make the key store with at least two people present; each gets a share, which together open it."""
    from cardservice.cards.keys.ceremony import ask_who_is_there, hand_out
    from cardservice.clock import SystemClock

    file, terminal, now_ms = _file(config), _terminal(), SystemClock().now_ms()
    if file.path.exists():
        raise KeyStoreError(f"key store {file.path} exists already; it is never overwritten")
    present = ask_who_is_there(terminal, needed)
    shared = hand_out(terminal, needed, shares)
    store = file.create(system_id.encode(), shared, now_ms)
    # Only now is there a key that the line about it can be sealed with.
    _keep_line(config, "keys.init", present)
    _write_record(config, ("a key store was made", now_ms, record), (store, present, shared.scheme))


@keys.command("import")
@clearly
def bring_in(source: Path, record: RecordOption = _HERE, config: ConfigOption = None) -> None:
    """Make this installation's key store of a copy, SOURCE, that its shares open; with a token, its masters move in."""
    from cardservice.cards.keys import sealing
    from cardservice.cards.keys.ceremony import ask_who_is_there, collect
    from cardservice.clock import SystemClock

    file, terminal = _file(config), _terminal()
    scheme = sealing.scheme_of(source)
    if scheme is None:
        raise KeyStoreError(f"{source} is opened by no shares; 'cardservice keys export-share' gives it some")
    present = ask_who_is_there(terminal, scheme.needed)
    store = file.bring_in(source, collect(terminal, scheme))
    _keep_line(config, "keys.import", present)
    _write_record(config, ("a key store was brought in", SystemClock().now_ms(), record), (store, present, scheme))


@keys.command("export-share")
@clearly
def export_share(
    shares: SharesOption = 3, needed: NeededOption = 2, record: RecordOption = _HERE, config: ConfigOption = None
) -> None:
    """Give out new shares; the old ones, which have to be typed for it, open the key store no more."""
    from cardservice.cards.keys.ceremony import ask_who_is_there, collect, hand_out
    from cardservice.clock import SystemClock

    file, terminal = _file(config), _terminal()
    old = file.scheme()
    present = ask_who_is_there(terminal, max(needed, 2 if old is None else old.needed))
    secret = None if old is None else collect(terminal, old)
    _keep_line(config, "keys.export_share", present)
    shared: SharedSecret = hand_out(terminal, needed, shares)
    file.share_anew(secret, shared)
    about = ("new shares were given out", SystemClock().now_ms(), record)
    _write_record(config, about, (file.load(), present, shared.scheme))


@keys.command("rotate")
@clearly
def rotate(use: UseArgument, record: RecordOption = _HERE, config: ConfigOption = None) -> None:
    """Make the next generation of the keys of USE; cards of both are accepted until the older one is closed."""
    from cardservice.cards.keys.ceremony import ask_who_is_there, collect
    from cardservice.clock import SystemClock

    file = _file(config)
    scheme = file.scheme()
    present: tuple[str, ...] = ()
    secret = None
    if scheme is not None:
        terminal = _terminal()
        present = ask_who_is_there(terminal, scheme.needed)
        secret = collect(terminal, scheme)
    _keep_line(config, "keys.rotate", present)
    now_ms = SystemClock().now_ms()
    number = file.rotate(use, secret, now_ms)
    typer.echo(f"new cards get generation {number} of {use}; the running service takes it over within seconds")
    if scheme is not None:
        about = (f"generation {number} of {use} was made", now_ms, record)
        _write_record(config, about, (file.load(), present, scheme))


@keys.command("status")
@clearly
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every use's generations, and how many cards have moved to the active one."""
    databases = open_stores(config)
    from cardservice.cards.keys.service import status as read_status

    found = read_status(databases.state, _file(config).load().generations)
    show([asdict(one) for one in found], "\n".join(line for one in found for line in _lines(one)), as_json=as_json)


@keys.command("cards")
@clearly
def cards(use: UseArgument, generation: int, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the cards that closing GENERATION of USE would shut out, at most 1,000."""
    databases = open_stores(config)
    from cardservice.cards.keys.service import listed

    found = listed(databases.state, use, generation)
    show(found, "\n".join(found) or "no card would be shut out", as_json=as_json)


@keys.command("close")
@clearly
@traced("keys.close")
def close(
    use: UseArgument,
    generation: int,
    config: ConfigOption = None,
    although_left: Annotated[
        int, typer.Option("--although-left", help="How many cards are to be shut out; it has to be the exact number.")
    ] = 0,
) -> None:
    """Accept no card of GENERATION of USE any more, and throw its keys away. For good."""
    settings, databases = load_settings(config), open_stores(config)
    from cardservice.cards.keys.ceremony import ask_who_is_there, collect
    from cardservice.cards.keys.service import Closing, close_now
    from cardservice.clock import SystemClock

    file = _file(config)
    scheme = file.scheme()
    if scheme is not None:
        terminal = _terminal()
        ask_who_is_there(terminal, scheme.needed)
        file.require_opened_by(collect(terminal, scheme))
    elif settings.keys.close_needs_approval and not settings.demonstration:
        raise Conflict("closing keys needs a second person: ask for it over the API, or give out shares first")
    now_ms = SystemClock().now_ms()
    close_now(databases.state, file.load().generations, Closing(use, generation, although_left), now_ms)
    file.close([(use, generation, now_ms)])
    typer.echo(f"generation {generation} of {use} is closed; the running service refuses its cards within seconds")


def _lines(one: "UseStatus") -> list[str]:
    from cardservice.instants import instant

    lines = [f"{one.use}: {one.moved} of {one.cards} cards moved, {one.unseen} not seen yet"]
    for generation in one.generations:
        made = "" if generation.made_ms is None else f", made {instant(generation.made_ms)}"
        closed = "" if generation.closed_ms is None else f", closed {instant(generation.closed_ms)}"
        number, cards = generation.generation, generation.cards
        lines.append(f"  generation {number}: {generation.state}, {cards} cards{made}{closed}")
    return lines if one.generations else [*lines, "  no keys"]


def _file(config: Path | None) -> "KeyFile":
    from cardservice.parts import key_file

    return key_file(load_settings(config))


def _terminal() -> _Terminal:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise KeyStoreError("people type their shares: this needs a terminal, and its input and output go nowhere else")
    return _Terminal()


def _keep_line(config: Path | None, operation: str, present: tuple[str, ...]) -> None:
    """Have a line about it in the journal; who was there is sealed in it."""
    from cardservice.command_traces import keep_command

    keep_command(config, CommandUse(operation, None, ", ".join(present) or None))


def _write_record(
    config: Path | None,
    about: tuple[str, int, Path],
    came: "tuple[SealedKeyStore, tuple[str, ...], ShareScheme | None]",
) -> None:
    from cardservice.cards.keys.ceremony import Ceremony, write_record
    from cardservice.cards.keys.keyfile import check_values

    settings: Settings = load_settings(config)
    (act, at_ms, folder), (store, present, scheme) = about, came
    done = Ceremony(act, at_ms, settings.keys.store, store.system_id, present, check_values(store), scheme)
    tell(f"{act}; the record to be signed is {write_record(folder, done)}")
