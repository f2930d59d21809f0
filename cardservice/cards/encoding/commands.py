# SPDX-License-Identifier: EUPL-1.2
"""`cardservice cards encode|erase|rekey|probe`: a job for the running service, followed until it is over."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cardservice.console import ConfigOption, clearly, open_stores, traced
from cardservice.errors import Conflict, SettingsError

if TYPE_CHECKING:
    from cardservice.cards.encoding.service import Job
    from cardservice.cards.encoding.works import CardKeys
    from cardservice.database import Databases

_HERE: Final = "the command line"
_LOOK_S: Final = 0.5
AtOption = Annotated[str, typer.Option("--at", help="AGENT:READER, as `encoder_readers` of the agent names it.")]
BlankOption = Annotated[str | None, typer.Option("--blank", help="An erased card whose blank is used again.")]
ForOption = Annotated[int, typer.Option("--for", min=0, max=3_600, help="How many seconds to wait for the end.")]
OpenKeys = Callable[[Path | None], "CardKeys"]
_open_keys: list[OpenKeys] = []


def add_encoding_commands(cards: typer.Typer, open_keys: OpenKeys) -> None:
    """Add the commands to `cardservice cards`; `open_keys` opens the key store that the settings name."""
    _open_keys[:] = [open_keys]
    for name, command in (("encode", encode), ("erase", erase), ("rekey", rekey), ("probe", probe)):
        cards.command(name)(command)


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
    _do("encode", at, (card, blank), wait_s, config)


@clearly
@traced("encoding.order")
def erase(card: str, at: AtOption, wait_s: ForOption = 300, config: ConfigOption = None) -> None:
    """Have the CARD that was taken back, or only half made, erased at the encoder."""
    _do("erase", at, (card, None), wait_s, config)


@clearly
@traced("encoding.order")
def rekey(card: str, at: AtOption, wait_s: ForOption = 300, config: ConfigOption = None) -> None:
    """Have the CARD in use get the newest keys of each of its uses at the encoder."""
    _do("rekey", at, (card, None), wait_s, config)


@clearly
@traced("encoding.order")
def probe(at: AtOption, wait_s: ForOption = 300, config: ConfigOption = None) -> None:
    """Have whatever is laid on the encoder looked at: its family, its room, whether it is ours. Nothing is written."""
    _do("probe", at, (None, None), wait_s, config)


def _do(kind: str, at: str, which: tuple[str | None, str | None], wait_s: int, config: Path | None) -> None:
    from cardservice.cards.encoding import service
    from cardservice.cards.encoding.rules import EncoderName, JobKind
    from cardservice.cards.service import By
    from cardservice.clock import SystemClock
    from cardservice.database import write

    agent, _, reader = at.partition(":")
    if not agent or not reader:
        raise SettingsError(f"--at {at!r}: an agent, a colon and one of its encoder_readers")
    databases, keys = open_stores(config), _open_keys[0](config)
    wish = service.Wish(JobKind(kind), EncoderName(agent, reader), *which)
    with write(databases.state) as connection:
        job = service.order(connection, wish, By(_HERE), keys, SystemClock().now_ms())
    typer.echo(f"job {job.reference}: lay the card on {wish.encoder.reader} of {wish.encoder.agent}")
    _follow(partial(_look, databases, job.reference), wait_s)


def _look(databases: "Databases", reference: str) -> "Job":
    from cardservice.cards.encoding import service
    from cardservice.database import read

    with read(databases.state) as connection:
        return service.one(connection, reference)


def _follow(look: "Callable[[], Job]", wait_s: int) -> None:
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


def _say(job: "Job", said: Any) -> str:
    step = f", step {job.step} of {job.steps} ({job.step_name})" if job.steps and job.is_open else ""
    trouble = f": {job.trouble}" if job.trouble else ""
    facts = "" if job.facts is None else "".join(f"\n  {name}: {value}" for name, value in job.facts.items())
    line = f"{job.state}{step}{trouble}{facts}"
    if line != said:
        typer.echo(line)
    return line
