# SPDX-License-Identifier: EUPL-1.2
"""Tables of encoding: what is on which card, kept before it is written, and the jobs at the encoders."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.encoding.rules import OPEN, EncoderName, JobState
from cardservice.cards.rules import desfire_credential
from cardservice.cards.store import card, credential
from cardservice.database import STATE, RowNumber, row_id

# From the badge number comes the key of the card level: who loses it can neither finish nor erase the card. It stays.
card_badge = sa.Table(
    "card_badge",
    STATE,
    sa.Column("card_id", sa.ForeignKey("card.id"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.LargeBinary(12), nullable=False, unique=True),
    sa.Column("generation", sa.SmallInteger, nullable=False),
    # The generation that a used blank card may still have until it is finished.
    sa.Column("former_generation", sa.SmallInteger),
)

card_application = sa.Table(
    "card_application",
    STATE,
    sa.Column("card_id", sa.ForeignKey("card.id"), primary_key=True, autoincrement=False),
    sa.Column("use", sa.String(20), primary_key=True),
    sa.Column("number", sa.LargeBinary(12), nullable=False),
    sa.Column("generation", sa.SmallInteger, nullable=False),
    # The generation that is being put in force: from when that may have begun until it is proved.
    sa.Column("next_generation", sa.SmallInteger),
    sa.UniqueConstraint("use", "number"),
)

encoding_job = sa.Table(
    "encoding_job",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("reference", sa.String(36), nullable=False, unique=True),
    sa.Column("kind", sa.String(20), nullable=False),
    # None: a probe, which is for whatever lies there.
    sa.Column("card_id", sa.ForeignKey("card.id"), index=True),
    sa.Column("agent", sa.String(40), nullable=False),
    sa.Column("reader", sa.String(127), nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    # While it is open: by what the chip that was begun is known again (a keyed hash of its identifier).
    sa.Column("chip", sa.LargeBinary(16)),
    sa.Column("step", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("steps", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("step_name", sa.String(20)),
    sa.Column("step_use", sa.String(20)),
    sa.Column("trouble", sa.String(20)),
    sa.Column("detail", sa.String(200)),
    # What was found out of the chip, as JSON; nothing that tells one card from another.
    sa.Column("found", sa.Text),
    # A card that is registered: in which building (a zone) its bare number may count, and until when.
    sa.Column("building", sa.BigInteger),
    sa.Column("until_ms", sa.BigInteger),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("made_ms", sa.BigInteger, nullable=False),
    sa.Column("begun_ms", sa.BigInteger),
    sa.Column("ended_ms", sa.BigInteger),
)
# Neither an encoder nor a card ever has two jobs at once, whoever asks at the same moment.
_UNENDED: Final = encoding_job.c.ended_ms.is_(None)
for _name, _columns in (("encoder", ("agent", "reader")), ("card", ("card_id",))):
    sa.Index(
        f"ux_encoding_job_{_name}",
        *(encoding_job.c[column] for column in _columns),
        unique=True,
        sqlite_where=_UNENDED,
        postgresql_where=_UNENDED,
    )
_OPEN: Final = tuple(sorted(OPEN))
_LISTED: Final = sa.select(encoding_job, card.c.reference.label("card")).join(card, isouter=True)


def badge_of(connection: Connection, card_id: int) -> sa.Row[Any] | None:
    """Return what the card level's key comes from, None for a card that was not encoded here."""
    return connection.execute(sa.select(card_badge).where(card_badge.c.card_id == card_id)).first()


def encoded_here(connection: Connection, references: Sequence[str]) -> frozenset[str]:
    """Return which of these cards' badge numbers are known."""
    chosen = sa.select(card.c.reference).join(card_badge).where(card.c.reference.in_(list(references)))
    return frozenset(connection.execute(chosen).scalars())


def applications_of(connection: Connection, card_id: int) -> list[sa.Row[Any]]:
    """Return what is on a card, or is to be, by use."""
    chosen = sa.select(card_application).where(card_application.c.card_id == card_id)
    return list(connection.execute(chosen.order_by(card_application.c.use)))


def add_badge(connection: Connection, card_id: int, number: bytes, generation: int, former: int | None) -> None:
    """Keep a badge number before the first command that needs it."""
    values = {"card_id": card_id, "number": number, "generation": generation, "former_generation": former}
    connection.execute(sa.insert(card_badge).values(values))


def take_badge(connection: Connection, card_id: int) -> None:
    """Take the badge off a card whose blank becomes another one."""
    connection.execute(sa.delete(card_badge).where(card_badge.c.card_id == card_id))


def set_badge(connection: Connection, card_id: int, generation: int, former: int | None) -> None:
    """Keep which generations the card level's key may be of."""
    values = {"generation": generation, "former_generation": former}
    connection.execute(sa.update(card_badge).where(card_badge.c.card_id == card_id).values(values))


def add_application(connection: Connection, card_id: int, use: str, number: bytes, generation: int) -> None:
    """Keep the number of one use before the first command that needs it."""
    values = {"card_id": card_id, "use": use, "number": number, "generation": generation}
    connection.execute(sa.insert(card_application).values(values))


def set_generation(connection: Connection, card_id: int, use: str, generation: int, following: int | None) -> None:
    """Keep which generations the keys of an application may be of."""
    here = sa.and_(card_application.c.card_id == card_id, card_application.c.use == use)
    values = {"generation": generation, "next_generation": following}
    connection.execute(sa.update(card_application).where(here).values(values))


def drop_applications(connection: Connection, card_id: int) -> None:
    """Nothing is on the card any more."""
    connection.execute(sa.delete(card_application).where(card_application.c.card_id == card_id))


def register_numbers(connection: Connection, card_id: int) -> dict[bytes, int]:
    """Let a finished card be known by its numbers; return the generation that each has."""
    known: dict[bytes, int] = {}
    for row in applications_of(connection, card_id):
        key = desfire_credential(row.use, bytes(row.number))
        connection.execute(sa.insert(credential).values(card_id=card_id, key=key))
        known[key] = row.generation
    return known


def are_known(connection: Connection, keys: Collection[bytes]) -> bool:
    """Tell whether any card is, or was, known by one of these."""
    here = credential.c.key.in_(list(keys))
    return connection.execute(sa.select(credential.c.id).where(here).limit(1)).first() is not None


def know_as(connection: Connection, card_id: int, keys: Collection[bytes], until_ms: int | None) -> None:
    """Let a card be known by these, until `until_ms` at most."""
    connection.execute(sa.insert(credential), [{"card_id": card_id, "key": key} for key in sorted(keys)])
    if until_ms is not None:
        later = sa.or_(card.c.valid_until_ms.is_(None), card.c.valid_until_ms > until_ms)
        ends = sa.update(card).where(card.c.id == card_id, later)
        connection.execute(ends.values(valid_until_ms=until_ms))


def add_job(connection: Connection, **values: Any) -> int:
    """Store a new job; return its row number."""
    return row_id(connection.execute(sa.insert(encoding_job).values(**values)))


def set_job(connection: Connection, number: int, values: Mapping[str, Any]) -> bool:
    """Change a job that is open; False: it has ended meanwhile, and stays as it is."""
    here = sa.and_(encoding_job.c.id == number, encoding_job.c.state.in_(_OPEN))
    return connection.execute(sa.update(encoding_job).where(here).values(dict(values))).rowcount == 1


def find_job(connection: Connection, reference: str) -> sa.Row[Any] | None:
    """Return a job with the reference of its card, None if there is none of this name."""
    return connection.execute(_LISTED.where(encoding_job.c.reference == reference)).first()


def newest_jobs(connection: Connection, limit: int) -> list[sa.Row[Any]]:
    """Return jobs with the references of their cards, the newest first."""
    return list(connection.execute(_LISTED.order_by(encoding_job.c.id.desc()).limit(limit)))


def open_job_at(connection: Connection, encoder: EncoderName) -> sa.Row[Any] | None:
    """Return the job that an encoder has to do, None if it has none."""
    here = sa.and_(encoding_job.c.agent == encoder.agent, encoding_job.c.reader == encoder.reader)
    return connection.execute(_LISTED.where(here, encoding_job.c.state.in_(_OPEN)).limit(1)).first()


def open_job_of(connection: Connection, card_id: int) -> sa.Row[Any] | None:
    """Return the job that is under way for a card, None if there is none."""
    here = sa.and_(encoding_job.c.card_id == card_id, encoding_job.c.state.in_(_OPEN))
    return connection.execute(sa.select(encoding_job).where(here).limit(1)).first()


def interrupt_running(connection: Connection) -> None:
    """After a start: whatever ran runs no more. The card of a job that had begun is wanted again."""
    running = encoding_job.c.state == JobState.RUNNING.value
    connection.execute(sa.update(encoding_job).where(running).values(state=JobState.INTERRUPTED.value))
