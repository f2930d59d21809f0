# SPDX-License-Identifier: EUPL-1.2
"""Certificates for cards: issued by our authorities, or asked of the city's PKI and taken from it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.cards.pki import store
from cardservice.cards.pki.authorities import Authorities, Authority, instant_utc
from cardservice.cards.pki.mapping import key_digest, serial_bytes
from cardservice.cards.pki.profiles import Holder, profile_for, require_logon_certificate
from cardservice.cards.pki.requests import Proven, read_certificate, read_request, require_subject_fits
from cardservice.cards.pki.rules import (
    DAY_MS,
    OUTSIDE,
    CertificateState,
    PkiRules,
    Reason,
    Slot,
    kind_for,
)
from cardservice.cards.pki.signing import Validity, sign_certificate
from cardservice.cards.pki.views import CertificateView, Ending, Waiting, view_of, waiting_of
from cardservice.cards.rules import CardState, is_pinned, is_piv, piv_credential, state_at
from cardservice.cards.store import card as card_table
from cardservice.cards.store import credential, keys_of_card
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, NotFound
from cardservice.people.store import person
from cardservice.web.reach import Reach

MAX_LISTED: Final = 10_000
# A card in one of these may get certificates.
_MAY_GET: Final = frozenset({CardState.IN_PRODUCTION, CardState.PRODUCED, CardState.READY_FOR_PICKUP, CardState.ACTIVE})


@dataclass(frozen=True, slots=True)
class _Owner:
    card_id: int
    reference: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate that is signed and not kept yet."""

    owner: _Owner
    slot: Slot
    authority: Authority
    certificate: x509.Certificate


class Certificates:
    """The use cases; everything blocks and may raise DatabaseUnavailable.

    `outside` are the certificates of the city's own PKI, whose answers are taken.
    """

    def __init__(
        self,
        state: Engine,
        authorities: Authorities,
        rules: PkiRules,
        clock: Clock,
        outside: Sequence[x509.Certificate] = (),
    ) -> None:
        self._state, self._authorities, self._rules, self._clock = state, authorities, rules, clock
        self._outside = tuple(one for one in outside if authorities.with_key(key_digest(one)) is None)

    def issue(self, reference: str, slot: Slot, proven: Proven, card_uuid: uuid.UUID | None = None) -> x509.Certificate:
        """Sign a certificate for a key that the card has proved; `card_uuid` is the GUID of its CHUID.

        The one before in the same slot stays good until `retire_older`: the card may not have the new one yet.

        Raises:
            NotFound: no such card.
            Conflict: no authority signs for this slot, the card or its holder may have none, or the key does not fit.
        """
        made = self.sign(reference, slot, proven, card_uuid)
        with write(self._state) as connection:
            self.keep(connection, made)
        return made.certificate

    def sign(self, reference: str, slot: Slot, proven: Proven, card_uuid: uuid.UUID | None = None) -> Signed:
        """Sign a certificate, which is worth something only once it is kept: see `issue`, whose first half it is.

        A token may take its time: no transaction waits for it.
        """
        authority = self._authorities.of_kind(kind_for(slot))
        if authority is None:
            raise Conflict(f"no authority of this installation signs for slot {slot}")
        with read(self._state) as connection:
            owner = self._owner(connection, reference, slot, card_uuid)
        if slot is not Slot.CARD:
            require_subject_fits(proven.subject, owner.holder.name)
        valid = Validity(self._clock.now_ms(), self._rules.days_for(slot))
        profile = profile_for(slot, owner.holder, proven.key, self._rules)
        return Signed(owner, slot, authority, sign_certificate(authority, profile, proven.key, self._rules, valid))

    def keep(self, connection: Connection, made: Signed) -> None:
        """Keep what `sign` made, in the caller's transaction.

        Raises:
            Conflict: the card has ended meanwhile, or another card has its UUID.
        """
        owner, authority = made.owner, made.authority
        self._owner(connection, owner.reference, made.slot, owner.holder.card_uuid)
        self._keep(connection, owner, made.slot, (authority.name, authority.issuer_key), made.certificate)
        if made.slot is Slot.CARD:
            _know_as(connection, owner, authority)

    def ask_outside(self, reference: str, proven: Proven) -> None:
        """Keep a request for a logon certificate until somebody brings it to the city's PKI.

        Raises:
            NotFound: no such card.
            Conflict: the card or its holder may have none, or the key does not fit.
        """
        with write(self._state) as connection:
            self.ask_outside_in(connection, reference, proven)

    def ask_outside_in(self, connection: Connection, reference: str, proven: Proven) -> None:
        """Do the same in the caller's transaction."""
        owner = self._owner(connection, reference, Slot.LOGON, None)
        require_subject_fits(proven.subject, owner.holder.name)
        profile_for(Slot.LOGON, owner.holder, proven.key, self._rules)
        store.ask(
            connection,
            card_id=owner.card_id,
            slot=Slot.LOGON.value,
            key_digest=key_digest(x509.load_der_x509_csr(proven.der)),
            made_ms=self._clock.now_ms(),
            der=proven.der,
        )

    def waiting(self, reaches: Sequence[Reach] | None = None, limit: int = MAX_LISTED) -> list[Waiting]:
        """Return the requests that wait for the city's PKI, the oldest first; `reaches` None: of every card."""
        with read(self._state) as connection:
            rows = store.waiting(connection, reaches, limit)
        return [waiting_of(row) for row in rows]

    def waiting_for(self, digest: bytes, reaches: Sequence[Reach]) -> Waiting:
        """Return the request for a public key.

        Raises:
            NotFound: none of a card within reach waits.
        """
        with read(self._state) as connection:
            row = store.request_for(connection, digest, reaches)
        if row is None:
            raise NotFound("there is no such request; it may have been answered meanwhile")
        return waiting_of(row)

    def bring_in(self, data: bytes) -> str:
        """Take a certificate of the city's PKI, PEM or DER; return the reference of the card it is for.

        Raises:
            NotFound: no request waits for its key.
            Conflict: it is not one of the PKI that is trusted for it, or not what was asked for.
        """
        with write(self._state) as connection:
            return self.bring_in_to(connection, data)

    def bring_in_to(self, connection: Connection, data: bytes) -> str:
        """Do the same in the caller's transaction."""
        found = read_certificate(data)
        issuer = self._issuer_outside(found)
        digest, now_ms = key_digest(found), self._clock.now_ms()
        asked = store.request_for(connection, digest)
        if asked is None:
            raise NotFound("no request waits for the key of this certificate; is it for another installation?")
        owner = self._owner(connection, asked.reference, Slot(asked.slot), None)
        require_logon_certificate(found, owner.holder, read_request(bytes(asked.der)).key)
        if not found.not_valid_before_utc <= instant_utc(now_ms) < found.not_valid_after_utc:
            raise Conflict("the certificate is not taken: it is not valid now")
        self._keep(connection, owner, Slot(asked.slot), (OUTSIDE, key_digest(issuer)), found)
        store.answered(connection, asked.id)
        return str(asked.reference)

    def retire_older(self, reference: str, slot: Slot) -> int:
        """Revoke as superseded what was in a slot before its newest certificate; return how many.

        Raises:
            NotFound: no such card.
        """
        with write(self._state) as connection:
            return self.retire_older_in(connection, reference, slot)

    def retire_older_in(self, connection: Connection, reference: str, slot: Slot) -> int:
        """Do the same in the caller's transaction."""
        number, now_ms = self._card(connection, reference).id, self._clock.now_ms()
        rows = [row for row in store.of_card(connection, number, now_ms) if row.slot == slot.value]
        if not rows:
            return 0
        values = {
            "state": CertificateState.REVOKED.value,
            "reason": Reason.SUPERSEDED.value,
            "changed_ms": now_ms,
        }
        retired = store.revoke_older(connection, rows[0].id, values)
        if retired:
            changes.append(connection, "card", [number])
        return retired

    def of_card(self, reference: str) -> list[CertificateView]:
        """Return a card's certificates, the newest first.

        Raises:
            NotFound: no such card.
        """
        with read(self._state) as connection:
            number = self._card(connection, reference).id
            rows = store.of_card(connection, number, self._clock.now_ms())
        ours = [self._authorities.with_key(bytes(row.issuer_key)) is not None for row in rows]
        return [view_of(row, self._rules, ours=is_ours) for row, is_ours in zip(rows, ours, strict=True)]

    def ending(
        self, within_days: int | None = None, reaches: Sequence[Reach] | None = None, limit: int = MAX_LISTED
    ) -> list[Ending]:
        """Return what has to be renewed within some days, the settings' own by default; the first to end first.

        `reaches` None: of every card.
        """
        now_ms = self._clock.now_ms()
        until_ms = now_ms + (self._rules.renew_days if within_days is None else within_days) * DAY_MS
        with read(self._state) as connection:
            rows = store.ending(connection, (now_ms, until_ms), reaches, limit)
        return [Ending(row.reference, row.person_id, Slot(row.slot), row.authority, row.not_after_ms) for row in rows]

    def _card(self, connection: Connection, reference: str) -> sa.Row[Any]:
        found = connection.execute(sa.select(card_table).where(card_table.c.reference == reference)).first()
        if found is None:
            raise NotFound(f"there is no card {reference}")
        return found

    def _owner(self, connection: Connection, reference: str, slot: Slot, card_uuid: uuid.UUID | None) -> _Owner:
        found = self._card(connection, reference)
        state = state_at(CardState(found.state), found.suspended_until_ms, self._clock.now_ms())
        if state not in _MAY_GET:
            raise Conflict(f"card {reference} is {state}; it gets no certificates")
        known = card_uuid or _known_uuid(connection, found.id)
        if slot is Slot.CARD:
            return _Owner(found.id, reference, Holder(known))
        row = connection.execute(sa.select(person).where(person.c.id == found.person_id)).first()
        if row is None or not (row.present and row.enabled):
            raise Conflict(f"card {reference} has no holder whom the directory names and has not disabled")
        return _Owner(found.id, reference, Holder(known, row.name, row.login, row.upn, row.sid, row.mail))

    def _issuer_outside(self, found: x509.Certificate) -> x509.Certificate:
        for issuer in self._outside:
            try:
                found.verify_directly_issued_by(issuer)
            except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
                continue
            return issuer
        raise Conflict("the certificate is not signed by one of pki.outside_ca_files; it is not taken")

    def _keep(
        self, connection: Connection, owner: _Owner, slot: Slot, by: tuple[str, bytes], made: x509.Certificate
    ) -> None:
        try:
            store.add(
                connection,
                card_id=owner.card_id,
                slot=slot.value,
                authority=by[0],
                issuer_key=by[1],
                serial=serial_bytes(made.serial_number).hex(),
                not_before_ms=int(made.not_valid_before_utc.timestamp()) * 1000,
                not_after_ms=int(made.not_valid_after_utc.timestamp()) * 1000,
                changed_ms=self._clock.now_ms(),
                der=made.public_bytes(Encoding.DER),
            )
        except sa.exc.IntegrityError as error:
            raise Conflict("this certificate is known already") from error
        changes.append(connection, "card", [owner.card_id])


def _known_uuid(connection: Connection, card_id: int) -> uuid.UUID:
    """Return the UUID that a card has already, or a new one."""
    known = [key for key in keys_of_card(connection, card_id) if is_piv(key) and not is_pinned(key)]
    return uuid.UUID(bytes=known[0][-16:]) if known else uuid.uuid4()


def _know_as(connection: Connection, owner: _Owner, authority: Authority) -> None:
    """Have taps find the card by its new certificate."""
    key = piv_credential(authority.issuer_key, owner.holder.card_uuid.bytes)
    row = connection.execute(sa.select(credential).where(credential.c.key == key)).first()
    if row is not None and row.card_id != owner.card_id:
        raise Conflict("another card has this UUID")
    if row is None:
        connection.execute(sa.insert(credential).values(card_id=owner.card_id, key=key))
