# SPDX-License-Identifier: EUPL-1.2
"""Certificates for whoever may send a request twice: issued, taken and retired once. Everything blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.engine import Connection

from cardservice.cards.pki.requests import read_request
from cardservice.cards.pki.rules import PkiRules, Slot
from cardservice.cards.pki.service import Certificates
from cardservice.cards.pki.views import AuthorityView
from cardservice.cards.register import CardLife, CardRegister
from cardservice.cards.service import OwnCard
from cardservice.web.gate import Actor
from cardservice.web.once import Asked, Once


@dataclass(frozen=True, slots=True)
class CertificateDesk:
    """The use cases, the register that knows how far somebody reaches, and what makes a change once.

    `authorities` looks at them in memory.
    """

    certificates: Certificates
    cards: CardRegister
    once: Once
    rules: PkiRules
    authorities: Callable[[], list[AuthorityView]]

    def issue(self, asked: Asked, actor: Actor, reference: str, slot: Slot, request: bytes) -> dict[str, Any]:
        """Issue a certificate for a request that the card has signed, or have the request wait for the city's PKI.

        The one before in the slot stays good until `retire`: the card may not have the new one yet.

        Raises:
            NotFound: there is no such card within reach.
            Conflict: it is the actor's own, the request is none, or nobody may have this certificate.
        """
        self._refuse(self.cards.one(reference, actor.reaches), actor)
        proven = read_request(request)
        if slot is Slot.LOGON and self.rules.logon_outside:

            def ask(connection: Connection) -> dict[str, Any]:
                self._require(connection, actor, reference)
                self.certificates.ask_outside_in(connection, reference, proven)
                return {"certificate": None, "waits": True}

            return self.once.run(asked, ask)
        made = self.certificates.sign(reference, slot, proven)

        def keep(connection: Connection) -> dict[str, Any]:
            self._require(connection, actor, reference)
            self.certificates.keep(connection, made)
            return {"certificate": made.certificate.public_bytes(Encoding.PEM).decode(), "waits": False}

        return self.once.run(asked, keep)

    def bring_in(self, asked: Asked, actor: Actor, data: bytes) -> dict[str, Any]:
        """Take an answer of the city's PKI, once; return the card it is for.

        Raises:
            NotFound: no request waits for its key, or none of a card within reach.
            Conflict: it is not one of the PKI that is trusted for it, or not what was asked for.
        """

        def take(connection: Connection) -> dict[str, Any]:
            card = self.certificates.bring_in_to(connection, data)
            self.cards.one_in(connection, card, actor.reaches)
            return {"card": card}

        return self.once.run(asked, take)

    def retire(self, asked: Asked, actor: Actor, reference: str, slot: Slot) -> dict[str, Any]:
        """Revoke as superseded what was in a slot before its newest certificate, which the card has now.

        Raises:
            NotFound: there is no such card within reach.
            Conflict: it is the actor's own.
        """

        def retire(connection: Connection) -> dict[str, Any]:
            self._require(connection, actor, reference)
            return {"retired": self.certificates.retire_older_in(connection, reference, slot)}

        return self.once.run(asked, retire)

    def _require(self, connection: Connection, actor: Actor, reference: str) -> None:
        self._refuse(self.cards.one_in(connection, reference, actor.reaches), actor)

    @staticmethod
    def _refuse(life: CardLife, actor: Actor) -> None:
        if actor.person is not None and life.line.person == actor.person:
            raise OwnCard("a colleague has to do this: nobody changes the certificates of their own card")
