# SPDX-License-Identifier: EUPL-1.2
"""A story is what a product's part did on a `Disk`, and what it had said by which step.

Every store is asked the same after a power cut: is it whole, and does it hold exactly what it held after one of its
commits, not an earlier one than the last that had returned?
"""

import hashlib
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from faults.disk_driver import DiskConnection, Driver
from faults.disk_image import images, lay_out
from faults.file_layer import Disk

NOTHING = hashlib.sha256().hexdigest()


class Asked(Protocol):
    """A connection of either kind."""

    def execute(self, statement: str, /) -> Any: ...


def contents(connection: Asked) -> str:
    """Return a digest of every row of every table."""
    digest = hashlib.sha256()
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for (table,) in tables:
        rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
        digest.update(repr((table, rows)).encode())
    return digest.hexdigest()


@dataclass
class Story:
    """`told` is what the product said, each with the number of steps done by then; `commits` likewise."""

    disk: Disk
    file: str
    synchronous: str = "FULL"
    told: list[tuple[int, tuple[Any, ...]]] = field(default_factory=list)
    commits: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commits.append((0, _check(self.disk.folder / self.file)[1]))
        self.driver = Driver(self.disk, synchronous=self.synchronous, committed=self._committed)

    def tell(self, *what: Any) -> None:
        """The product has just said `what`."""
        self.told.append((len(self.disk.steps), what))

    def by(self, cut: int, word: str) -> list[tuple[Any, ...]]:
        """What had been said by the step `cut` that begins with `word`, without it."""
        return [what[1:] for at, what in self.told if at <= cut and what[0] == word]

    def _committed(self, connection: DiskConnection) -> None:
        now = contents(connection)
        if now != self.commits[-1][1]:
            self.commits.append((len(self.disk.steps), now))


@dataclass
class Finding:
    """What many power cuts did."""

    cuts: int = 0
    lost: int = 0
    unreadable: list[str] = field(default_factory=list)
    acknowledged: int = 0


class Examine(Protocol):
    """Opens what a power cut left with the product's own code; raises whatever is wrong."""

    def __call__(self, folder: Path, story: Story, cut: int) -> None: ...


def some_cuts(story: Story, how_often: int, dice: random.Random) -> list[int]:
    """Random steps, and the last one."""
    last = len(story.disk.steps)
    return [*(dice.randrange(last + 1) for _ in range(how_often - 1)), last]


def examine_cuts(
    story: Story, folder: Path, cuts: Sequence[int], dice: random.Random, examine: Examine | None = None
) -> Finding:
    """Lay out one image per cut in `folder`; look at the store, then let `examine` open it."""
    finding = Finding()
    for cut, image in images(story.disk, cuts, dice):
        lay_out(image, folder)
        finding.cuts += 1
        finding.acknowledged += sum(at <= cut for at, _ in story.commits[1:])
        verdict = _verdict(folder / story.file, story, cut)
        if verdict == "lost":
            finding.lost += 1
        elif verdict != "kept":
            finding.unreadable.append(f"after {cut} steps: {verdict}")
        if examine is not None and verdict == "kept":
            examine(folder, story, cut)
    return finding


def _check(file: Path) -> tuple[str, str]:
    """Return what SQLite says of a store, and the digest of what it holds; a store that is not there holds nothing."""
    if not file.exists():
        return "ok", NOTHING
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        return str(connection.execute("PRAGMA quick_check").fetchone()[0]), contents(connection)


def _verdict(file: Path, story: Story, cut: int) -> str:
    try:
        check, found = _check(file)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return str(error)
    if check != "ok":
        return check
    returned = sum(at <= cut for at, _ in story.commits)
    # The next one may be there although nobody has been told yet.
    if any(found == after for _, after in story.commits[returned - 1 : returned + 1]):
        return "kept"
    return "lost" if any(found == after for _, after in story.commits[: returned - 1]) else "no commit left it so"
