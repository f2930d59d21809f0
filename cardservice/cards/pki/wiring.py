# SPDX-License-Identifier: EUPL-1.2
"""The parts of a running service that are about certificates, put together."""

from collections.abc import Iterator, Sequence

from cryptography import x509
from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from sqlalchemy.engine import Engine

from cardservice.cards.pki.api import certificates_router, ocsp_router, published_router
from cardservice.cards.pki.authorities import Authorities
from cardservice.cards.pki.desk import CertificateDesk
from cardservice.cards.pki.desk_api import desk_router
from cardservice.cards.pki.ocsp import Responder
from cardservice.cards.pki.pages import certificate_pages
from cardservice.cards.pki.publisher import Publisher
from cardservice.cards.pki.rules import PkiRules
from cardservice.cards.pki.service import Certificates
from cardservice.cards.pki.views import authority_views
from cardservice.cards.register import CardRegister
from cardservice.clock import Clock
from cardservice.web.gate import Gate
from cardservice.web.looks import KeepLook
from cardservice.web.once import Once
from cardservice.web.pages import Pages


class PkiParts:
    """Who issues, who publishes lists, who answers by OCSP."""

    def __init__(
        self,
        state: Engine,
        authorities: Authorities,
        rules: PkiRules,
        clock: Clock,
        outside: Sequence[x509.Certificate] = (),
    ) -> None:
        self.authorities, self.clock = authorities, clock
        self.certificates = Certificates(state, authorities, rules, clock, outside)
        self.responder = Responder(state, authorities, rules, clock)
        self.publisher = Publisher(state, authorities, rules, clock, self.responder.forget)
        self.cards = CardRegister(state, clock)
        self.desk = CertificateDesk(
            self.certificates,
            self.cards,
            Once(state, clock),
            rules,
            lambda: authority_views(authorities, self.publisher, self.responder),
        )

    def register(self, registry: CollectorRegistry) -> None:
        """Show the figures of lists and answers."""
        registry.register(self.publisher)
        registry.register(self.responder.answers)

    def close(self) -> None:
        """End both threads."""
        self.publisher.stop()
        self.responder.close()


def pki_routers(parts: PkiParts, gate: Gate, pages: Pages, keep_look: KeepLook) -> Iterator[APIRouter]:
    """Yield the routes of certificates."""
    yield published_router(parts.authorities, parts.publisher, parts.clock)
    yield ocsp_router(parts.responder, parts.clock)
    yield certificates_router(parts.certificates, parts.cards, gate, keep_look)
    yield desk_router(parts.desk, gate, keep_look)
    yield certificate_pages(parts.desk, (gate, pages), keep_look)
