# SPDX-License-Identifier: EUPL-1.2
"""The command line. Each command imports what it needs, so that a reader machine runs `agent` without the service."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from cardservice import __version__, logs
from cardservice.errors import CardServiceError, SettingsError

if TYPE_CHECKING:
    from cardservice.database import Databases
    from cardservice.settings import Settings

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
):
    app.add_typer(group, name=name)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="CARDSERVICE_CONFIG", help="The settings file (TOML).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Arguments = ParamSpec("Arguments")


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    """Say which extra brings the package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"this needs a package that is not installed ({error.name}): pip install 'cardservice[{extra}]'"
        ) from error


def _clearly(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """End with one clear message and the error's own exit code instead of a traceback."""

    @wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            with _needs("service"):
                command(*args, **kwargs)
        except CardServiceError as error:
            typer.echo(f"cardservice: {error}", err=True)
            raise typer.Exit(error.exit_code) from None

    return run


def _settings(config: Path | None) -> "Settings":
    from cardservice.settings import load

    loaded = load(config)
    logs.configure(loaded.logging.level, loaded.logging.format)
    return loaded


def _stores(config: Path | None) -> "Databases":
    """Return the stores the settings name, at the revision of this program."""
    settings = _settings(config)
    from cardservice.database import open_databases, require_head

    databases = open_databases(settings.database.url)
    require_head(databases)
    return databases


def _print(document: Any, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(document, indent=1) if as_json else text)


@app.callback()
def _program() -> None:
    """The one-card service of the city."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
@_clearly
def serve(config: ConfigOption = None) -> None:
    """Run the central service until ctrl-C or SIGTERM."""
    settings = _settings(config)
    from cardservice.app import serve as run

    def on_ready(url: str) -> None:
        typer.echo(json.dumps({"ready": True, "url": url}))
        sys.stdout.flush()

    run(settings, on_ready)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
@_clearly
def agent(context: typer.Context) -> None:
    """Run a reader agent (`cardservice agent --help` tells more)."""
    with _needs("agent"):
        from readers.main import main as agent_main

    raise typer.Exit(agent_main(context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
@_clearly
def demo(context: typer.Context) -> None:
    """Run the demonstration city (`cardservice demo --help` tells more)."""
    with _needs("demo"):
        from cardservice.demo.command import main as demo_main

    raise typer.Exit(demo_main(context.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
@_clearly
def bench(context: typer.Context) -> None:
    """Measure (`cardservice bench --help` tells what)."""
    with _needs("service"):
        from cardservice.bench.command import main as bench_main

    raise typer.Exit(bench_main(context.args))


@db.command("upgrade")
@_clearly
def db_upgrade(config: ConfigOption = None) -> None:
    """Create the stores, or bring them to the revision of this program."""
    settings = _settings(config)
    from cardservice.database import open_databases, upgrade

    with closing(open_databases(settings.database.url)) as databases:
        upgrade(databases)
    typer.echo("both stores are at the newest revision")


@db.command("check")
@_clearly
def db_check(config: ConfigOption = None) -> None:
    """Tell whether the stores can be used by this program."""
    databases = _stores(config)
    from cardservice.database import require_writable

    require_writable(databases)
    typer.echo("both stores are at the newest revision and can be written")


@settings_app.command("check")
@_clearly
def settings_check(config: ConfigOption = None) -> None:
    """Explain every error in the settings."""
    settings = _settings(config)
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
@_clearly
def keys_create(
    system_id: Annotated[str, typer.Option(help="1 to 16 characters, chosen once for this installation.")],
    config: ConfigOption = None,
) -> None:
    """Make a new sealed key store with fresh random master keys."""
    settings = _settings(config)
    from cardservice.cards.keystore import create, generate_masters
    from cardservice.settings import read_secret

    passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
    create(settings.keys.store, passphrase, system_id=system_id.encode(), masters=generate_masters())
    typer.echo(f"made {settings.keys.store}; keep a copy of it and of its passphrase apart from each other")


@agents.command("enrol")
@_clearly
def agents_enrol(name: str, public_key: str, config: ConfigOption = None) -> None:
    """Enrol the agent NAME with the PUBLIC_KEY that `cardservice agent init` printed on its machine."""
    _agents(config).enrol(name, public_key)
    typer.echo(f"agent {name} is enrolled")


@agents.command("lock")
@_clearly
def agents_lock(
    name: str,
    config: ConfigOption = None,
    unlock: Annotated[bool, typer.Option("--unlock", help="Trust it again.")] = False,
) -> None:
    """Stop trusting the agent NAME; it is cut off within a second."""
    _agents(config).lock(name, locked=not unlock)
    typer.echo(f"agent {name} is {'unlocked' if unlock else 'locked'}")


@agents.command("list")
@_clearly
def agents_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the enrolled agents."""
    views = _agents(config).list()
    text = "\n".join(f"{view.code}{'  locked' if view.locked else ''}" for view in views) or "no agent is enrolled"
    _print([asdict(view) for view in views], text, as_json=as_json)


def _agents(config: Path | None) -> Any:
    databases = _stores(config)
    from cardservice.agents.service import Agents
    from cardservice.clock import SystemClock

    return Agents(databases.state, SystemClock())


@cards.command("list")
@_clearly
def cards_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the cards and their states."""
    databases = _stores(config)
    from cardservice.cards.service import list_cards

    views = list_cards(databases.state)
    text = "\n".join(f"{view.reference}  {view.state}  {view.state_reason or ''}" for view in views) or "no cards"
    _print([asdict(view) for view in views], text, as_json=as_json)


@cards.command("set-state")
@_clearly
def cards_set_state(
    reference: str, state: str, reason: Annotated[str | None, typer.Argument()] = None, config: ConfigOption = None
) -> None:
    """Suspend, revoke or reactivate the card REFERENCE; suspending and revoking need a REASON."""
    databases = _stores(config)
    from cardservice.cards.rules import CardState
    from cardservice.cards.service import change_state

    if state not in set(CardState):
        raise SettingsError(f"{state!r} is not a state; allowed are {', '.join(CardState)}")
    change_state(databases.state, reference, CardState(state), reason)
    typer.echo(f"card {reference} is {state}")


@directory.command("check")
@_clearly
def directory_check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Connect once and say in plain words what the directory offers and what is missing."""
    settings = _settings(config)
    from cardservice.app import ldap_settings
    from integrations.ldap import check

    findings = check(ldap_settings(settings.directory))
    text = "\n".join(str(finding) for finding in findings)
    _print([asdict(finding) for finding in findings], text, as_json=as_json)


@ledger.command("check")
@_clearly
def ledger_check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Add the canteen's ledger up anew: every transfer, every account, every payment; name the first fault."""
    databases = _stores(config)
    from cardservice.canteen.service import check

    report = check(databases.record)
    text = (
        f"the ledger adds up: {report.accounts} accounts, {report.transfers} transfers, {report.entries} entries, "
        f"{report.requests} answered requests"
    )
    _print(asdict(report), text, as_json=as_json)


@journal.command("verify")
@_clearly
def journal_verify(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Recompute every chain of the journal and name the first entry that does not fit."""
    databases = _stores(config)
    from cardservice.journal.service import verify

    reports = verify(databases.record)
    text = "\n".join(f"{report.stream}, epoch {report.epoch}: {report.entries} entries" for report in reports)
    _print([asdict(report) for report in reports], text or "the journal is empty", as_json=as_json)


def main() -> None:
    """Run the command line."""
    app()
