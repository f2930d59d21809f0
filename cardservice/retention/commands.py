# SPDX-License-Identifier: EUPL-1.2
"""`cardservice retention ...`. Each command imports what it needs: a reader machine has no service's libraries."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, open_stores, show
from cardservice.errors import Conflict
from cardservice.instants import instant

if TYPE_CHECKING:
    from cardservice.retention.api import KeptLimit
    from cardservice.retention.service import Retention

retention = typer.Typer(no_args_is_help=True, help="What is kept about people, and until when.")
_HOUR_MS = 3_600_000


@retention.command("status")
@clearly
def retention_status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show each limit, how old the oldest entry is, and whether anything is overdue."""
    from cardservice.clock import SystemClock
    from cardservice.retention.api import kept

    with _retention(config) as found:
        standing = kept(found, SystemClock().now_ms())
    lines = [_line(one) for one in standing.limits]
    lines += [] if standing.doubt is None else [standing.doubt]
    show(standing.model_dump(), "\n".join(lines), as_json=as_json)


@retention.command("run")
@clearly
def retention_run(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase what is over; not beside a running service, which does so every hour."""
    with _retention(config, alone=not dry_run) as found:
        report = found.due() if dry_run else found.run()
    if report.doubt is not None and not dry_run:
        raise Conflict(report.doubt)
    what = "would be erased" if dry_run else "erased"
    show({"erased": dict(report.erased), "dry_run": dry_run}, _counted(report.erased, what), as_json=as_json)


@retention.command("confirm-clock")
@clearly
def retention_confirm_clock(config: ConfigOption = None) -> None:
    """Say that this machine's clock is right: what is over by it is erased."""
    from cardservice.clock import SystemClock

    with _retention(config) as found:
        found.confirm_clock()
    typer.echo(f"confirmed: it is {instant(SystemClock().now_ms())}; the service goes on within the hour")


def _line(one: "KeptLimit") -> str:
    kept = f"{one.days} days" if one.days else "until they end"
    oldest = "nothing" if one.oldest_ms is None else f"oldest {instant(one.oldest_ms)}"
    late = f"; OVERDUE by {one.overdue_ms // _HOUR_MS} hours" if one.late else ""
    ran = "never run" if one.last_run_ms is None else f"last run {instant(one.last_run_ms)}"
    reason = "" if one.reason is None else f"; longer than the usual {one.usual_days}: {one.reason}"
    return f"{one.limit}: {kept}; {oldest}; {ran}{late}{reason}"


def _counted(erased: Mapping[str, int], what: str) -> str:
    lines = [f"{name}: {count} {what}" for name, count in erased.items() if count]
    return "\n".join(lines) or f"nothing {what}"


@contextmanager
def _retention(config: Path | None, *, alone: bool = False) -> "Iterator[Retention]":
    """Return what erases, on the stores of the settings; `alone`: only if no service runs on them."""
    databases, settings = open_stores(config), load_settings(config)
    from cardservice.cards.keystore import open_store
    from cardservice.claim import claim
    from cardservice.clock import SystemClock
    from cardservice.journal.service import Journal
    from cardservice.ledger.service import Ledger
    from cardservice.recorder import Recorder
    from cardservice.retention.service import Hands, Retention
    from cardservice.settings import read_secret

    give_back = claim(databases) if alone else None
    passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
    keys = open_store(settings.keys.store, passphrase, demonstration_allowed=settings.demonstration)
    journal = Journal(lambda stream, purpose: keys.secret(f"journal {stream} {purpose}"))
    ledger = Ledger()
    recorder = Recorder(databases.record, (journal, ledger))
    recorder.start()
    hands = Hands(databases, recorder, journal, ledger, lambda: keys.secret("canteen pseudonym"), SystemClock())
    try:
        yield Retention(hands, settings.retention)
    finally:
        recorder.stop()
        if give_back is not None:
            give_back()
