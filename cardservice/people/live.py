# SPDX-License-Identifier: EUPL-1.2
"""One person as their directory shows them at this moment: for points that want more than the copy.

The directory is asked in a thread of its own pool, bounded in time and in number: a tap waits, nothing else does.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.database import read
from cardservice.errors import CardServiceError, Overloaded
from cardservice.people.outsiders.store import outsider, sponsor
from cardservice.people.ports import LiveDirectory
from cardservice.people.rules import OUTSIDE, DirectoryPerson, Sponsored
from cardservice.people.store import load_person, person

LIMIT_S: Final = 0.25
THREADS: Final = 4
MAX_WAITING: Final = 32


_KNOWN: Final = (
    sa.select(
        person.c.directory,
        person.c.stable_id,
        sponsor.c.directory.label("sponsor_directory"),
        sponsor.c.stable_id.label("sponsor_stable_id"),
    )
    .select_from(person)
    .join(outsider, outsider.c.person_id == person.c.id, isouter=True)
    .join(sponsor, sponsor.c.id == outsider.c.sponsor_id, isouter=True)
)


class DirectorySilent(CardServiceError):
    """The directory did not say in time what it knows of a person."""

    code = "directory_silent"


class LivePeople:
    """Asks the directories themselves; `readers` has one for each directory by its name. Used from the event loop."""

    def __init__(self, engine: Engine, readers: Mapping[str, LiveDirectory]) -> None:
        self._engine = engine
        self._readers = readers
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="live person")
        self._waiting = 0

    async def person(self, row: int) -> DirectoryPerson | None:
        """Return the person with this row number as their directory shows them now, None if it shows nobody.

        Of somebody whom the service keeps itself the directory is asked for whoever answers for them.

        Raises:
            DirectorySilent: it did not answer in time, or what it answered cannot be read.
            Overloaded: too many wait already.
            DatabaseUnavailable: it cannot be found out who that is.
        """
        if self._waiting >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} questions to the directory wait already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, row)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads and the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for reader in self._readers.values():
            reader.close()

    def _read(self, row: int) -> DirectoryPerson | None:
        with read(self._engine) as connection:
            known = connection.execute(_KNOWN.where(person.c.id == row)).first()
            if known is None:
                return None
            kept = load_person(connection, row) if known.directory == OUTSIDE else None
        if kept is None:
            return self._ask(known.directory, known.stable_id)
        answering = self._ask(known.sponsor_directory, known.sponsor_stable_id)
        return Sponsored(**{field.name: getattr(kept, field.name) for field in fields(kept)}, sponsor=answering)

    def _ask(self, directory: str, stable_id: str) -> DirectoryPerson | None:
        reader = self._readers.get(directory)
        if reader is None:
            return None
        try:
            return reader.read(stable_id, LIMIT_S)
        except Exception as error:
            # Whatever a directory's own library raises: no answer is no permit.
            raise DirectorySilent(str(error)) from error
