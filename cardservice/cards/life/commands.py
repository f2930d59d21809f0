# SPDX-License-Identifier: EUPL-1.2
"""`cardservice cards`: give, replace, lend, lost, stock and the others, for whoever administers the machine."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, open_stores, show, traced
from cardservice.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from cardservice.cards.life.service import Gift, Giver
    from cardservice.database import Databases

_HERE: Final = "the command line"
NumberOption = Annotated[
    list[str] | None, typer.Option("--number", help="door=0102... (24 hexadecimal digits); again for each use.")
]
DeliveryOption = Annotated[int | None, typer.Option(help="The delivery that the blank card is of.")]


def add_life_commands(cards: typer.Typer) -> None:
    """Add the commands to `cardservice cards`."""
    for name, command in (
        ("give", give),
        ("replace", replace),
        ("lend", lend),
        ("hand-back", hand_back),
        ("lost", lost),
        ("history", history),
        ("stock", stock),
        ("deliver", deliver),
        ("void", void),
        ("number", number),
    ):
        cards.command(name)(command)


@clearly
@traced("cards.issue")
def give(
    login: str,
    profile: str,
    numbers: NumberOption = None,
    delivery: DeliveryOption = None,
    config: ConfigOption = None,
) -> None:
    """Give the person LOGIN a card for PROFILE; without numbers it has to be produced first."""
    from cardservice.cards.life import service

    databases = open_stores(config)
    gift = _gift(_person(databases, login), profile, numbers, delivery)
    reference = _made(databases, lambda at: service.give(at[0], gift, at[1], at[2]))
    typer.echo(f"card {reference} is given")


@clearly
@traced("cards.issue")
def replace(
    card: str, numbers: NumberOption = None, delivery: DeliveryOption = None, config: ConfigOption = None
) -> None:
    """Replace the CARD, which ends when the new one counts."""
    from cardservice.cards.life import service

    gift = _gift(0, "employee", numbers, delivery)
    made = _made(open_stores(config), lambda at: service.replace_card(at[0], card, gift, at[1], at[2]))
    typer.echo(f"card {made} replaces card {card}")


@clearly
@traced("cards.lend")
def lend(card: str, numbers: NumberOption = None, delivery: DeliveryOption = None, config: ConfigOption = None) -> None:
    """Lend a temporary card to the holder of the forgotten CARD, to the end of the shift."""
    from cardservice.cards.life import service

    gift = _gift(0, "employee", numbers, delivery)
    made = _made(open_stores(config), lambda at: service.lend(at[0], card, gift, at[1], at[2]))
    typer.echo(f"card {made} stands in for card {card}")


@clearly
@traced("cards.lend")
def hand_back(card: str, config: ConfigOption = None) -> None:
    """Take the temporary CARD back; the forgotten one counts again."""
    from cardservice.cards.life import service

    main = _made(open_stores(config), lambda at: service.hand_back(at[0], card, at[1], at[2]))
    typer.echo(f"card {card} is back; " + (f"card {main} counts again" if main else "no other card counts again"))


@clearly
@traced("cards.change")
def lost(login: str, config: ConfigOption = None) -> None:
    """Report the cards of the person LOGIN lost: they are refused everywhere at once, for good."""
    from cardservice.cards.life.loss import end_cards

    databases = open_stores(config)
    holder = _person(databases, login)
    found = _made(databases, lambda at: end_cards(at[0], holder, at[1].by, at[2]))
    for one in found.cards:
        typer.echo(f"card {one} is revoked")
    ended = f"uses that ended: {', '.join(found.uses_ended) or 'none'}; certificates: {found.certificates_changed}"
    typer.echo(ended if found.cards else "they have no card that could end")


@clearly
def history(card: str, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what became of the CARD, by whom and why."""
    databases = open_stores(config)
    from cardservice.cards import store
    from cardservice.database import read
    from cardservice.instants import instant

    with read(databases.state) as connection:
        if store.find_card(connection, card) is None:
            raise NotFound(f"there is no card {card}")
        rows = [row._asdict() for row in store.events_of(connection, card, 1_000)]
    lines = [f"{instant(one['at_ms'])}  {one['after']}  {one['reason'] or ''}  {one['actor']}" for one in rows]
    show(rows, "\n".join(lines) or "nothing is known of it", as_json=as_json)


@clearly
def stock(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the blank cards of each delivery, and whether they add up."""
    databases = open_stores(config)
    from dataclasses import asdict

    from cardservice.cards.life.stock import deliveries
    from cardservice.database import read

    with read(databases.state) as connection:
        found = deliveries(connection)
    lines = [
        f"{one.delivery}  {one.label}  delivered {one.delivered} = issued {one.issued} + void {one.void} + stock "
        f"{one.stock}{'' if one.adds_up else f', but the register has {one.counted}: look into it'}"
        for one in found
    ]
    documents = [asdict(one) | {"stock": one.stock, "adds_up": one.adds_up} for one in found]
    show(documents, "\n".join(lines) or "nothing was delivered", as_json=as_json)


@clearly
@traced("cards.deliver")
def deliver(organisation: str, label: str, count: int, config: ConfigOption = None) -> None:
    """Write down that COUNT blank cards came for the ORGANISATION (its code) as the delivery LABEL."""
    from cardservice.cards.life import stock

    def make(at: "tuple[Any, Giver, int]") -> int:
        return stock.add(at[0], stock.organisation_called(at[0], organisation), label, count, at[2])

    typer.echo(f"delivery {_made(open_stores(config), make)} has {count} blank cards")


@clearly
@traced("cards.deliver")
def void(organisation: str, delivery: int, count: int, config: ConfigOption = None) -> None:
    """Count COUNT blank cards of a DELIVERY (its number) to the ORGANISATION as void: damaged, or sent back."""
    from cardservice.cards.life import stock

    def make(at: "tuple[Any, Giver, int]") -> None:
        stock.void(at[0], delivery, stock.organisation_called(at[0], organisation), count)

    _made(open_stores(config), make)
    typer.echo(f"{count} blank cards of delivery {delivery} are void")


@clearly
def number(
    text: str,
    written: Annotated[str, typer.Option("--as", help="hex, hex_reversed, decimal, ..., wiegand_34.")] = "hex",
    length: Annotated[int, typer.Option(help="How many bytes a decimal number has: 4 or 7.")] = 4,
    as_json: JsonOption = False,
) -> None:
    """Show how the old card number TEXT is written in all other ways, and as what a reader's system reports it."""
    from cardservice.cards.numbers.rules import NumberRefused, Written, read_number

    if written not in set(Written):
        raise SettingsError(f"--as: allowed are {', '.join(Written)}")
    try:
        found = read_number(text, Written(written), length)
    except NumberRefused as refused:
        raise SettingsError(f"{text!r}: {refused}") from None
    ways = {**found.in_all_ways(), "reported": found.number().hex()}
    show(ways, "\n".join(f"{name}  {said}" for name, said in ways.items()), as_json=as_json)


def _made(databases: "Databases", make: "Callable[[tuple[Any, Giver, int]], Any]") -> Any:
    from cardservice.cards.life.service import Giver
    from cardservice.cards.service import By
    from cardservice.clock import SystemClock
    from cardservice.database import write
    from cardservice.web.reach import EVERYWHERE

    with write(databases.state) as connection:
        return make((connection, Giver(By(_HERE), (EVERYWHERE,)), SystemClock().now_ms()))


def _person(databases: "Databases", login: str) -> int:
    import sqlalchemy as sa

    from cardservice.database import read
    from cardservice.people.store import person

    with read(databases.state) as connection:
        chosen = sa.select(person.c.id).where(person.c.login == login, person.c.present).limit(2)
        found: list[int] = list(connection.execute(chosen).scalars())
    if len(found) != 1:
        raise NotFound(f"{'nobody' if not found else 'more than one person'} has the login {login}")
    return found[0]


def _gift(person: int, profile: str, numbers: list[str] | None, delivery: int | None) -> "Gift":
    from cardservice.cards.life.service import Gift
    from cardservice.cards.rules import NUMBER_BYTES

    found: dict[str, bytes] = {}
    for one in numbers or ():
        use, _, digits = one.partition("=")
        try:
            found[use] = bytes.fromhex(digits)
        except ValueError:
            raise SettingsError(f"--number {use}: hexadecimal digits") from None
        if use not in {"door", "timeclock", "printer", "canteen"} or len(found[use]) != NUMBER_BYTES:
            raise SettingsError("--number: door, timeclock, printer or canteen, = and 24 hexadecimal digits")
    return Gift(person, profile, found, delivery=delivery)
