# SPDX-License-Identifier: EUPL-1.2
"""What we sign is what the standards ask for, in the eyes of a linter that was written by others (pkilint)."""

import asyncio
import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from service.test_pki import Desk
from support.pki import ANNA, RULES, authorities, key_for, signed

from cardservice.cards.pki.authorities import Authorities
from cardservice.cards.pki.ocsp import Responder
from cardservice.cards.pki.profiles import profile_for
from cardservice.cards.pki.rules import AuthorityKind, Entry, Reason, Slot, next_number
from cardservice.cards.pki.signing import Validity, delegate, sign_certificate, sign_list
from cardservice.clock import SystemClock
from cardservice.database import Databases

# The UUID of a card is a URI without an authority, as FIPS 201-3, 2.9.1 and RFC 4122 want it; the linter knows the
# other kind alone.
CARD_UUID = {("GeneralNameUriSyntaxValidator", "pkix.invalid_uri_syntax")}


@pytest.fixture(scope="module")
def now_ms() -> int:
    return SystemClock().now_ms()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, now_ms: int) -> Authorities:
    return authorities(tmp_path_factory.mktemp("pki"), now_ms)


def findings(folder: Path, linter: str, der: bytes, *options: str) -> set[tuple[str, str]]:
    """Return validator and finding of everything that is at least a notice."""
    (folder / "one.der").write_bytes(der)
    program = Path(sys.executable).with_name(linter)
    command = [str(program), "lint", *options, "-s", "NOTICE", "-f", "CSV", "--document-format", "DER", "one.der"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert (done.returncode == 0) is (rows == [])
    return {(row["validator"], row["code"]) for row in rows}


def lint_certificate(folder: Path, certificate: x509.Certificate) -> set[tuple[str, str]]:
    return findings(folder, "lint_pkix_cert", certificate.public_bytes(Encoding.DER))


@pytest.mark.parametrize("slot", Slot)
def test_the_certificate_of_each_slot_is_clean(found: Authorities, tmp_path: Path, now_ms: int, slot: Slot) -> None:
    wanted = CARD_UUID if slot is Slot.CARD else set()
    assert lint_certificate(tmp_path, signed(found, slot, now_ms)) == wanted


def test_authorities_and_their_delegates_are_clean(found: Authorities, tmp_path: Path, now_ms: int) -> None:
    for authority in found:
        assert lint_certificate(tmp_path, authority.certificate) == set()
        assert lint_certificate(tmp_path, delegate(authority, now_ms).certificate) == set()


def test_lists_are_clean(found: Authorities, tmp_path: Path, now_ms: int) -> None:
    """Empty, and with every reason there is."""
    authority = next(iter(found))
    every = [Entry(f"{number:02x}" * 20, reason, now_ms) for number, reason in enumerate(Reason, start=64)]
    for entries in ([], every):
        der = sign_list(authority, next_number(None, now_ms), entries, RULES, now_ms)
        assert findings(tmp_path, "lint_crl", der, "-t", "CRL", "-p", "PKIX") == set()


def test_answers_are_clean(databases: Databases, found: Authorities, tmp_path: Path) -> None:
    """Good and unknown, with a nonce and without."""
    desk = Desk(databases, SystemClock(), found)
    made, responder = desk.issue(Slot.CARD), Responder(databases.state, found, RULES, SystemClock())
    never = signed(found, Slot.CARD, SystemClock().now_ms())
    issuer = found.of_kind(AuthorityKind.CARD).certificate
    for certificate, nonce in ((made, b"n" * 16), (made, None), (never, b"n" * 16)):
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
        builder = builder if nonce is None else builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        answer = asyncio.run(responder.answer(builder.build().public_bytes(Encoding.DER), "192.0.2.7"))
        assert findings(tmp_path, "lint_ocsp_response", answer.der) == set()
    responder.close()


def test_the_linter_bites(found: Authorities, tmp_path: Path, now_ms: int) -> None:
    """A certificate that may sign others and is no authority's is found."""
    key = key_for(Slot.SIGNATURE).public_key()
    wrong = replace(profile_for(Slot.SIGNATURE, ANNA, key, RULES), key_usage=frozenset({"key_cert_sign"}))
    authority = found.of_kind(AuthorityKind.CARD)
    made = sign_certificate(authority, wrong, key, RULES, Validity(now_ms, 30))
    assert lint_certificate(tmp_path, made) != set()
