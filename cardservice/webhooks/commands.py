# SPDX-License-Identifier: EUPL-1.2
"""`cardservice webhooks ...`. Each command imports what it needs: a reader machine has no service's libraries."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, open_stores, show, traced
from cardservice.instants import instant

if TYPE_CHECKING:
    from cardservice.webhooks.service import Webhooks, WebhookView

webhooks = typer.Typer(no_args_is_help=True, help="Systems outside that are told what happens.")
Name = Annotated[str, typer.Argument(help="What the webhook is called here.")]


@webhooks.command("list")
@clearly
def webhooks_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List who is told of what, and how that goes."""
    found = _webhooks(config).list()
    show([asdict(one) for one in found], "\n".join(map(_described, found)) or "nobody is told", as_json=as_json)


@webhooks.command("events")
def webhooks_events() -> None:
    """List the types of events there are."""
    from cardservice.webhooks.rules import EVENT_TYPES

    typer.echo("\n".join(sorted(EVENT_TYPES)))


@webhooks.command("add")
@clearly
@traced("webhooks.add")
def webhooks_add(
    name: Name,
    url: Annotated[str, typer.Argument(help="Where to send: https://...")],
    events: Annotated[list[str], typer.Argument(help="Types of events; 'cardservice webhooks events' lists them.")],
    config: ConfigOption = None,
) -> None:
    """Have events sent to URL from now on; prints the secret, which is never shown again."""
    typer.echo(_webhooks(config).add(name, url, events))


@webhooks.command("remove")
@clearly
@traced("webhooks.remove")
def webhooks_remove(name: Name, config: ConfigOption = None) -> None:
    """Send it nothing any more, and forget what waits for it."""
    _webhooks(config).remove(name)
    typer.echo(f"webhook {name} is removed")


@webhooks.command("enable")
@clearly
@traced("webhooks.enable")
def webhooks_enable(name: Name, config: ConfigOption = None) -> None:
    """Begin anew with what waits for it."""
    _webhooks(config).enable(name)
    typer.echo(f"webhook {name} is enabled")


@webhooks.command("disable")
@clearly
@traced("webhooks.disable")
def webhooks_disable(name: Name, config: ConfigOption = None) -> None:
    """Send it nothing until it is enabled; what happens meanwhile is not kept for it."""
    _webhooks(config).disable(name)
    typer.echo(f"webhook {name} is disabled")


@webhooks.command("rotate")
@clearly
@traced("webhooks.rotate")
def webhooks_rotate(name: Name, config: ConfigOption = None) -> None:
    """Print a new secret; for a day the one before signs beside it."""
    typer.echo(_webhooks(config).rotate(name))


@webhooks.command("test")
@clearly
@traced("webhooks.test")
def webhooks_test(name: Name, config: ConfigOption = None) -> None:
    """Have the running service send an event that says nothing."""
    _webhooks(config).test(name)
    typer.echo("the running service sends it; 'cardservice webhooks list' tells what came of it")


def _described(view: "WebhookView") -> str:
    state = "enabled" if view.enabled else f"disabled since {instant(view.disabled_ms or 0)}"
    last = "nothing was taken yet" if view.delivered_ms is None else f"last taken {instant(view.delivered_ms)}"
    lines = [f"{view.name}  {view.url}  {state}, {last}, {view.waiting} wait", f"  {', '.join(view.events)}"]
    why = view.disabled_why or view.trouble
    return "\n".join([*lines, *([f"  {why}"] if why else []), *([f"  {view.lost} given up"] if view.lost else [])])


def _webhooks(config: Path | None) -> "Webhooks":
    databases, settings = open_stores(config), load_settings(config)
    from cardservice.cards.keystore import open_store
    from cardservice.clock import SystemClock
    from cardservice.settings import read_secret
    from cardservice.webhooks.service import Webhooks, secret_box, targets

    passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
    keys = open_store(settings.keys.store, passphrase, demonstration_allowed=settings.demonstration)
    return Webhooks(databases.state, SystemClock(), secret_box(keys), targets(settings.webhooks))
