# SPDX-License-Identifier: EUPL-1.2
"""A city with an authority for cards, whose logons are signed by a PKI of its own, and systems and people who ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from service_http.conftest import City, build
from support.command import run_cli
from support.pki import PASSPHRASE, RULES, URL, authorities, key_for, proven, rsa_key
from support.service import directory_in_thread

from cardservice.cards.pki.authorities import Authority
from cardservice.cards.pki.profiles import Holder, profile_for
from cardservice.cards.pki.rules import AuthorityKind, Slot
from cardservice.cards.pki.signing import Validity, sign_certificate
from cardservice.cards.service import NewCard, register
from cardservice.clock import SystemClock
from cardservice.database import read, write
from cardservice.people.store import person
from city import people

TOKEN = "cards-canary-7d42"
# Mehmet is in IT, the holder is not; Anna issues for another organisation.
ISSUER, HOLDER, STRANGER = "yilmaz", "krueger", people.ANNA.login


@dataclass(frozen=True)
class Office:
    """A city whose logons its own PKI signs, and that PKI."""

    city: City
    outside: Authority

    def card(self, login: str = HOLDER) -> str:
        """Return a new card in use."""
        with self.city.files.stores() as databases:
            with read(databases.state) as connection:
                holder = connection.execute(sa.select(person).where(person.c.login == login)).one()
            return register(databases.state, [NewCard(holder.organisation_id, holder.id, ())])[0]

    def ask(self, method: str, path: str, **sent: object) -> httpx2.Response:
        """Send a request as a system."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": str(sent.pop("key", uuid4().hex))}
        url = f"{self.city.service.url}/api/v1/{path}"
        return httpx2.request(method, url, headers=headers, timeout=15, **sent)  # type: ignore[arg-type]

    def ask_as(self, login: str, method: str, path: str, **sent: object) -> httpx2.Response:
        """Send a request as somebody who is signed in."""
        visitor = self.city.visitor(login)
        headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": uuid4().hex}
        return visitor.request(method, f"/api/v1/{path}", headers=headers, **sent)

    def issue(self, card: str, slot: Slot, key: str | None = None) -> httpx2.Response:
        """Ask for a certificate of a key that a card has just made."""
        asked = key_for(slot) if slot is not Slot.LOGON else rsa_key(2048, hash(card) % 1_000)
        body = {"slot": slot.value, "request": pem_of(proven(asked).der)}
        return self.ask("POST", f"cards/{card}/certificates", json=body, key=key or uuid4().hex)

    def views(self, card: str) -> list[tuple[str, str, str | None]]:
        """Return slot, state and reason of each certificate of a card."""
        found = self.ask("GET", f"cards/{card}/certificates").json()["certificates"]
        return [(one["slot"], one["state"], one["reason"]) for one in found]

    def answer_to(self, request: str) -> bytes:
        """Sign a request as the city's PKI does."""
        key = x509.load_pem_x509_csr(request.encode()).public_key()
        with self.city.files.stores() as databases, read(databases.state) as connection:
            row = connection.execute(sa.select(person).where(person.c.login == HOLDER)).one()
        holder = Holder(uuid4(), row.name, row.login, row.upn, row.sid, row.mail)
        profile = profile_for(Slot.LOGON, holder, key, RULES)
        valid = Validity(SystemClock().now_ms(), 10)
        return sign_certificate(self.outside, profile, key, RULES, valid).public_bytes(Encoding.PEM)


def pem_of(request: bytes) -> str:
    """Return a request as people pass it on."""
    return x509.load_der_x509_csr(request).public_bytes(Encoding.PEM).decode()


@contextmanager
def running_pki_office(folder: Path) -> Iterator[Office]:
    """Run it in an existing folder while the context lasts."""
    for name, content in (("pki.secret", PASSPHRASE.decode()), ("desk.token", TOKEN)):
        (folder / name).write_text(content + "\n")
        (folder / name).chmod(0o600)
    (folder / "outside").mkdir()
    outside = authorities(folder / "outside", SystemClock().now_ms()).of_kind(AuthorityKind.LOGON)
    assert outside is not None
    (folder / "outside.pem").write_bytes(outside.certificate.public_bytes(Encoding.PEM))
    section = {
        "store": f"{folder}/pki.json",
        "passphrase_file": f"{folder}/pki.secret",
        "url": URL,
        "logon_rsa_bits": 2048,
        "outside_ca_files": [f"{folder}/outside.pem"],
        # Everything that is issued for ten days has to be renewed at once.
        "renew_days": 20,
    }
    callers = [{"name": "desk", "token_file": f"{folder}/desk.token", "uses": ["cards"]}]
    roles = [
        {"role": "issuer", "group": "IT"},
        {"role": "issuer", "group": "Bauamt", "organisations": ["elsewhere"]},
    ]
    settings = {"": {"callers": callers, "roles": roles}}
    with directory_in_thread() as directory:
        city = build(directory, folder / "city", None, **settings)
        city.service.stop()
        city.files.configure({"pki": section | {"card_days": 10}})
        done = run_cli("cards", "pki", "init", "card", "--config", str(city.files.config))
        assert done.returncode == 0, done.stderr
        city.service.start()
        with city.files.stores() as databases, write(databases.state) as connection:
            connection.execute(sa.text("UPDATE person SET upn = login || '@stadt.example' WHERE login IS NOT NULL"))
        try:
            yield Office(city, outside)
        finally:
            city.close()
