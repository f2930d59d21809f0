# SPDX-License-Identifier: EUPL-1.2
"""The command line. Each command imports what it needs, so that a reader machine runs `agent` without the service."""

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cardservice import __version__
from cardservice.access_commands import access
from cardservice.cards.pin.commands import pin
from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, needs, open_stores, show
from cardservice.errors import SettingsError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="The one-card service of the city.")
db = typer.Typer(no_args_is_help=True, help="The two stores: state and record.")
settings_app = typer.Typer(no_args_is_help=True, help="The settings file.")
keys = typer.Typer(no_args_is_help=True, help="The sealed key store.")
agents = typer.Typer(no_args_is_help=True, help="Reader agents.")
cards = typer.Typer(no_args_is_help=True, help="Cards.")
directory = typer.Typer(no_args_is_help=True, help="The corporate directory.")
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
    ("access", access),
):
    app.add_typer(group, name=name)
cards.add_typer(pin, name="pin")


@app.callback()
def _program() -> None:
    """The one-card service of the city."""


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
    from cardservice.settings import contradictions

    found = contradictions(settings)
    if found:
        raise SettingsError("\n".join(found))
    typer.echo("the settings are complete and fit together")


@settings_app.command("example")
def settings_example() -> None:
    """Print a settings file with every setting, its meaning and its default."""
    from cardservice.settings import example

    typer.echo(example(), nl=False)


@keys.command("create")
@clearly
def keys_create(
    system_id: Annotated[str, typer.Option(help="1 to 16 characters, chosen once for this installation.")],
    config: ConfigOption = None,
) -> None:
    """Make a new sealed key store with fresh random master keys."""
    settings = load_settings(config)
    from cardservice.cards.keystore import create, generate_masters
    from cardservice.settings import read_secret

    passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
    create(settings.keys.store, passphrase, system_id=system_id.encode(), masters=generate_masters())
    typer.echo(f"made {settings.keys.store}; keep a copy of it and of its passphrase apart from each other")


@agents.command("enrol")
@clearly
def agents_enrol(name: str, public_key: str, config: ConfigOption = None) -> None:
    """Enrol the agent NAME with the PUBLIC_KEY that `cardservice agent init` printed on its machine."""
    _agents(config).enrol(name, public_key)
    typer.echo(f"agent {name} is enrolled")


@agents.command("lock")
@clearly
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

    views = list_cards(databases.state)
    text = "\n".join(f"{view.reference}  {view.state}  {view.state_reason or ''}" for view in views) or "no cards"
    show([asdict(view) for view in views], text, as_json=as_json)


@cards.command("set-state")
@clearly
def cards_set_state(
    reference: str, state: str, reason: Annotated[str | None, typer.Argument()] = None, config: ConfigOption = None
) -> None:
    """Suspend, revoke or reactivate the card REFERENCE; suspending and revoking need a REASON."""
    databases = open_stores(config)
    from cardservice.cards.rules import CardState
    from cardservice.cards.service import change_state

    if state not in set(CardState):
        raise SettingsError(f"{state!r} is not a state; allowed are {', '.join(CardState)}")
    change_state(databases.state, reference, CardState(state), reason)
    typer.echo(f"card {reference} is {state}")


@directory.command("check")
@clearly
def directory_check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Connect once to every directory and say in plain words what it offers and what is missing."""
    settings = load_settings(config)
    from cardservice.app import ldap_settings
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
