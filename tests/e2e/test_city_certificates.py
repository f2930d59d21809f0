# SPDX-License-Identifier: EUPL-1.2
"""The demonstration's two authorities as OpenSSL sees them: its cards' certificates, their lists, answers by OCSP."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.waiting import wait_until

from cardservice.demo.city import DemoCity, Options

pytestmark = pytest.mark.openssl
# Anna's card is in use, Jonas's is missing, Tomasz's is lost; one that nobody registered was signed all the same.
CARDS = ("anna", "jonas", "tomasz", "unbekannt")


@dataclass(frozen=True)
class Outside:
    """Somebody with OpenSSL, the authority's certificate and those of the cards."""

    city: DemoCity
    folder: Path

    def run(self, *words: str) -> str:
        done = subprocess.run(
            ("openssl", *words), cwd=self.folder, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout + done.stderr

    def get(self, name: str) -> Path:
        """Fetch a list or a certificate from its address, and keep it as PEM."""
        with urllib.request.urlopen(f"{self.city.url}/pki/{name}", timeout=10) as answer:
            data = answer.read()
        read = x509.load_der_x509_crl if name.endswith(".crl") else x509.load_der_x509_certificate
        path = self.folder / f"{name}.pem"
        path.write_bytes(read(data).public_bytes(Encoding.PEM))
        return path

    def asked(self, card: str) -> str:
        """Return what OCSP says of a card, in OpenSSL's own word, after the answer's signature was checked."""
        said = self.run(
            *("ocsp", "-issuer", "card-1.cer.pem", "-cert", f"{card}.pem", "-CAfile", "card-1.cer.pem"),
            *("-url", f"{self.city.url}/pki/ocsp", "-no_nonce"),
        )
        assert "Response verify OK" in said, said
        return said.partition(f"{card}.pem: ")[2].partition("\n")[0]

    def verified(self, card: str) -> str:
        """Return what OpenSSL says of a card's certificate by the list."""
        return self.run(
            *("verify", "-crl_check", "-purpose", "any", "-CAfile", "card-1.cer.pem"),
            *("-CRLfile", "card-1.crl.pem", f"{card}.pem"),
        )


def listed(path: Path) -> int:
    return len(list(x509.load_pem_x509_crl(path.read_bytes())))


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("openssl")
    city = DemoCity(Options(folder / "state", pcsc="never"), lambda _: None)
    try:
        city.start()
        deck = json.loads((folder / "state" / "deck.json").read_text("utf-8"))["cards"]
        for card in deck:
            if card["card_id"] in CARDS:
                (folder / f"{card['card_id']}.pem").write_text(card["piv"]["slots"]["9E"]["certificate"])
        made = Outside(city, folder)
        made.get("card-1.cer")
        yield made
    finally:
        city.stop()


def test_openssl_agrees_by_ocsp_with_what_became_of_each_card(outside: Outside) -> None:
    """Good, on hold, revoked for a loss, and nothing of what nobody registered."""
    wait_until(lambda: outside.asked("tomasz") == "revoked")
    assert {card: outside.asked(card) for card in CARDS} == {
        "anna": "good",
        "jonas": "revoked",
        "tomasz": "revoked",
        "unbekannt": "unknown",
    }


def test_openssl_agrees_by_the_list(outside: Outside) -> None:
    """As fetched from the address of the list; both authorities have one that is signed and counts now."""
    wait_until(lambda: listed(outside.get("card-1.crl")) == 2)
    assert outside.verified("anna") == "anna.pem: OK\n"
    for card in ("jonas", "tomasz"):
        assert "certificate revoked" in outside.verified(card)
    logon = outside.get("logon-1.cer")
    said = outside.run("crl", "-in", str(outside.get("logon-1.crl")), "-CAfile", str(logon), "-noout")
    assert "verify OK" in said
