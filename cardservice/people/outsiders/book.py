# SPDX-License-Identifier: EUPL-1.2
"""Who is kept outside the directories, in memory: a tap asks and waits for no store."""

from collections.abc import Iterable
from typing import Self

import structlog
from sqlalchemy.engine import Engine

from cardservice.database import read
from cardservice.errors import DatabaseUnavailable
from cardservice.people.outsiders.store import all_rows

_log = structlog.get_logger()


class OutsiderBook:
    """The row numbers of everybody who ever was. `rows` may be read from any thread; it is replaced, never changed."""

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        self.rows: frozenset[int] = frozenset()

    @classmethod
    def of(cls, rows: Iterable[int]) -> Self:
        """Return a book of these, for whoever has no store."""
        made = cls(None)
        made.rows = frozenset(rows)
        return made

    def refresh(self) -> None:
        """Read them anew.

        Raises:
            DatabaseUnavailable: the store cannot be read; what was known stays.
        """
        if self._engine is not None:
            with read(self._engine) as connection:
                self.rows = all_rows(connection)

    def refresh_if_possible(self) -> None:
        """Read them anew, for whoever has something else to do than to wait for the store.

        Who is not known yet counts by the age of the directories meanwhile: refused where these are silent.
        """
        try:
            self.refresh()
        except DatabaseUnavailable as error:
            _log.warning("outsiders.not_refreshed", error=str(error))
