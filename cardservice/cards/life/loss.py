# SPDX-License-Identifier: EUPL-1.2
"""Everything that ends when somebody's cards are reported lost, counted as the store has it afterwards."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards import store
from cardservice.cards.life.service import report_lost
from cardservice.cards.pki.rules import CertificateState
from cardservice.cards.pki.store import certificate
from cardservice.cards.service import By


@dataclass(frozen=True, slots=True)
class Loss:
    """What ended: cards by their references, the uses that knew one until then, and how many certificates.

    `certificates_changed` counts those that were good or on hold before and are revoked now.
    """

    cards: tuple[str, ...]
    uses_ended: tuple[str, ...]
    certificates_changed: int


def end_cards(connection: Connection, person_id: int, by: By, now_ms: int) -> Loss:
    """Revoke every card of somebody that is not over, in the caller's transaction; return what ended."""
    before = _revoked(connection, person_id)
    found = report_lost(connection, person_id, by, now_ms)
    return Loss(
        cards=tuple(reference for reference, _ in found),
        uses_ended=tuple(sorted({use for _, effects in found for use in effects.uses_ended})),
        certificates_changed=_revoked(connection, person_id) - before,
    )


def _revoked(connection: Connection, person_id: int) -> int:
    """Return how many certificates of somebody's cards are revoked; nothing ever makes one of them good again."""
    theirs = sa.select(sa.func.count()).select_from(certificate.join(store.card))
    revoked = certificate.c.state == CertificateState.REVOKED.value
    return connection.execute(theirs.where(store.card.c.person_id == person_id, revoked)).scalar_one()
