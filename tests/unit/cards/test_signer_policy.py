# SPDX-License-Identifier: EUPL-1.2
"""What the process with the logon authority's key signs, and what it refuses to whoever has taken the service over."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from support.pki import RULES, SID, authorities, rsa_key

from cardservice.cards.pki.authorities import Authority
from cardservice.cards.pki.mapping import sid_extension, upn_name
from cardservice.cards.pki.profiles import SMART_CARD_LOGON, Holder, Profile, profile_for
from cardservice.cards.pki.rules import AuthorityKind, Entry, Reason, Slot
from cardservice.cards.pki.signer.policy import HOUR_NS, Signer, SignerRules, SigningRefused
from cardservice.cards.pki.signing import Validity, delegate, sign_certificate, sign_list

NOW_MS = 1_773_651_600_000
AT = datetime.fromtimestamp(NOW_MS / 1000, UTC)
UPN = "anna@stadt.example"
PLAIN = SignerRules(frozenset(), RULES.logon_days, 10)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[AuthorityKind, Authority]:
    found = authorities(Path(tmp_path_factory.mktemp("signer")), NOW_MS)
    return {one.kind: one for one in found}


@pytest.fixture
def logon(both: dict[AuthorityKind, Authority]) -> Authority:
    return both[AuthorityKind.LOGON]


def asked(logon: Authority, tbs: bytes, rules: SignerRules = PLAIN, at: datetime = AT) -> str:
    key = logon.key.public_key()
    return Signer(rules).require(tbs, key, at, 0)


def holder(**values: str) -> Holder:
    import uuid

    said = {"name": "Anna Schmidt", "login": "anna", "upn": UPN, "sid": SID} | values
    return Holder(uuid.UUID(int=1, version=4), **said)


def certificate(
    logon: Authority, *, who: Holder | None = None, days: int = 365, change: Callable[[Profile], Profile] | None = None
) -> bytes:
    """What the service asks to be signed for somebody."""
    rules, key = replace(RULES, realm="STADT.EXAMPLE", pkinit_eku=True), rsa_key().public_key()
    profile = profile_for(Slot.LOGON, who or holder(), key, rules)
    made = sign_certificate(logon, change(profile) if change else profile, key, rules, Validity(NOW_MS, days))
    return made.tbs_certificate_bytes


def test_what_the_service_needs_is_signed(logon: Authority) -> None:
    """The authority itself, people's logons, its responder, its lists of any length."""
    assert asked(logon, logon.certificate.tbs_certificate_bytes) == "authority"
    assert asked(logon, certificate(logon)) == "logon"
    assert asked(logon, delegate(logon, NOW_MS).certificate.tbs_certificate_bytes) == "responder"
    entries = [Entry(f"{number:040x}", Reason.KEY_COMPROMISE, NOW_MS) for number in range(1, 3_000)]
    for revoked in ([], entries):
        made = x509.load_der_x509_crl(sign_list(logon, 1, revoked, RULES, NOW_MS))
        assert asked(logon, made.tbs_certlist_bytes) == "list"


@pytest.mark.parametrize(
    ("account", "who"),
    [
        ("anna@stadt.example", {}),
        ("ANNA@Stadt.Example", {}),
        (SID, {"upn": "other@stadt.example"}),
        ("anna@STADT.EXAMPLE", {"upn": "other@elsewhere.example"}),
    ],
    ids=["upn", "capitals", "sid", "kerberos"],
)
def test_the_accounts_that_are_named_get_none(logon: Authority, account: str, who: dict[str, str]) -> None:
    """By whichever of its names the certificate calls it."""
    rules = replace(PLAIN, never_for=frozenset({account}))
    with pytest.raises(SigningRefused, match="account of never_for"):
        asked(logon, certificate(logon, who=holder(**who)), rules)
    other = holder(upn="berta@stadt.example", login="berta", sid=f"{SID[:-1]}7")
    assert asked(logon, certificate(logon, who=other), rules) == "logon"


@pytest.mark.parametrize("last", [500, 502])
def test_the_accounts_of_every_domain_get_none(logon: Authority, last: int) -> None:
    sid = f"{SID.rpartition('-')[0]}-{last}"
    with pytest.raises(SigningRefused, match="every domain has"):
        asked(logon, certificate(logon, who=holder(sid=sid)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda one: replace(one, usages=(*one.usages, ExtendedKeyUsageOID.SERVER_AUTH)), "something else"),
        (lambda one: replace(one, usages=(SMART_CARD_LOGON,)), "something else"),
        (lambda one: replace(one, key_usage=frozenset({"digital_signature", "key_cert_sign"})), "something else"),
        (lambda one: replace(one, names=()), "names one account"),
        (lambda one: replace(one, names=(*one.names, upn_name("boss@stadt.example"))), "names one account"),
        (lambda one: replace(one, names=(*one.names, x509.DNSName("dc.stadt.example"))), "no accounts"),
        (lambda one: replace(one, more=(sid_extension("S-1-5-21-1-2-3-500"),)), "every domain has"),
    ],
)
def test_what_is_more_than_a_logon_is_refused(logon: Authority, change: Callable[[Profile], Profile], why: str) -> None:
    with pytest.raises(SigningRefused, match=why):
        asked(logon, certificate(logon, change=change))


def test_it_begins_now_and_lasts_no_longer_than_it_may(logon: Authority) -> None:
    with pytest.raises(SigningRefused, match="to begin now"):
        asked(logon, certificate(logon, days=368))
    for away in (timedelta(days=2), timedelta(days=-2)):
        with pytest.raises(SigningRefused, match="to begin now"):
            asked(logon, certificate(logon), at=AT + away)


def test_no_other_authority_and_nothing_of_the_card_authority_is_signed(
    logon: Authority, both: dict[AuthorityKind, Authority]
) -> None:
    card = both[AuthorityKind.CARD]
    with pytest.raises(SigningRefused, match="another authority"):
        asked(logon, card.certificate.tbs_certificate_bytes)
    with pytest.raises(SigningRefused, match="another key"):
        asked(logon, certificate(card))
    foreign = x509.load_der_x509_crl(sign_list(card, 1, [], RULES, NOW_MS))
    with pytest.raises(SigningRefused, match="another key"):
        asked(logon, foreign.tbs_certlist_bytes)


def test_a_subordinate_authority_is_refused(logon: Authority) -> None:
    """With it somebody could go on minting logons elsewhere."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "below")])
    builder = x509.CertificateBuilder(logon.certificate.subject, name, key.public_key(), 5, AT, AT + timedelta(days=9))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    with pytest.raises(SigningRefused, match="another authority"):
        asked(logon, builder.sign(logon.key, hashes.SHA256()).tbs_certificate_bytes)


def test_so_many_an_hour_and_no_more(logon: Authority) -> None:
    """Lists go on: nobody is kept from revoking."""
    signer, key, tbs = Signer(replace(PLAIN, logons_per_hour=3)), logon.key.public_key(), certificate(logon)
    for at_ns in range(3):
        signer.require(tbs, key, AT, at_ns)
    with pytest.raises(SigningRefused, match="3 logon certificates were signed within an hour"):
        signer.require(tbs, key, AT, HOUR_NS - 1)
    revoked = x509.load_der_x509_crl(sign_list(logon, 1, [], RULES, NOW_MS))
    assert signer.require(revoked.tbs_certlist_bytes, key, AT, HOUR_NS - 1) == "list"
    assert signer.require(tbs, key, AT, HOUR_NS) == "logon"


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(SigningRefused):
        Signer(PLAIN).require(data, key, AT, 0)


def test_a_changed_byte_is_signed_only_as_what_it_is(logon: Authority) -> None:
    """Whatever is not read as a logon of an account that may have one is refused, never an error of another kind."""
    tbs, rules = certificate(logon), replace(PLAIN, logons_per_hour=10_000)
    for at in range(0, len(tbs), 3):
        changed = bytearray(tbs)
        changed[at] ^= 0x41
        try:
            assert asked(logon, bytes(changed), rules) == "logon"
        except SigningRefused:
            continue
