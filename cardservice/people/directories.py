# SPDX-License-Identifier: EUPL-1.2
"""All directories that feed one service: their copies, and what administrators ask of them in other programs."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from sqlalchemy.engine import Engine

from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import Conflict, DatabaseUnavailable
from cardservice.people import store
from cardservice.people.census import Followed
from cardservice.people.outsiders.book import OutsiderBook
from cardservice.people.service import DirectoryCopy
from cardservice.people.status import DirectoryStatus

_LOOK_S: Final = 0.5
_STOP_S: Final = 10.0
_log = structlog.get_logger()


def open_copies(
    engine: Engine,
    directories: Sequence[Followed],
    *,
    organisation: tuple[str, str],
    clock: Clock,
    publish: Callable[[], None],
) -> list[DirectoryCopy]:
    """Open the copies of these directories.

    Raises:
        Conflict: people of another directory are stored as present.
        DatabaseUnavailable: the state store cannot be used.
    """
    names = [one.name for one in directories]
    with read(engine) as connection:
        strangers = sorted(store.present_directories(connection) - set(names))
    if strangers:
        # Nobody would tell us any more when one of them leaves, and our proofs would vouch for them.
        raise Conflict(
            f"directories are named {', '.join(names)}, but people of {', '.join(strangers)} are stored as present: "
            "set the name back; renaming or leaving out a directory is not supported yet"
        )
    return [DirectoryCopy(engine, one, organisation=organisation, clock=clock, publish=publish) for one in directories]


class Directories:
    """What the service asks of all copies together.

    Between `start` and `stop` a thread takes notice of what administrators ask for: twice a second, in the tables, so
    that it does not matter in which program they did, on which database, or whether the directory can be reached.
    """

    def __init__(self, copies: Sequence[DirectoryCopy], outsiders: OutsiderBook | None = None) -> None:
        self.copies = tuple(copies)
        self._outsiders = outsiders or OutsiderBook.of(())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="directory requests", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=_STOP_S)

    def age_ms(self) -> int:
        """Return how long ago the copy that is the oldest was last proved."""
        return max(copy.age_ms() for copy in self.copies)

    def age_ms_of(self, person: int) -> int:
        """Return how long ago the copy that knows a person (a row number) was last proved; of nobody's, the oldest.

        Whom the service keeps itself is never older than what it knows: no directory has to be asked for that.
        """
        if person in self._outsiders.rows:
            return 0
        if len(self.copies) == 1:
            return self.copies[0].age_ms()
        copy = self._copy_of(person)
        return self.age_ms() if copy is None else copy.age_ms()

    def source(self) -> str:
        """Return what a decision records of where its people came from; of several directories by name."""
        if len(self.copies) == 1:
            return self.copies[0].source()
        return "; ".join(f"{copy.name}: {copy.source()}" for copy in self.copies)

    def login_of(self, row: int) -> str | None:
        """Return the login of the person with this row number, None if they have none, left or were never here."""
        copy = self._copy_of(row)
        return None if copy is None else copy.login_of(row)

    def statuses(self) -> list[DirectoryStatus]:
        """Return what operations and metrics show, one for each directory."""
        return [copy.status() for copy in self.copies]

    def look(self) -> None:
        """Take notice of what administrators asked for, at once.

        Raises:
            DatabaseUnavailable: it cannot be read or stored; the thread goes on trying.
        """
        for copy in self.copies:
            copy.look()

    def _copy_of(self, row: int) -> DirectoryCopy | None:
        return next((copy for copy in self.copies if copy.has_person(row)), None)

    def _run(self) -> None:
        troubled = False
        while not self._stop.is_set():
            try:
                self.look()
                troubled = False
            except DatabaseUnavailable as error:
                if not troubled:
                    _log.error("directory.requests_not_read", error=str(error))
                troubled = True
            self._stop.wait(_LOOK_S)
