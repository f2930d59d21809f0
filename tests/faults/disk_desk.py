# SPDX-License-Identifier: EUPL-1.2
"""Makes disks, and the stories on them, in a test's folder."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.disk_story import Story
from faults.file_layer import Disk

from cardservice.database import open_databases, upgrade


def migrate(folder: Path) -> Path:
    """Make both stores in `folder`, empty, and return it."""
    databases = open_databases(f"sqlite:///{folder}")
    upgrade(databases)
    databases.close()
    return folder


class Desk:
    """Disks in `folder`; a store begins as a copy of the one in `migrated`."""

    def __init__(self, folder: Path, migrated: Path, dice: random.Random) -> None:
        self._folder = folder
        self._migrated = migrated
        self._dice = dice
        self._disks = 0

    @property
    def image(self) -> Path:
        """Where what is left after a cut is laid out."""
        return self._folder / "image"

    @contextmanager
    def disk(self, *files: str) -> Iterator[Disk]:
        """A disk that holds `files` of the migrated stores; it goes, with everything on it, when the context ends."""
        folder = self._folder / f"disk-{self._disks}"
        self._disks += 1
        folder.mkdir()
        for file in files:
            shutil.copy(self._migrated / file, folder)
        disk = Disk(folder, self._dice)
        yield disk
        disk.close()
        shutil.rmtree(folder)

    @contextmanager
    def story(self, file: str, *, synchronous: str = "FULL") -> Iterator[Story]:
        """Begin a story with an empty, migrated store; an outbox begins with nothing at all."""
        here = [file] if (self._migrated / file).exists() else []
        with self.disk(*here) as disk:
            yield Story(disk, file, synchronous)
