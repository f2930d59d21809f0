# SPDX-License-Identifier: EUPL-1.2
"""`cardservice db backup` and `db restore`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, show

if TYPE_CHECKING:
    from cardservice.backup.manifest import Manifest, Progress

TargetArgument = Annotated[Path, typer.Argument(help="A folder that does not exist yet.")]
SourceArgument = Annotated[Path, typer.Argument(help="The folder that 'db backup' made.")]


@clearly
def backup(target: TargetArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Copy both stores into the new folder TARGET, beside the running service, and verify the copies."""
    settings = load_settings(config)
    from cardservice.backup.service import back_up
    from cardservice.clock import SystemClock

    with _shown("Backing up") as progress:
        manifest = back_up(settings.database.url, target, SystemClock(), progress)
    text = f"{target}: both stores as they were at {manifest.taken()}, {manifest.size} bytes, verified"
    show(_document(manifest), text, as_json=as_json)


@clearly
def restore(source: SourceArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Put the backup SOURCE in the place of both stores; the service must not run, and what was there is kept."""
    settings = load_settings(config)
    from cardservice.backup.service import restore as put_back
    from cardservice.clock import SystemClock

    with _shown("Restoring") as progress:
        restored = put_back(settings.database.url, source, SystemClock(), progress)
    lines = [f"both stores are as they were at {restored.manifest.taken()}; everybody has to sign in again"]
    lines += [f"kept from before: {name}" for name in restored.kept]
    lines.append("next: 'cardservice db upgrade', then start the service (see 'After a restore' in docs/operations.md)")
    show({**_document(restored.manifest), "kept": list(restored.kept)}, "\n".join(lines), as_json=as_json)


def _document(manifest: "Manifest") -> dict[str, Any]:
    return manifest.model_dump(mode="json")


@contextmanager
def _shown(what: str) -> Iterator["Progress"]:
    """Show a bar on standard error where somebody looks at it, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        expected = 0

        def progress(more: int, total: int | None) -> None:
            nonlocal expected
            expected += total or 0
            bar.update(task, advance=more, total=expected or None)

        yield progress
