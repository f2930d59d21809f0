# SPDX-License-Identifier: EUPL-1.2
"""What is told of certificates: of a card's, of those that end soon, of requests that wait, of the authorities."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cardservice.cards.pki.authorities import Authorities
from cardservice.cards.pki.mapping import strong_mappings
from cardservice.cards.pki.ocsp import Responder
from cardservice.cards.pki.profiles import list_url
from cardservice.cards.pki.publisher import Publisher
from cardservice.cards.pki.rules import AuthorityKind, CertificateState, PkiRules, Reason, Slot, Window, window_of


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
    """A certificate that has to be renewed; `person` is the row number of the card's holder."""

    card: str
    person: int | None
    slot: Slot
    authority: str
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that the city's PKI has to answer; `person` is the row number of the card's holder."""

    card: str
    person: int | None
    slot: Slot
    key_digest: bytes
    made_ms: int
    pem: bytes


@dataclass(frozen=True, slots=True)
class AuthorityView:
    """An authority, its revocation list, and who answers by OCSP for it.

    `signs`: it is the newest of its kind. `list_number`, `list_made_ms` and `list_next_ms` are None while no list is
    out; `responder_until_ms` is when the certificate of its OCSP responder ends, None: nobody has asked yet, and the
    first question makes one.
    """

    authority: str
    kind: AuthorityKind
    signs: bool
    in_token: bool
    not_after_ms: int
    list_number: int | None
    list_made_ms: int | None
    list_next_ms: int | None
    responder_until_ms: int | None


def authority_views(authorities: Authorities, publisher: Publisher, responder: Responder) -> list[AuthorityView]:
    """Return how every authority stands now; a look-up in memory."""
    return [
        AuthorityView(
            authority=one.name,
            kind=one.kind,
            signs=authorities.of_kind(one.kind) is one,
            in_token=one.in_token,
            not_after_ms=int(one.certificate.not_valid_after_utc.timestamp()) * 1000,
            list_number=None if out is None else out.published.number,
            list_made_ms=None if out is None else out.published.made_ms,
            list_next_ms=None if out is None else out.published.next_ms,
            responder_until_ms=responder.valid_until_ms(one.name),
        )
        for one, out in ((one, publisher.current(one.name)) for one in authorities)
    ]


def waiting_of(row: sa.Row[Any]) -> Waiting:
    """Return a row of `store.waiting`."""
    pem = x509.load_der_x509_csr(bytes(row.der)).public_bytes(Encoding.PEM)
    return Waiting(row.reference, row.person_id, Slot(row.slot), bytes(row.key_digest), row.made_ms, pem)


def view_of(row: sa.Row[Any], rules: PkiRules, *, ours: bool) -> CertificateView:
    """Return a row of `store.of_card`; `ours`: an authority of this installation signed it."""
    state = CertificateState(row.state)
    if state is CertificateState.HELD and not row.held:
        state = CertificateState.GOOD
    url = rules.url if ours else None
    good = state is CertificateState.GOOD
    slot = Slot(row.slot)
    return CertificateView(
        slot=slot,
        authority=row.authority,
        serial=row.serial,
        state=state,
        reason=None if good else Reason(row.reason),
        not_before_ms=row.not_before_ms,
        not_after_ms=row.not_after_ms,
        changed_ms=row.changed_ms,
        window=None if good else window_of(slot, row.changed_ms, row.list_until_ms, rules, ours=ours),
        list_url=None if url is None else list_url(row.authority, url),
        ocsp_url=None if url is None else f"{url}/pki/ocsp",
        strong_mappings=_mappings(slot, row.der),
    )


def _mappings(slot: Slot, der: bytes | None) -> tuple[str, ...]:
    if slot is not Slot.LOGON or der is None:
        return ()
    return strong_mappings(x509.load_der_x509_certificate(bytes(der)))
