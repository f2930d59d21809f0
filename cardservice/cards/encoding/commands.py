# SPDX-License-Identifier: EUPL-1.2
"""`cardservice cards encode|register|erase|rekey|probe|privacy-scan`: a job for the service, followed to its end."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, open_stores, show, traced
from cardservice.errors import Conflict, NotFound, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from cardservice.cards.encoding.ports import CardInReader
    from cardservice.cards.encoding.rules import NumberUse
    from cardservice.cards.encoding.service import Job
    from cardservice.cards.encoding.works import CardKeys
    from cardservice.database import Databases

_HERE: Final = "the command line"
_LOOK_S: Final = 0.5
AtOption = Annotated[str, typer.Option("--at", help="AGENT:READER, as `encoder_readers` of the agent names it.")]
BlankOption = Annotated[str | None, typer.Option("--blank", help="An erased card whose blank is used again.")]
ForOption = Annotated[int, typer.Option("--for", min=0, max=3_600, help="How many seconds to wait for the end.")]
NumberOption = Annotated[
    str | None,
    typer.Option("--number", help="ZONE:DAY, as altbau:2027-09-30: where its bare number counts if it proves nothing."),
]


class Around(NamedTuple):
    """What the commands are given by whoever puts the program together.

    `open_keys` opens the key store that the settings name; `zones` are the row numbers of the zones by code;
    `card_here` is for whoever has a reader and no service.
    """

    open_keys: Callable[[Path | None], "CardKeys"]
    zones: Callable[["Connection"], Mapping[str, int]]
    # The card in a reader of this machine, by the reader's name; none: the first in which a card lies.
    card_here: Callable[[str | None], AbstractContextManager["CardInReader"]]


_around: list[Around] = []


def add_encoding_commands(cards: typer.Typer, around: Around) -> None:
    """Add the commands to `cardservice cards`."""
    _around[:] = [around]
    for command in (encode, register, erase, rekey, probe, privacy_scan):
        cards.command(command.__name__.replace("_", "-"))(command)


@clearly
@traced("encoding.order")
def encode(
    card: str,
    at: AtOption,
    blank: BlankOption = None,
    wait_s: ForOption = 300,
    config: ConfigOption = None,
) -> None:
    """Have the ordered CARD written to the blank that is laid on the encoder; it is produced then."""
    _do("encode", at, _Which(card, blank), wait_s, config)


@clearly
@traced("encoding.order")
def register(
    card: str,
    at: AtOption,
    number: NumberOption = None,
    wait_s: ForOption = 300,
    config: ConfigOption = None,
) -> None:
    """Have the ordered CARD be the one that lies on the encoder, as it is: a bought PIV token, or one of before."""
    _do("register", at, _Which(card, number=number), wait_s, config)


@clearly
@traced("encoding.order")
def erase(card: str, at: AtOption, wait_s: ForOption = 300, config: ConfigOption = None) -> None:
    """Have the CARD that was taken back, or only half made, erased at the encoder."""
    _do("erase", at, _Which(card), wait_s, config)


@clearly
@traced("encoding.order")
def rekey(card: str, at: AtOption, wait_s: ForOption = 300, config: ConfigOption = None) -> None:
    """Have the CARD in use get the newest keys of each of its uses at the encoder."""
    _do("rekey", at, _Which(card), wait_s, config)


@clearly
@traced("encoding.order")
def probe(at: AtOption, wait_s: ForOption = 300, config: ConfigOption = None) -> None:
    """Have whatever is laid on the encoder looked at: its family, its room, whether it is ours. Nothing is written."""
    _do("probe", at, _Which(), wait_s, config)


@clearly
def privacy_scan(
    at: Annotated[
        str | None, typer.Option("--at", help="At this encoder (AGENT:READER) of the running service.")
    ] = None,
    reader: Annotated[str | None, typer.Option("--reader", help="In this PC/SC reader of this machine.")] = None,
    wait_s: ForOption = 300,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a card twice without any key and list every byte that was the same: could somebody follow it by that?

    Without --at, a card in a reader of this machine is read: neither service nor settings are needed.
    """
    from cardservice.cards.encoding.scanning import findings_document, followed_by, scan
    from cardservice.chip.errors import ChipError

    if at is not None:
        facts = _do("probe", at, _Which(), wait_s, config).facts or {}
        stable = list(facts.get("stable", ()))
    else:
        with _around[0].card_here(reader) as card:
            try:
                stable = findings_document(scan(card)[1])
            except ChipError as error:
                raise Conflict(f"the card could not be read to the end: {error}") from error
    lines = [f"{one['where']}, from byte {one['offset']}: {one['bytes']} bytes, {one['tells']}" for one in stable]
    show(stable, "\n".join(lines) or "no byte was the same, beyond the type of the chip", as_json=as_json)
    if found := followed_by(stable):
        raise Conflict(f"the card could be followed by: {', '.join(found)}")


class _Which(NamedTuple):
    """Which card, on which blank, and where its bare number counts."""

    card: str | None = None
    blank: str | None = None
    number: str | None = None


def _do(kind: str, at: str, which: _Which, wait_s: int, config: Path | None) -> "Job":
    from cardservice.cards.encoding import service
    from cardservice.cards.encoding.rules import EncoderName, JobKind
    from cardservice.cards.service import By
    from cardservice.clock import SystemClock
    from cardservice.database import write

    agent, _, reader = at.partition(":")
    if not agent or not reader:
        raise SettingsError(f"--at {at!r}: an agent, a colon and one of its encoder_readers")
    databases, keys = open_stores(config), _around[0].open_keys(config)
    with write(databases.state) as connection:
        number = None if which.number is None else _number_use(connection, which.number)
        wish = service.Wish(JobKind(kind), EncoderName(agent, reader), which.card, which.blank, number)
        job = service.order(connection, wish, By(_HERE), keys, SystemClock().now_ms())
    typer.echo(f"job {job.reference}: lay the card on {wish.encoder.reader} of {wish.encoder.agent}")
    return _follow(partial(_look, databases, job.reference), wait_s)


def _number_use(connection: "Connection", text: str) -> "NumberUse":
    from cardservice.cards.bulk.rules import day_ms
    from cardservice.cards.encoding.rules import NumberUse
    from cardservice.cards.life.rules import shift_end_ms

    building, _, day = text.partition(":")
    try:
        begins_ms = day_ms(day)
    except ValueError:
        begins_ms = None
    if begins_ms is None:
        raise SettingsError(f"--number {text!r}: a zone, a colon and a day as 2027-09-30")
    zone = _around[0].zones(connection).get(building)
    if zone is None:
        raise NotFound(f"there is no zone {building}")
    return NumberUse(zone, shift_end_ms(begins_ms))


def _look(databases: "Databases", reference: str) -> "Job":
    from cardservice.cards.encoding import service
    from cardservice.database import read

    with read(databases.state) as connection:
        return service.one(connection, reference)


def _follow(look: "Callable[[], Job]", wait_s: int) -> "Job":
    """Say what changes until the job is over, or `wait_s` seconds are; the job goes on without anybody who looks.

    Raises:
        Conflict: it failed, was cancelled, or is not over yet.
    """
    until_s, said = time.monotonic() + wait_s, None
    while (job := look()).is_open and time.monotonic() < until_s:
        said = _say(job, said)
        time.sleep(_LOOK_S)
    _say(job, said)
    if job.is_open:
        raise Conflict(f"job {job.reference} is not over after {wait_s} s; it goes on when its card is laid on")
    if job.state != "done":
        raise Conflict(f"job {job.reference} is {job.state}" + (f": {job.detail}" if job.detail else ""))
    return job


def _say(job: "Job", said: Any) -> str:
    step = f", step {job.step} of {job.steps} ({job.step_name})" if job.steps and job.is_open else ""
    trouble = f": {job.trouble}" if job.trouble else ""
    told = {name: value for name, value in (job.facts or {}).items() if name != "stable"}
    facts = "".join(f"\n  {name}: {value}" for name, value in told.items())
    line = f"{job.state}{step}{trouble}{facts}"
    if line != said:
        typer.echo(line)
    return line
