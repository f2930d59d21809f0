# SPDX-License-Identifier: EUPL-1.2
"""Authorities, keys as cards make them, and OpenSSL's own opinion of what we sign."""

import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from cardservice.cards.pki.authorities import Authorities, Authority, AuthorityFile
from cardservice.cards.pki.profiles import Holder, profile_for
from cardservice.cards.pki.requests import CardRequest, Proven
from cardservice.cards.pki.rules import AuthorityKind, PkiRules, Slot, kind_for
from cardservice.cards.pki.signing import Validity, sign_certificate

URL = "http://pki.stadt.example"
RULES = PkiRules(url=URL, organisation="Stadt Musterstadt", realm="STADT.EXAMPLE", pkinit_eku=True, logon_rsa_bits=2048)
SID = "S-1-5-21-1004336348-1177238915-682003330-1105"
ANNA = Holder(
    uuid.UUID("8a3c2f1e-5b7d-4c9a-8e6f-0d1b2c3a4f5e"),
    "Änne Müller",
    "anna",
    "anna@stadt.example",
    SID,
    "anna@stadt.example",
)
PASSPHRASE = b"authority-canary-5ac1"
CardKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Return an RSA key; to make one takes long."""
    return rsa.generate_private_key(65_537, bits)


def key_for(slot: Slot) -> CardKey:
    """Return a key such as a card makes in a slot."""
    return rsa_key() if slot is Slot.LOGON else ec.generate_private_key(ec.SECP256R1())


def proven(key: CardKey, name: str | None = None) -> Proven:
    """Return a request as the encoder gets it: the card only signs."""
    request = CardRequest(key.public_key(), name)
    data = request.to_be_signed()
    if isinstance(key, rsa.RSAPrivateKey):
        return request.signed(key.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    return request.signed(key.sign(data, ec.ECDSA(hashes.SHA256())))


def authorities(folder: Path, now_ms: int, *kinds: AuthorityKind) -> Authorities:
    """Return authorities of a new file, for logon in software."""
    file = AuthorityFile(folder / "pki.json", lambda: PASSPHRASE, software_logon=True)
    for kind in kinds or tuple(AuthorityKind):
        file.init(kind, RULES.organisation, now_ms)
    return file.load()


def signed(found: Authorities, slot: Slot, now_ms: int, days: int = 365) -> x509.Certificate:
    """Return Anna's certificate for a slot."""
    authority = found.of_kind(kind_for(slot))
    assert authority is not None
    key = key_for(slot).public_key()
    return sign_certificate(authority, profile_for(slot, ANNA, key, RULES), key, RULES, Validity(now_ms, days))


@dataclass(frozen=True)
class OpenSsl:
    """OpenSSL's command line in a folder of its own; `at_s` is the instant it believes it is."""

    folder: Path

    def pem(self, name: str, data: x509.Certificate) -> Path:
        """Write a certificate."""
        path = self.folder / f"{name}.pem"
        path.write_bytes(data.public_bytes(Encoding.PEM))
        return path

    def run(self, *words: object) -> tuple[int, str]:
        """Run it; return its exit code and everything it said."""
        done = subprocess.run(
            ["openssl", *map(str, words)], cwd=self.folder, capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def verify(self, certificate: x509.Certificate, authority: Authority, revocations: bytes, at_ms: int) -> str:
        """Return what `openssl verify -crl_check` says: "OK", or its reason."""
        (self.folder / "list.der").write_bytes(revocations)
        self.run("crl", "-inform", "DER", "-in", "list.der", "-out", "list.pem")
        trusted, one = self.pem("ca", authority.certificate), self.pem("one", certificate)
        words = ("-crl_check", "-x509_strict", "-extended_crl", "-attime", at_ms // 1000)
        _, said = self.run("verify", *words, "-CRLfile", "list.pem", "-CAfile", trusted, one)
        if said.rstrip().endswith(": OK"):
            return "OK"
        return next(line.rpartition(": ")[2] for line in said.splitlines() if "depth lookup" in line)

    def question(self, certificate: x509.Certificate, authority: Authority, *options: str) -> bytes:
        """Return the OCSP request that OpenSSL makes."""
        trusted, one = self.pem("ca", authority.certificate), self.pem("one", certificate)
        code, said = self.run("ocsp", *options, "-issuer", trusted, "-cert", one, "-reqout", "question.der")
        assert code == 0, said
        return (self.folder / "question.der").read_bytes()

    def judged(
        self, answer: bytes, certificate: x509.Certificate, authority: Authority, *options: str
    ) -> Mapping[str, str]:
        """Return what OpenSSL reads in an answer to its last question: `verify`, `status`, `reason`."""
        (self.folder / "answer.der").write_bytes(answer)
        trusted, one = self.pem("ca", authority.certificate), self.pem("one", certificate)
        # The nonce is the question's own; no other one is added.
        words = ("-no_nonce", "-respin", "answer.der", "-reqin", "question.der", *options)
        _, said = self.run("ocsp", *words, "-issuer", trusted, "-cert", one, "-CAfile", trusted)
        found = {"verify": "OK" if "Response verify OK" in said else said}
        for line in said.splitlines():
            if line.startswith(str(one)):
                found["status"] = line.rpartition(": ")[2]
            if line.strip().startswith("Reason:"):
                found["reason"] = line.partition(":")[2].strip()
        return found
