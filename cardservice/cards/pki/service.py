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
from cardservice.cards.pki.mapping import key_digest, serial_bytes, strong_mappings
from cardservice.cards.pki.profiles import Holder, list_url, profile_for, require_logon_certificate
from cardservice.cards.pki.requests import Proven, read_request, require_subject_fits
from cardservice.cards.pki.rules import (
    DAY_MS,
    OUTSIDE,
    CertificateState,
    PkiRules,
    Reason,
    Slot,
    Window,
    kind_for,
    window_of,
)
from cardservice.cards.pki.signing import Validity, sign_certificate
from cardservice.cards.rules import CardState, is_piv, piv_credential, state_at
from cardservice.cards.store import card as card_table
from cardservice.cards.store import credential, keys_of_card
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, NotFound
from cardservice.people.store import person

MAX_CERTIFICATE_BYTES: Final = 64 * 1024
MAX_LISTED: Final = 10_000
# A card in one of these may get certificates.
_MAY_GET: Final = frozenset({CardState.IN_PRODUCTION, CardState.PRODUCED, CardState.READY_FOR_PICKUP, CardState.ACTIVE})


@dataclass(frozen=True, slots=True)
class CertificateView:
    """One certificate of a card. `window`: until when others may still believe one that is revoked or held.

    `list_url` and `ocsp_url` are where others look it up, None: not with us. `strong_mappings` are strings for the
    account's `altSecurityIdentities`; none once the certificate itself was erased.
    """

    slot: Slot
    authority: str
    serial: str
    state: CertificateState
    reason: Reason | None
    not_before_ms: int
    not_after_ms: int
    changed_ms: int
    window: Window | None
    list_url: str | None
    ocsp_url: str | None
    strong_mappings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """A certificate that has to be renewed."""

    card: str
    slot: Slot
    authority: str
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that the city's PKI has to answer."""

    card: str
    slot: Slot
    key_digest: bytes
    pem: bytes


@dataclass(frozen=True, slots=True)
class _Owner:
    card_id: int
    reference: str
    holder: Holder


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
        authority = self._authorities.of_kind(kind_for(slot))
        if authority is None:
            raise Conflict(f"no authority of this installation signs for slot {slot}")
        with read(self._state) as connection:
            owner = self._owner(connection, reference, slot, card_uuid)
        if slot is not Slot.CARD:
            require_subject_fits(proven.subject, owner.holder.name)
        valid = Validity(self._clock.now_ms(), self._rules.days_for(slot))
        profile = profile_for(slot, owner.holder, proven.key, self._rules)
        made = sign_certificate(authority, profile, proven.key, self._rules, valid)
        with write(self._state) as connection:
            # The card may have ended meanwhile.
            self._owner(connection, reference, slot, card_uuid)
            self._keep(connection, owner, slot, (authority.name, authority.issuer_key), made)
            if slot is Slot.CARD:
                _know_as(connection, owner, authority)
        return made

    def ask_outside(self, reference: str, proven: Proven) -> None:
        """Keep a request for a logon certificate until somebody brings it to the city's PKI.

        Raises:
            NotFound: no such card.
            Conflict: the card or its holder may have none, or the key does not fit.
        """
        with write(self._state) as connection:
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

    def waiting(self) -> list[Waiting]:
        """Return the requests that wait for the city's PKI."""
        with read(self._state) as connection:
            rows = store.waiting(connection, MAX_LISTED)
        return [
            Waiting(
                row.reference,
                Slot(row.slot),
                bytes(row.key_digest),
                x509.load_der_x509_csr(bytes(row.der)).public_bytes(Encoding.PEM),
            )
            for row in rows
        ]

    def bring_in(self, data: bytes) -> str:
        """Take a certificate of the city's PKI, PEM or DER; return the reference of the card it is for.

        Raises:
            NotFound: no request waits for its key.
            Conflict: it is not one of the PKI that is trusted for it, or not what was asked for.
        """
        found = _read_certificate(data)
        issuer = self._issuer_outside(found)
        digest, now_ms = key_digest(found), self._clock.now_ms()
        with write(self._state) as connection:
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
        """Revoke as superseded what was in a slot before its newest certificate; return how many."""
        with write(self._state) as connection:
            number = self._card(connection, reference).id
            rows = [row for row in store.of_card(connection, number, self._clock.now_ms()) if row.slot == slot.value]
            if not rows:
                return 0
            values = {
                "state": CertificateState.REVOKED.value,
                "reason": Reason.SUPERSEDED.value,
                "changed_ms": self._clock.now_ms(),
            }
            retired = store.revoke_older(connection, rows[0].id, values)
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
        return [self._view(row) for row in rows]

    def ending(self, within_days: int | None = None) -> list[Ending]:
        """Return what has to be renewed within some days, the settings' own by default; the first to end first."""
        now_ms = self._clock.now_ms()
        until_ms = now_ms + (self._rules.renew_days if within_days is None else within_days) * DAY_MS
        with read(self._state) as connection:
            rows = store.ending(connection, now_ms, until_ms, MAX_LISTED)
        return [Ending(row.reference, Slot(row.slot), row.authority, row.not_after_ms) for row in rows]

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

    def _view(self, row: sa.Row[Any]) -> CertificateView:
        ours = self._authorities.with_key(bytes(row.issuer_key)) is not None
        state = CertificateState(row.state)
        if state is CertificateState.HELD and not row.held:
            state = CertificateState.GOOD
        url = self._rules.url if ours else None
        good = state is CertificateState.GOOD
        slot = Slot(row.slot)
        window = None if good else window_of(slot, row.changed_ms, row.list_until_ms, self._rules, ours=ours)
        return CertificateView(
            slot=slot,
            authority=row.authority,
            serial=row.serial,
            state=state,
            reason=None if good else Reason(row.reason),
            not_before_ms=row.not_before_ms,
            not_after_ms=row.not_after_ms,
            changed_ms=row.changed_ms,
            window=window,
            list_url=None if url is None else list_url(row.authority, url),
            ocsp_url=None if url is None else f"{url}/pki/ocsp",
            strong_mappings=_mappings(slot, row.der),
        )


def _mappings(slot: Slot, der: bytes | None) -> tuple[str, ...]:
    if slot is not Slot.LOGON or der is None:
        return ()
    return strong_mappings(x509.load_der_x509_certificate(bytes(der)))


def _known_uuid(connection: Connection, card_id: int) -> uuid.UUID:
    """Return the UUID that a card has already, or a new one."""
    known = [key for key in keys_of_card(connection, card_id) if is_piv(key)]
    return uuid.UUID(bytes=known[0][-16:]) if known else uuid.uuid4()


def _know_as(connection: Connection, owner: _Owner, authority: Authority) -> None:
    """Have taps find the card by its new certificate."""
    key = piv_credential(authority.issuer_key, owner.holder.card_uuid.bytes)
    row = connection.execute(sa.select(credential).where(credential.c.key == key)).first()
    if row is not None and row.card_id != owner.card_id:
        raise Conflict("another card has this UUID")
    if row is None:
        connection.execute(sa.insert(credential).values(card_id=owner.card_id, key=key))


def _read_certificate(data: bytes) -> x509.Certificate:
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise Conflict(f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    try:
        pem = data.lstrip().startswith(b"-----")
        found = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
        # Read now what is looked at later: what cannot be read is refused once.
        _ = found.extensions, found.public_key(), found.subject, found.signature_hash_algorithm
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension):
        raise Conflict("this is not an X.509 certificate") from None
    except x509.UnsupportedGeneralNameType:
        raise Conflict("a field of the certificate cannot be read") from None
    return found
