# SPDX-License-Identifier: EUPL-1.2
"""The command line. Each command imports what it needs, so that a reader machine runs `agent` without the service."""

import json
import os
import sys
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cardservice import __version__
from cardservice.access_commands import access
from cardservice.backup.commands import backup, restore
from cardservice.cards.bulk.commands import batch
from cardservice.cards.encoding.commands import Around, add_encoding_commands
from cardservice.cards.life.commands import add_life_commands
from cardservice.cards.pin.commands import pin
from cardservice.console import (
    CommandUse,
    ConfigOption,
    JsonOption,
    clearly,
    load_settings,
    needs,
    open_stores,
    read_instant,
    show,
    traced,
    traces_with,
)
from cardservice.errors import Conflict, NotFound, SettingsError
from cardservice.key_commands import keys
from cardservice.old_commands import old
from cardservice.people.outsiders.commands import people
from cardservice.pki_commands import pki
from cardservice.retention.commands import retention
from cardservice.web.accounts.commands import accounts
from cardservice.webhooks.commands import webhooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from cardservice.cards.encoding.ports import CardInReader
    from cardservice.cards.encoding.works import CardKeys
    from cardservice.cards.service import CardView

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="The one-card service of the city.")
db = typer.Typer(no_args_is_help=True, help="The two stores: state and record.")
settings_app = typer.Typer(no_args_is_help=True, help="The settings file.")
agents = typer.Typer(no_args_is_help=True, help="Reader agents.")
cards = typer.Typer(no_args_is_help=True, help="Cards.")
directory = typer.Typer(no_args_is_help=True, help="The corporate directory.")
movers = typer.Typer(invoke_without_command=True, help="Who left a department and still counts in it.")
journal = typer.Typer(no_args_is_help=True, help="The journal.")
ledger = typer.Typer(no_args_is_help=True, help="The canteen's ledger.")
for name, group in (
    ("db", db),
    ("settings", settings_app),
    ("keys", keys),
    ("agents", agents),
    ("cards", cards),
    ("directory", directory),
    ("journal", journal),
    ("ledger", ledger),
    ("people", people),
    ("access", access),
    ("accounts", accounts),
    ("webhooks", webhooks),
    ("retention", retention),
):
    app.add_typer(group, name=name)
cards.add_typer(pin, name="pin")
add_life_commands(cards)
cards.add_typer(batch, name="batch")
cards.add_typer(old, name="old")
cards.add_typer(pki, name="pki")
db.command("backup")(backup)
db.command("restore")(restore)
directory.add_typer(movers, name="movers")


@app.callback()
def _program() -> None:
    """The one-card service of the city."""
    traces_with(_keep_command)


def _keep_command(config: Path | None, use: CommandUse) -> None:
    from cardservice.command_traces import keep_command

    keep_command(config, use)


def _card_keys(config: Path | None) -> "CardKeys":
    from cardservice.cards.encoding.works import CardKeys
    from cardservice.parts import key_file

    return CardKeys(key_file(load_settings(config)).load())


def _zones(connection: "Connection") -> dict[str, int]:
    from cardservice.access.store import zone_numbers

    return zone_numbers(connection)


@contextmanager
def _card_here(reader: str | None) -> "Iterator[CardInReader]":
    with needs("pcsc"):
        from readers.errors import ReaderFault
        from readers.here import card_here
    try:
        with card_here(reader) as card:
            yield card
    except ReaderFault as error:
        raise NotFound(str(error)) from error


add_encoding_commands(cards, Around(_card_keys, _zones, _card_here))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
@clearly
def serve(config: ConfigOption = None) -> None:
    """Run the central service until ctrl-C or SIGTERM."""
    settings = load_settings(config)
    from cardservice.app import serve as run

    def on_ready(url: str) -> None:
        typer.echo(json.dumps({"ready": True, "url": url}))
        sys.stdout.flush()

    run(settings, on_ready)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
@clearly
def agent(context: typer.Context) -> None:
    """Run a reader agent (`cardservice agent --help` tells more)."""
    with needs("agent"):
        from readers.main import main as agent_main

    raise typer.Exit(agent_main(context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
@clearly
def demo(context: typer.Context) -> None:
    """Run the demonstration city (`cardservice demo --help` tells more)."""
    with needs("demo"):
        from cardservice.demo.command import main as demo_main

    raise typer.Exit(demo_main(context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
@clearly
def bench(context: typer.Context) -> None:
    """Measure (`cardservice bench --help` tells what)."""
    with needs("service"):
        from cardservice.bench.command import main as bench_main

    raise typer.Exit(bench_main(context.args))


@db.command("upgrade")
@clearly
def db_upgrade(config: ConfigOption = None) -> None:
    """Create the stores, or bring them to the revision of this program."""
    settings = load_settings(config)
    from cardservice.database import open_databases, upgrade

    with closing(open_databases(settings.database.url)) as databases:
        upgrade(databases)
    typer.echo("both stores are at the newest revision")


@db.command("check")
@clearly
def db_check(config: ConfigOption = None) -> None:
    """Tell whether the stores can be used by this program."""
    databases = open_stores(config)
    from cardservice.database import require_writable

    require_writable(databases)
    typer.echo("both stores are at the newest revision and can be written")


@settings_app.command("check")
@clearly
def settings_check(config: ConfigOption = None) -> None:
    """Explain every error in the settings."""
    settings = load_settings(config)
    from cardservice.parts import mover_contradictions
    from cardservice.settings_check import contradictions

    found = contradictions(settings) + mover_contradictions(settings)
    if found:
        raise SettingsError("\n".join(found))
    typer.echo("the settings are complete and fit together")


@settings_app.command("example")
def settings_example() -> None:
    """Print a settings file with every setting, its meaning and its default."""
    from cardservice.settings import example

    typer.echo(example(), nl=False)


@agents.command("enrol")
@clearly
@traced("agents.enrol")
def agents_enrol(name: str, public_key: str, config: ConfigOption = None) -> None:
    """Enrol the agent NAME with the PUBLIC_KEY that `cardservice agent init` printed on its machine."""
    _agents(config).enrol(name, public_key)
    typer.echo(f"agent {name} is enrolled")


@agents.command("lock")
@clearly
@traced("agents.lock")
def agents_lock(
    name: str,
    config: ConfigOption = None,
    unlock: Annotated[bool, typer.Option("--unlock", help="Trust it again.")] = False,
) -> None:
    """Stop trusting the agent NAME; it is cut off within a second."""
    _agents(config).lock(name, locked=not unlock)
    typer.echo(f"agent {name} is {'unlocked' if unlock else 'locked'}")


@agents.command("list")
@clearly
def agents_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the enrolled agents."""
    views = _agents(config).list()
    text = "\n".join(f"{view.code}{'  locked' if view.locked else ''}" for view in views) or "no agent is enrolled"
    show([asdict(view) for view in views], text, as_json=as_json)


def _agents(config: Path | None) -> Any:
    databases = open_stores(config)
    from cardservice.agents.service import Agents
    from cardservice.clock import SystemClock

    return Agents(databases.state, SystemClock())


@cards.command("list")
@clearly
def cards_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the cards and their states."""
    databases = open_stores(config)
    from cardservice.cards.service import list_cards
    from cardservice.clock import SystemClock

    views, now_ms = list_cards(databases.state), SystemClock().now_ms()
    documents = [asdict(view) | {"state": view.state_at(now_ms)} for view in views]
    show(documents, "\n".join(_card_line(view, now_ms) for view in views) or "no cards", as_json=as_json)


def _card_line(view: "CardView", now_ms: int) -> str:
    from cardservice.instants import instant

    line = f"{view.reference}  {view.state_at(now_ms)}  {view.state_reason or ''}"
    if view.suspended_until_ms is None:
        return line
    over = view.suspended_until_ms <= now_ms
    return f"{line}  {'was suspended until' if over else 'until'} {instant(view.suspended_until_ms)}"


@cards.command("set-state")
@clearly
@traced("cards.change")
def cards_set_state(
    reference: str,
    state: str,
    reason: Annotated[str | None, typer.Argument()] = None,
    until: Annotated[
        str | None, typer.Option(help="When a suspension ends by itself: a day (its end) or an instant, German time.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Suspend, revoke or reactivate the card REFERENCE; suspending and revoking need a REASON."""
    databases = open_stores(config)
    from cardservice.cards.rules import CardState
    from cardservice.cards.service import NewState, change_state
    from cardservice.clock import SystemClock
    from cardservice.instants import instant

    if state not in set(CardState):
        raise SettingsError(f"{state!r} is not a state; allowed are {', '.join(CardState)}")
    end_ms = None if until is None else read_instant(until, "--until")
    change_state(databases.state, reference, NewState(CardState(state), reason, end_ms), SystemClock().now_ms())
    typer.echo(f"card {reference} is {state}{'' if end_ms is None else f' until {instant(end_ms)}'}")


@directory.command("check")
@clearly
def directory_check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Connect once to every directory and say in plain words what it offers and what is missing."""
    settings = load_settings(config)
    from cardservice.parts import ldap_settings
    from integrations.ldap import check

    findings = [
        finding for key, section in settings.all_directories().items() for finding in check(ldap_settings(section, key))
    ]
    text = "\n".join(str(finding) for finding in findings)
    show([asdict(finding) for finding in findings], text, as_json=as_json)


@directory.command("status")
@clearly
def directory_status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show of every directory what is followed, how current the copy is, what is in it and what is wrong."""
    settings, databases = load_settings(config), open_stores(config)
    from cardservice.clock import SystemClock
    from cardservice.people.overview import describe, overviews

    names = [section.name for section in settings.all_directories().values()]
    found = overviews(databases.state, names, SystemClock().now_ms())
    documents = [{**asdict(one), "troubles": one.troubles()} for one in found]
    show(documents, "\n\n".join(describe(one) for one in found), as_json=as_json)


@directory.command("person")
@clearly
def directory_person(
    login: str,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    photo: Annotated[Path | None, typer.Option("--photo", help="Write the photo into this new file.")] = None,
) -> None:
    """Show what the copy knows of whoever has LOGIN, which attribute it is from, and what the directory says now."""
    settings, databases = load_settings(config), open_stores(config)
    from cardservice.parts import inspect_person

    found = inspect_person(settings, databases.state, login)
    show([one.document() for one in found], "\n\n".join(one.text() for one in found), as_json=as_json)
    if photo is not None:
        _write_photo(settings, found, photo)


def _write_photo(settings: Any, found: list[Any], path: Path) -> None:
    from cardservice.parts import read_photo_of

    people = [one for one in found if one.said.person is not None]
    if len(people) != 1:
        raise Conflict(
            f"no photo is written: {len(people) or 'no'} people with this login are shown by the directories"
        )
    photo = read_photo_of(settings, people[0])
    if photo is None:
        raise NotFound("no photo is written: the directory shows none of this person")
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(photo.data)
    except OSError as error:
        raise Conflict(f"no photo is written: {path}: {error.strerror}") from error
    typer.echo(f"wrote {path}: {photo.media_type}, {len(photo.data)} bytes; it is personal data", err=True)


@directory.command("sync")
@clearly
def directory_sync(name: Annotated[str | None, typer.Argument()] = None, config: ConfigOption = None) -> None:
    """Have the running service read everything of the directory NAME (none: of all) anew now."""
    settings, databases = load_settings(config), open_stores(config)
    from cardservice.clock import SystemClock
    from cardservice.people.overview import ask_for_reading

    names = [section.name for section in settings.all_directories().values()]
    if name is not None and name not in names:
        raise SettingsError(f"there is no directory {name!r} in the settings; there are {', '.join(names)}")
    asked = names if name is None else [name]
    ask_for_reading(databases.state, asked, SystemClock().now_ms())
    typer.echo(
        f"the running service was asked to read {' and '.join(asked)} anew; 'cardservice directory status' tells when "
        "it has"
    )


@directory.command("holds")
@clearly
def directory_holds(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    people: Annotated[bool, typer.Option("--people", help="Name the people, at most 1000 of each hold.")] = False,
) -> None:
    """List the holds: losses of many people at once that wait for a decision, or were rejected."""
    databases = open_stores(config)
    from cardservice.people.holds.service import describe_hold, list_held, list_holds

    found = [(hold, list_held(databases.state, hold.number) if people else []) for hold in list_holds(databases.state)]
    documents = [asdict(hold) | ({"people": [asdict(one) for one in held]} if people else {}) for hold, held in found]
    text = "\n".join(describe_hold(hold, held) for hold, held in found)
    show(documents, text or "nobody is held", as_json=as_json)


@directory.command("confirm")
@clearly
@traced("directory.confirm")
def directory_confirm(
    hold: int,
    config: ConfigOption = None,
    although_rejected: Annotated[
        bool, typer.Option("--although-rejected", help="Confirm a hold that was rejected before.")
    ] = False,
) -> None:
    """The directory is right: whoever is still in HOLD is lost or disabled now."""
    view = _decided(config, hold, confirm=True, although_rejected=although_rejected)
    typer.echo(
        f"hold {hold} is confirmed: {view.lost} people lost, {view.disabled} disabled; the running service applies it "
        "within a second, but not to whom the directory names again"
    )


@directory.command("reject")
@clearly
@traced("directory.reject")
def directory_reject(hold: int, config: ConfigOption = None) -> None:
    """The directory is wrong: whoever is in HOLD stays as they were until it names them again or says more."""
    view = _decided(config, hold, confirm=False)
    typer.echo(f"hold {hold} is rejected: {view.lost + view.disabled} people stay as they were")


def _decided(config: Path | None, hold: int, *, confirm: bool, although_rejected: bool = False) -> Any:
    databases = open_stores(config)
    from cardservice.clock import SystemClock
    from cardservice.people.holds.service import Decision, Verdict, decide

    verdict = Verdict.CONFIRM if confirm else Verdict.REJECT
    decision = Decision(verdict, "the command line", SystemClock().now_ms(), although_rejected)
    return decide(databases.state, hold, decision)


@movers.callback()
@clearly
def movers_list(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show who left a department group and counts in it still, and until when."""
    if context.invoked_subcommand is not None:
        return
    databases = open_stores(config)
    from cardservice.people.movers.service import describe_mover, list_movers

    found = list_movers(databases.state)
    text = "\n".join(describe_mover(one) for one in found)
    documents = [{**asdict(one.window), "name": one.name, "login": one.login, "group": one.group} for one in found]
    show(documents, text or "nobody left a department and counts in it", as_json=as_json)


@movers.command("end")
@clearly
@traced("directory.end_mover")
def movers_end(number: int, config: ConfigOption = None) -> None:
    """End the window NUMBER now: they no longer count in the group they left."""
    databases = open_stores(config)
    from cardservice.people.movers.service import end_window

    end_window(databases.state, number, "the command line")
    typer.echo(f"window {number} is ended; the running service applies it within a second")


@ledger.command("check")
@clearly
def ledger_check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Add the canteen's ledger up anew: every transfer, every account, every payment; name the first fault."""
    databases = open_stores(config)
    from cardservice.canteen.service import check

    report = check(databases.record)
    text = (
        f"the ledger adds up: {report.accounts} accounts, {report.transfers} transfers, {report.entries} entries, "
        f"{report.requests} answered requests"
    )
    show(asdict(report), text, as_json=as_json)


@journal.command("verify")
@clearly
def journal_verify(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Recompute every chain of the journal and name the first entry that does not fit."""
    databases = open_stores(config)
    from cardservice.journal.service import verify

    reports = verify(databases.record)
    text = "\n".join(f"{report.stream}, epoch {report.epoch}: {report.entries} entries" for report in reports)
    show([asdict(report) for report in reports], text or "the journal is empty", as_json=as_json)


def main() -> None:
    """Run the command line."""
    app()
