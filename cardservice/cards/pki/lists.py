# SPDX-License-Identifier: EUPL-1.2
"""Revocation lists: made when something is new or it is time, numbered for good, and out once they are on disk."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.cards.pki import store
from cardservice.cards.pki.authorities import Authority
from cardservice.cards.pki.rules import HOUR_MS, Entry, PkiRules, Published, digest_of, is_list_due, next_number
from cardservice.cards.pki.signing import sign_list
from cardservice.database import read, write
from cardservice.errors import Conflict

_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Lists:
    """Makes and reads the lists of any authority. Everything blocks and may raise DatabaseUnavailable."""

    state: Engine
    rules: PkiRules

    def current(self, authority: Authority) -> tuple[Published, bytes] | None:
        """Return the newest list that is out."""
        with read(self.state) as connection:
            return store.last_list(connection, authority.issuer_key)

    def renew(self, authority: Authority, now_ms: int, *, at_once: bool = False) -> tuple[Published, bytes]:
        """Return the list that holds now: a new one if one is due, or if it is wanted at once.

        Raises:
            Conflict: other programs were always faster.
        """
        if not at_once:
            with read(self.state) as connection:
                found = store.last_list(connection, authority.issuer_key)
                said = digest_of(self._entries(connection, authority, now_ms))
            if found is not None and not is_list_due(found[0], said, self.rules, now_ms):
                return found
        for _ in range(_TRIES):
            try:
                with write(self.state) as connection:
                    return self._made(connection, authority, now_ms)
            except sa.exc.IntegrityError:
                # Another program has taken this number.
                continue
        raise Conflict(f"other programs make lists of {authority.name} all the time")

    def _made(self, connection: Connection, authority: Authority, now_ms: int) -> tuple[Published, bytes]:
        last = store.last_list(connection, authority.issuer_key)
        entries = self._entries(connection, authority, now_ms)
        number = next_number(None if last is None else last[0].number, now_ms)
        ends_ms = now_ms + self.rules.crl_hours * HOUR_MS
        made = Published(number, now_ms, ends_ms, digest_of(entries))
        der = sign_list(authority, number, entries, self.rules, now_ms)
        store.add_list(connection, authority.issuer_key, made, der)
        return made, der

    def _entries(self, connection: Connection, authority: Authority, now_ms: int) -> list[Entry]:
        # One that ended stays on for as long as lists from before are believed (RFC 5280, 3.3).
        return store.entries(connection, authority.issuer_key, now_ms, now_ms - self.rules.crl_hours * HOUR_MS)
