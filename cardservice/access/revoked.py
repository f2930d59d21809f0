# SPDX-License-Identifier: EUPL-1.2
"""Certificates that were revoked though their card is in use: superseded ones, whose keys prove nothing any more.

They stand in the snapshot beside the credentials, under keys of their own. The certificates of cards that ended are not
among them: there the card's own state says why.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access.rules import REFUSED, CardRecord, Reason
from cardservice.cards.pki.rules import CertificateState, Slot
from cardservice.cards.pki.store import certificate
from cardservice.cards.rules import ENDED, revoked_certificate
from cardservice.cards.store import card

_REFUSED: Final = CardRecord(REFUSED[Reason.CERTIFICATE_REFUSED], None, (), 0, 0)
_REVOKED: Final = (
    sa.select(certificate.c.issuer_key, certificate.c.serial, card.c.state)
    .join(card, certificate.c.card_id == card.c.id)
    .where(certificate.c.state == CertificateState.REVOKED.value, certificate.c.slot == Slot.CARD.value)
)


def all_revoked(connection: Connection) -> Iterator[tuple[bytes, CardRecord]]:
    """Yield the record of every revoked certificate of a card that has not ended."""
    for key, record in _records(connection, _REVOKED.where(card.c.state.not_in(sorted(ENDED)))):
        if record is not None:
            yield key, record


def revoked_of(connection: Connection, cards: Sequence[int]) -> dict[bytes, CardRecord | None]:
    """Return the records of the revoked certificates of these cards (row numbers); None: the card has ended."""
    return dict(_records(connection, _REVOKED.where(card.c.id.in_(cards))))


def _records(
    connection: Connection, chosen: sa.Select[tuple[bytes, str, str]]
) -> Iterator[tuple[bytes, CardRecord | None]]:
    for row in connection.execute(chosen):
        key = revoked_certificate(bytes(row.issuer_key), bytes.fromhex(row.serial))
        yield key, None if row.state in ENDED else _REFUSED
