# SPDX-License-Identifier: EUPL-1.2
"""A card's certificates follow its state, in the same transaction (`cards.ports.CertificatesOfCards`).

No authority is needed for it: what changes are rows, and lists and answers are made of them afterwards.
"""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.engine import Connection

from cardservice.cards.pki import store
from cardservice.cards.pki.rules import HOLDS, CertificateState, Reason, revocation_for
from cardservice.cards.ports import CertificatesOfCards
from cardservice.cards.rules import CardState

_ENDED: Final = frozenset(
    {CardState.REVOKED, CardState.EXPIRED, CardState.RETURNED, CardState.ERASED, CardState.DESTROYED}
)


class CertificateEffects:
    """What happens to the certificates of a card whose row is handed over. A revoked certificate stays revoked."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def revoke(self, connection: Connection, card: Any, reason: str | None) -> None:
        """Revoke them for good: the card ended for this reason."""
        values = self._values(CertificateState.REVOKED, revocation_for(reason))
        store.change(connection, card.id, (CertificateState.GOOD, CertificateState.HELD), values)

    def hold(self, connection: Connection, card: Any, reason: str | None) -> None:
        """Put them on hold, if the card is suspended for a reason that asks for it; else they stay good."""
        if reason in HOLDS:
            values = self._values(CertificateState.HELD, Reason.HOLD)
            # A hold that ended with its suspension begins anew.
            store.change(connection, card.id, (CertificateState.GOOD, CertificateState.HELD), values)
        else:
            self.release(connection, card, reason)

    def release(self, connection: Connection, card: Any, reason: str | None = None) -> None:
        """Take them off hold."""
        values = self._values(CertificateState.GOOD, None)
        store.change(connection, card.id, (CertificateState.HELD,), values)

    def _values(self, state: CertificateState, reason: Reason | None) -> dict[str, Any]:
        return {
            "state": state.value,
            "reason": None if reason is None else reason.value,
            "changed_ms": self._now_ms(),
        }


def follow(
    effects: CertificatesOfCards, connection: Connection, card: Any, state: CardState, reason: str | None
) -> None:
    """Have the certificates of a card follow it into a state."""
    if state in _ENDED:
        effects.revoke(connection, card, reason)
    elif state is CardState.SUSPENDED:
        effects.hold(connection, card, reason)
    elif state is CardState.ACTIVE:
        effects.release(connection, card, reason)
