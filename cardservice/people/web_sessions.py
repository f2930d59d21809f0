# SPDX-License-Identifier: EUPL-1.2
"""Where sessions are kept: beside the people they are for, so that one query tells whether both are in order."""

import json
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.database import STATE, RowNumber, read, write
from cardservice.people.store import person
from cardservice.web.session import Holder, NewSession, StoredSession

# More than one has devices; the one that was unused the longest ends.
MAX_PER_PERSON: Final = 20

web_session = sa.Table(
    "web_session",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    # SHA-256 of the token: whoever reads this table cannot sign in with it.
    sa.Column("token_digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("person_id", sa.ForeignKey("person.id"), nullable=False, index=True),
    # Whom it was opened for; a row that became somebody else's opens nothing.
    sa.Column("identity", sa.String(110), nullable=False),
    # How they proved who they are: "password", "oidc".
    sa.Column("how", sa.String(20), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False),
    sa.Column("ends_ms", sa.BigInteger, nullable=False, index=True),
    # When they last proved it; none: changes need that first.
    sa.Column("confirmed_ms", sa.BigInteger),
    # Stands for who they are to the provider they signed in at; none: they signed in here.
    sa.Column("subject", sa.LargeBinary(32)),
)


class WebSessions:
    """The sessions in the state store (`web.session.SessionStore`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, digest: bytes) -> StoredSession | None:
        """Return the session of a token with its person, by one query."""
        wanted = (
            sa.select(web_session, *_HOLDER)
            .join(person, web_session.c.person_id == person.c.id)
            .where(web_session.c.token_digest == digest)
        )
        with read(self._engine) as connection:
            row = connection.execute(wanted).first()
        if row is None:
            return None
        return StoredSession(
            number=row.id,
            person=row.person_id,
            identity=row.identity,
            how=row.how,
            seen_ms=row.seen_ms,
            ends_ms=row.ends_ms,
            confirmed_ms=row.confirmed_ms,
            holder=_holder(row),
            subject=None if row.subject is None else bytes(row.subject),
        )

    def open(self, new: NewSession) -> bool:
        """Open a session, and delete what is over; False, and none, if the person may not be signed in now."""
        with write(self._engine) as connection:
            _tidy(connection, new)
            row = connection.execute(sa.select(*_HOLDER).where(person.c.id == new.person)).first()
            if row is None or (holder := _holder(row)).trouble(new.at_ms) is not None:
                return False
            values = {
                "token_digest": new.digest,
                "person_id": new.person,
                "identity": holder.identity,
                "how": new.how,
                "created_ms": new.at_ms,
                "seen_ms": new.at_ms,
                "ends_ms": new.ends_ms,
                "confirmed_ms": new.confirmed_ms,
                "subject": new.subject,
            }
            connection.execute(sa.insert(web_session).values(values))
        return True

    def renew(self, number: int, digest: bytes, confirmed_ms: int) -> None:
        """Give a session another token, and note that its person has just confirmed who they are."""
        self._update(number, token_digest=digest, confirmed_ms=confirmed_ms)

    def seen(self, number: int, at_ms: int) -> None:
        """Note when a session was last used."""
        self._update(number, seen_ms=at_ms)

    def end(self, digest: bytes) -> bool:
        """Delete the session of a token; tell whether there was one."""
        with write(self._engine) as connection:
            gone = connection.execute(sa.delete(web_session).where(web_session.c.token_digest == digest))
        return gone.rowcount > 0

    def _update(self, number: int, **values: Any) -> None:
        with write(self._engine) as connection:
            connection.execute(sa.update(web_session).where(web_session.c.id == number).values(**values))


_HOLDER: Final[tuple[sa.ColumnElement[Any], ...]] = (
    person.c.directory,
    person.c.stable_id,
    person.c.login,
    person.c.present,
    person.c.enabled,
    person.c.valid_from_ms,
    person.c.valid_until_ms,
    person.c.groups,
)


def _holder(row: sa.Row[Any]) -> Holder:
    return Holder(
        identity=f"{row.directory}:{row.stable_id}",
        login=row.login,
        present=row.present,
        enabled=row.enabled,
        valid_from_ms=row.valid_from_ms,
        valid_until_ms=row.valid_until_ms,
        groups=frozenset(json.loads(row.groups)),
    )


def _tidy(connection: Connection, new: NewSession) -> None:
    """Delete the session that the new one replaces, all that are over, and those of one person that are too many."""
    over = web_session.c.ends_ms <= new.at_ms
    if new.replaces is not None:
        over |= web_session.c.token_digest == new.replaces
    connection.execute(sa.delete(web_session).where(over))
    newest = sa.select(web_session.c.id).where(web_session.c.person_id == new.person)
    kept = connection.execute(newest.order_by(web_session.c.seen_ms.desc(), web_session.c.id.desc())).scalars().all()
    connection.execute(sa.delete(web_session).where(web_session.c.id.in_(kept[MAX_PER_PERSON - 1 :])))
