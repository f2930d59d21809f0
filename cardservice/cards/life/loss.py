# SPDX-License-Identifier: EUPL-1.2
"""Everything that ends when somebody's cards are reported lost, counted as the store has it afterwards."""

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from cardservice.cards.life.service import report_lost
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
    found = report_lost(connection, person_id, by, now_ms)
    return Loss(
        cards=tuple(reference for reference, _ in found),
        uses_ended=tuple(sorted({use for _, effects in found for use in effects.uses_ended})),
        certificates_changed=sum(effects.certificates_changed for _, effects in found),
    )
