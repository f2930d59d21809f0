# SPDX-License-Identifier: EUPL-1.2
"""The demonstration city's two authorities: one signs for its cards, one for logging on; both keys lie in a file.

That file is for trying out, as everything here: outside the demonstration no logon authority has its key in one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.engine import Engine

from cardservice import changes
from cardservice.cards.pki import store
from cardservice.cards.pki.authorities import Authority, AuthorityFile
from cardservice.cards.pki.effects import CertificateEffects, follow
from cardservice.cards.pki.mapping import serial_bytes
from cardservice.cards.pki.profiles import Holder, profile_for
from cardservice.cards.pki.rules import AuthorityKind, PkiRules, Slot
from cardservice.cards.pki.signing import Validity, sign_certificate
from cardservice.cards.rules import CardState
from cardservice.cards.store import card as card_table
from cardservice.database import write

# No such host exists: whoever looks a list up in the demonstration asks the service's own address.
URL: Final = "http://pki.musterstadt.example"
VALID_DAYS: Final = 365
_SLOT: Final = "9E"


@dataclass(frozen=True, slots=True)
class CityAuthorities:
    """The authorities of one city, and what the one for cards has signed, by the deck's names of the cards."""

    for_cards: Authority
    rules: PkiRules
    now_ms: int
    signed: dict[str, x509.Certificate]

    @classmethod
    def make(cls, path: Path, passphrase: str, organisation: str, now_ms: int) -> "CityAuthorities":
        """Make both, sealed in the new file `path`.

        Raises:
            CardServiceError: the file cannot be written.
        """
        file = AuthorityFile(path, passphrase.encode, software_logon=True)
        made = {kind: file.init(kind, organisation, now_ms) for kind in AuthorityKind}
        return cls(made[AuthorityKind.CARD], PkiRules(url=URL, organisation=organisation), now_ms, {})

    def pem(self) -> str:
        """Return the certificate of the authority for cards, which readers believe."""
        return self.for_cards.certificate.public_bytes(Encoding.PEM).decode("ascii")

    def certify(self, descriptions: Iterable[Mapping[str, Any]]) -> list[dict[str, object]]:
        """Return descriptions of a deck's cards; those valid now have a certificate of this city for readers."""
        return [self._certified(dict(one)) for one in descriptions]

    def _certified(self, description: dict[str, Any]) -> dict[str, object]:
        piv = description.get("piv")
        shown = None if piv is None else x509.load_pem_x509_certificate(piv["slots"][_SLOT]["certificate"].encode())
        # The card that shows what happens to an old certificate keeps it.
        if piv is None or shown is None or shown.not_valid_after_utc <= datetime.fromtimestamp(self.now_ms / 1000, UTC):
            return description
        key = shown.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError("the deck's cards have elliptic curve keys in this slot")
        profile = profile_for(Slot.CARD, Holder(UUID(piv["card_uuid"])), key, self.rules)
        made = sign_certificate(self.for_cards, profile, key, self.rules, Validity(self.now_ms, VALID_DAYS))
        self.signed[description["card_id"]] = made
        slot = {**piv["slots"][_SLOT], "certificate": made.public_bytes(Encoding.PEM).decode("ascii")}
        return {**description, "piv": {**piv, "slots": {**piv["slots"], _SLOT: slot}}}

    def keep(self, engine: Engine, references: Mapping[str, str]) -> None:
        """Store what was signed for registered cards; what is suspended or revoked already has its effect at once.

        Raises:
            DatabaseUnavailable: nothing was stored.
        """
        effects = CertificateEffects(lambda: self.now_ms)
        with write(engine) as connection:
            for name, reference in references.items():
                made = self.signed.get(name)
                if made is None:
                    continue
                row = connection.execute(sa.select(card_table).where(card_table.c.reference == reference)).one()
                store.add(
                    connection,
                    card_id=row.id,
                    slot=_SLOT,
                    authority=self.for_cards.name,
                    issuer_key=self.for_cards.issuer_key,
                    serial=serial_bytes(made.serial_number).hex(),
                    not_before_ms=int(made.not_valid_before_utc.timestamp()) * 1000,
                    not_after_ms=int(made.not_valid_after_utc.timestamp()) * 1000,
                    changed_ms=self.now_ms,
                    der=made.public_bytes(Encoding.DER),
                )
                follow(effects, connection, row, CardState(row.state), row.state_reason)
                changes.append(connection, "card", [row.id])
