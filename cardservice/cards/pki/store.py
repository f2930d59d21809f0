# SPDX-License-Identifier: EUPL-1.2
"""Tables of cards' certificates, of requests that wait for the city's PKI, and of the revocation lists that are out."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.pki.rules import CertificateState, Entry, Published, Reason
from cardservice.cards.rules import CardState
from cardservice.cards.store import card
from cardservice.database import STATE, RowNumber
from cardservice.people.register import within
from cardservice.people.store import organisation, person
from cardservice.web.reach import Reach

certificate = sa.Table(
    "card_certificate",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("card_id", sa.ForeignKey("card.id"), nullable=False, index=True),
    sa.Column("slot", sa.String(2), nullable=False),
    # The authority's name, or "outside".
    sa.Column("authority", sa.String(20), nullable=False),
    # SHA-256 of the issuer's public key.
    sa.Column("issuer_key", sa.LargeBinary(32), nullable=False),
    # Hexadecimal, 40 digits of our own.
    sa.Column("serial", sa.String(42), nullable=False),
    sa.Column("not_before_ms", sa.BigInteger, nullable=False),
    sa.Column("not_after_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("reason", sa.String(30)),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
    # Until when a revocation list of before the change may still be believed; none: there was none.
    sa.Column("list_until_ms", sa.BigInteger),
    # Erased some time after its end. That it was issued is known for good: OCSP says "good" of nothing else.
    sa.Column("der", sa.LargeBinary),
    sa.UniqueConstraint("issuer_key", "serial"),
)

request = sa.Table(
    "certificate_request",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("card_id", sa.ForeignKey("card.id"), nullable=False, index=True),
    sa.Column("slot", sa.String(2), nullable=False),
    # SHA-256 of the public key: the certificate that comes back is matched by it.
    sa.Column("key_digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("made_ms", sa.BigInteger, nullable=False),
    sa.Column("der", sa.LargeBinary, nullable=False),
)

revocation_list = sa.Table(
    "revocation_list",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("issuer_key", sa.LargeBinary(32), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("made_ms", sa.BigInteger, nullable=False),
    sa.Column("next_ms", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("der", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("issuer_key", "number"),
)
_KEPT_LISTS = 2
_AT_ONCE = 500
_LIVING = certificate.c.state != CertificateState.REVOKED.value


def add(connection: Connection, **values: Any) -> None:
    """Keep a certificate that was issued."""
    connection.execute(sa.insert(certificate).values(state=CertificateState.GOOD.value, **values))


def change(connection: Connection, card_id: int, frm: Sequence[CertificateState], values: dict[str, Any]) -> int:
    """Change all certificates of a card that are in one of the states `frm`; return how many."""
    here = sa.and_(certificate.c.card_id == card_id, certificate.c.state.in_([one.value for one in frm]))
    return connection.execute(sa.update(certificate).where(here).values(**values, list_until_ms=_believed())).rowcount


def _believed() -> sa.ScalarSelect[Any]:
    """Until when lists that are out may be believed."""
    mine = revocation_list.c.issuer_key == certificate.c.issuer_key
    return sa.select(sa.func.max(revocation_list.c.next_ms)).where(mine).scalar_subquery()


def revoke_older(connection: Connection, newest_id: int, values: dict[str, Any]) -> int:
    """Change what else is in the slot of a certificate and not revoked; return how many."""
    newest = connection.execute(sa.select(certificate).where(certificate.c.id == newest_id)).one()
    same = sa.and_(certificate.c.card_id == newest.card_id, certificate.c.slot == newest.slot)
    return connection.execute(
        sa.update(certificate)
        .where(same, certificate.c.id < newest_id, _LIVING)
        .values(**values, list_until_ms=_believed())
    ).rowcount


def entries(connection: Connection, issuer_key: bytes, now_ms: int, ended_ms: int) -> list[Entry]:
    """Return what a revocation list says now: without certificates that ended before `ended_ms`."""
    query = sa.select(certificate.c.serial, certificate.c.state, certificate.c.reason, certificate.c.changed_ms)
    query = query.select_from(certificate.join(card, card.c.id == certificate.c.card_id))
    listed = sa.and_(
        certificate.c.issuer_key == issuer_key,
        certificate.c.not_after_ms >= ended_ms,
        sa.or_(certificate.c.state == CertificateState.REVOKED.value, held_at(now_ms)),
    )
    rows = connection.execute(query.where(listed).order_by(certificate.c.id)).all()
    return [Entry(row.serial, Reason(row.reason), row.changed_ms) for row in rows]


def held_at(now_ms: int) -> sa.ColumnElement[bool]:
    """Return what is true of certificates on hold: a card's suspension may have ended by itself."""
    over = sa.and_(
        card.c.state == CardState.SUSPENDED.value, sa.func.coalesce(card.c.suspended_until_ms <= now_ms, sa.false())
    )
    return sa.and_(certificate.c.state == CertificateState.HELD.value, sa.not_(over))


def find(
    connection: Connection, issuer_key: bytes, serial: str, now_ms: int
) -> tuple[CertificateState, Entry | None] | None:
    """Return what a certificate is now, None if none of this serial was issued by this authority."""
    query = sa.select(certificate, held_at(now_ms).label("held")).select_from(
        certificate.join(card, card.c.id == certificate.c.card_id)
    )
    row = connection.execute(
        query.where(certificate.c.issuer_key == issuer_key, certificate.c.serial == serial)
    ).first()
    if row is None:
        return None
    if row.state == CertificateState.REVOKED.value or row.held:
        return CertificateState(row.state), Entry(row.serial, Reason(row.reason), row.changed_ms)
    return CertificateState.GOOD, None


def of_card(connection: Connection, card_id: int, now_ms: int) -> Sequence[sa.Row[Any]]:
    """Return a card's certificates, the newest first; `held` says whether one is on hold now."""
    query = sa.select(certificate, held_at(now_ms).label("held")).select_from(
        certificate.join(card, card.c.id == certificate.c.card_id)
    )
    return connection.execute(query.where(certificate.c.card_id == card_id).order_by(certificate.c.id.desc())).all()


def ending(
    connection: Connection, between_ms: tuple[int, int], reaches: Sequence[Reach] | None, limit: int
) -> Sequence[sa.Row[Any]]:
    """Return certificates that end then and were not replaced in their slot; `reaches` None: of every card."""
    columns = (certificate.c.slot, certificate.c.authority, certificate.c.not_after_ms)
    chosen = _with_card(columns, certificate.c.card_id, reaches).where(_to_renew(*between_ms))
    ordered = chosen.order_by(certificate.c.not_after_ms, certificate.c.id).limit(limit)
    return connection.execute(ordered).all()


def _with_card(columns: Sequence[Any], card_id: sa.Column[Any], reaches: Sequence[Reach] | None) -> sa.Select[Any]:
    """Return a query that has the card's reference and its holder besides, of cards that `reaches` hold."""
    query = (
        sa.select(*columns, card.c.reference, card.c.person_id)
        .join(card, card.c.id == card_id)
        .join(person, card.c.person_id == person.c.id, isouter=True)
        .join(organisation, organisation.c.id == sa.func.coalesce(person.c.organisation_id, card.c.organisation_id))
    )
    return query if reaches is None else query.where(within(reaches))


def ending_counts(connection: Connection, now_ms: int, until_ms: int) -> dict[str, int]:
    """Return how many end until then and were not replaced, by slot."""
    query = sa.select(certificate.c.slot, sa.func.count()).where(_to_renew(now_ms, until_ms))
    return {row[0]: row[1] for row in connection.execute(query.group_by(certificate.c.slot))}


def _to_renew(now_ms: int, until_ms: int) -> sa.ColumnElement[bool]:
    newer = certificate.alias()
    replaced = sa.exists().where(
        newer.c.card_id == certificate.c.card_id, newer.c.slot == certificate.c.slot, newer.c.id > certificate.c.id
    )
    return sa.and_(certificate.c.not_after_ms.between(now_ms, until_ms), _LIVING, sa.not_(replaced))


def erase_ended(connection: Connection, ended_ms: int) -> int:
    """Erase what certificates said that ended, or were revoked, before an instant; return how many."""
    over = sa.select(certificate.c.id).where(_over(ended_ms))
    numbers = list(connection.execute(over.limit(_AT_ONCE)).scalars())
    if numbers:
        connection.execute(sa.update(certificate).where(certificate.c.id.in_(numbers)).values(der=None))
    return len(numbers)


def has_ended(connection: Connection, ended_ms: int) -> bool:
    """Tell whether there is something for `erase_ended`."""
    return connection.execute(sa.select(certificate.c.id).where(_over(ended_ms)).limit(1)).first() is not None


def _over(ended_ms: int) -> sa.ColumnElement[bool]:
    revoked = sa.and_(certificate.c.state == CertificateState.REVOKED.value, certificate.c.changed_ms < ended_ms)
    return sa.and_(certificate.c.der.is_not(None), sa.or_(certificate.c.not_after_ms < ended_ms, revoked))


def last_list(connection: Connection, issuer_key: bytes) -> tuple[Published, bytes] | None:
    """Return the newest revocation list of an authority."""
    mine = revocation_list.c.issuer_key == issuer_key
    row = connection.execute(
        sa.select(revocation_list).where(mine).order_by(revocation_list.c.number.desc()).limit(1)
    ).first()
    return None if row is None else (Published(row.number, row.made_ms, row.next_ms, bytes(row.digest)), bytes(row.der))


def add_list(connection: Connection, issuer_key: bytes, made: Published, der: bytes) -> None:
    """Keep a new revocation list, and throw away what is older than the one before it."""
    connection.execute(
        sa.insert(revocation_list).values(
            issuer_key=issuer_key,
            number=made.number,
            made_ms=made.made_ms,
            next_ms=made.next_ms,
            digest=made.digest,
            der=der,
        )
    )
    mine = revocation_list.c.issuer_key == issuer_key
    kept = sa.select(revocation_list.c.number).where(mine).order_by(revocation_list.c.number.desc()).limit(_KEPT_LISTS)
    numbers = list(connection.execute(kept).scalars())
    connection.execute(sa.delete(revocation_list).where(mine, revocation_list.c.number < min(numbers)))


def ask(connection: Connection, **values: Any) -> None:
    """Keep a request for the city's PKI; one for the same slot of the card is replaced."""
    same = sa.and_(request.c.card_id == values["card_id"], request.c.slot == values["slot"])
    connection.execute(sa.delete(request).where(same))
    connection.execute(sa.insert(request).values(**values))


def waiting(connection: Connection, reaches: Sequence[Reach] | None, limit: int) -> Sequence[sa.Row[Any]]:
    """Return requests that wait, the oldest first, with their card's reference; `reaches` None: of every card."""
    chosen = _with_card((request,), request.c.card_id, reaches)
    return connection.execute(chosen.order_by(request.c.id).limit(limit)).all()


def waiting_count(connection: Connection) -> int:
    """Return how many requests wait."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(request)).scalar_one())


def request_for(
    connection: Connection, key_digest: bytes, reaches: Sequence[Reach] | None = None
) -> sa.Row[Any] | None:
    """Return the request for a public key, None if there is none; `reaches` None: of every card."""
    chosen = _with_card((request,), request.c.card_id, reaches)
    return connection.execute(chosen.where(request.c.key_digest == key_digest)).first()


def answered(connection: Connection, number: int) -> None:
    """Take away a request that was answered."""
    connection.execute(sa.delete(request).where(request.c.id == number))
