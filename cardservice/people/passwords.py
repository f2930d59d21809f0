# SPDX-License-Identifier: EUPL-1.2
"""Whether a password is somebody's: asked of their directory by a bind, and of one for a name that nobody has too."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.clock import Clock
from cardservice.database import read
from cardservice.people.store import person
from cardservice.web.signin import Checked

MAX_LOGIN: Final = 200
_COLUMNS: Final[tuple[sa.ColumnElement[Any], ...]] = (
    *(person.c.id, person.c.dn, person.c.directory, person.c.enabled),
    *(person.c.valid_from_ms, person.c.valid_until_ms),
)

# Tells whether a DN of a directory can sign in with a password; blocks, raises OSError if nobody can tell.
Bind = Callable[[str, str, str], bool]
# Returns a DN of a directory that cannot exist, made of a random word.
ImpossibleDn = Callable[[str, str], str]


class Passwords:
    """Checks passwords by binds (`web.signin.CheckPassword`); `directories` are their names, in order.

    Whoever measures how long it takes learns nothing: a name that nobody has, or whose account may not sign in, costs a
    bind as well, as an entry that is not there.
    """

    def __init__(
        self, engine: Engine, clock: Clock, directories: Sequence[str], bind: Bind, impossible_dn: ImpossibleDn
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._directories = tuple(directories)
        self._bind = bind
        self._impossible_dn = impossible_dn

    def __call__(self, login: str, password: str) -> Checked:
        """Return whose login it is, and whether the password is theirs and they may sign in now.

        Raises:
            OSError: the directory cannot be asked.
            DatabaseUnavailable: nobody can tell whose login it is.
        """
        row = self._only(login)
        if row is None or not self._may_sign_in(row):
            # By name, always the same one: that a directory is away tells of no login in which it is.
            directory = self._directories[hashlib.sha256(login.encode()).digest()[0] % len(self._directories)]
            self._bind(directory, self._impossible_dn(directory, secrets.token_hex(16)), password)
            return Checked(None if row is None else row.id, fits=False)
        return Checked(row.id, self._bind(row.directory, row.dn, password))

    def _only(self, login: str) -> sa.Row[Any] | None:
        """Return the one person who is present and has this login; what two have is nobody's."""
        if not login.isprintable() or not 0 < len(login) <= MAX_LOGIN:
            return None
        wanted = sa.select(*_COLUMNS).where(person.c.login == login, person.c.present)
        with read(self._engine) as connection:
            rows = connection.execute(wanted.limit(2)).all()
        return rows[0] if len(rows) == 1 else None

    def _may_sign_in(self, row: sa.Row[Any]) -> bool:
        now_ms = self._clock.now_ms()
        begun = row.valid_from_ms is None or row.valid_from_ms <= now_ms
        ended = row.valid_until_ms is not None and row.valid_until_ms <= now_ms
        return bool(row.enabled) and row.directory in self._directories and begun and not ended
