# SPDX-License-Identifier: EUPL-1.2
"""`cardservice cards pin ...`. A PIN is typed twice or comes by standard input, and is never an argument."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, open_stores, show, traced
from cardservice.instants import instant

if TYPE_CHECKING:
    from cardservice.cards.pin.service import Pins, PinView

pin = typer.Typer(no_args_is_help=True, help="PINs of card holders, for points that demand more than the card.")
# Longer than any PIN: what is typed beyond is refused, not read.
_MAX_LINE = 64
CardOrLogin = Annotated[str, typer.Argument(help="The reference of a card, or the login of its holder.")]


@pin.command("set")
@clearly
@traced("pins.set")
def pin_set(card_or_login: CardOrLogin, config: ConfigOption = None) -> None:
    """Give the holder a PIN: typed twice, or the first line of standard input."""
    pins = _pins(config)
    holder = pins.find(card_or_login)
    pins.set(holder.person, _read_pin())
    typer.echo(f"the PIN of {card_or_login} is set; it counts at once")


@pin.command("reset")
@clearly
@traced("pins.reset")
def pin_reset(card_or_login: CardOrLogin, config: ConfigOption = None) -> None:
    """Take the holder's PIN away: where one is demanded they cannot pass until they have a new one."""
    pins = _pins(config)
    had_one = pins.reset(pins.find(card_or_login).person)
    typer.echo(f"{card_or_login} has no PIN any more" if had_one else f"{card_or_login} had no PIN")


@pin.command("unlock")
@clearly
@traced("pins.unlock")
def pin_unlock(card_or_login: CardOrLogin, config: ConfigOption = None) -> None:
    """Forget the wrong PINs that were typed with this card, or with every card of the login."""
    pins = _pins(config)
    pins.unlock(pins.find(card_or_login))
    typer.echo(f"wrong PINs of {card_or_login} are forgotten")


@pin.command("show")
@clearly
def pin_show(card_or_login: CardOrLogin, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell whether the holder has a PIN, since when, and which of their cards is locked; never the PIN."""
    pins = _pins(config)
    view = pins.view(pins.find(card_or_login).person)
    document = {
        "changed_ms": view.changed_ms,
        "cards": [{"card": reference, **tries._asdict()} for reference, tries in view.tries.items()],
    }
    show(document, _described(view), as_json=as_json)


def _described(view: "PinView") -> str:
    lines = ["no PIN" if view.changed_ms is None else f"PIN since {instant(view.changed_ms)}"]
    for reference, tries in view.tries.items():
        until = f", locked until {instant(tries.locked_until_ms)}" if tries.locked_until_ms else ""
        lines.append(f"card {reference}: {tries.wrong} wrong{until}")
    return "\n".join(lines)


def _read_pin() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("PIN", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline(_MAX_LINE).rstrip("\r\n")


def _pins(config: Path | None) -> "Pins":
    databases, settings = open_stores(config), load_settings(config)
    from cardservice.cards.keystore import open_store
    from cardservice.cards.pin.service import Pins, pepper_of
    from cardservice.clock import SystemClock
    from cardservice.settings import read_secret

    passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
    keys = open_store(settings.keys.store, passphrase, demonstration_allowed=settings.demonstration)
    return Pins(databases.state, pepper_of(keys), SystemClock())
