# SPDX-License-Identifier: EUPL-1.2
"""The OCSP responder: OpenSSL agrees with every answer, hostile requests cost little, and nothing stale is kept."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service.fake_clock import FakeClock
from service.test_pki import Desk
from support.pki import RULES, OpenSsl, authorities, signed

from cardservice.cards.pki.authorities import Authorities
from cardservice.cards.pki.ocsp import BURST, MAX_NONCE_BYTES, MAX_REQUEST_BYTES, Answer, Responder, read_path
from cardservice.cards.pki.rules import DAY_MS, AuthorityKind, Slot
from cardservice.cards.rules import CardState
from cardservice.clock import SystemClock
from cardservice.database import Databases

Status = ocsp.OCSPResponseStatus


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return authorities(tmp_path_factory.mktemp("pki"), FakeClock().now_ms())


@pytest.fixture
def desk(databases: Databases, clock: FakeClock, found: Authorities) -> Desk:
    return Desk(databases, clock, found)


@pytest.fixture
def responder(desk: Desk) -> Iterator[Responder]:
    made = Responder(desk.databases.state, desk.found, RULES, desk.clock)
    yield made
    made.close()


def ask(responder: Responder, data: bytes, address: str = "192.0.2.7") -> Answer:
    return asyncio.run(responder.answer(data, address))


def question(desk: Desk, certificate: x509.Certificate, nonce: bytes | None = None) -> bytes:
    issuer = next(one for one in desk.found if one.certificate.subject == certificate.issuer).certificate
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
    builder = builder if nonce is None else builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def status_of(answer: Answer) -> ocsp.OCSPResponseStatus:
    return ocsp.load_der_ocsp_response(answer.der).response_status


@pytest.mark.openssl
def test_openssl_agrees_with_every_answer(desk: Desk, responder: Responder, tmp_path: Path) -> None:
    """Good, on hold, good again, revoked, never issued: signed by a delegate it trusts, with the nonce it sent."""
    tool, authority = OpenSsl(tmp_path), desk.found.of_kind(AuthorityKind.CARD)
    # OpenSSL asks the machine's clock how old an answer is.
    desk.clock.wall_ms = SystemClock().now_ms()
    made = desk.issue(Slot.CARD)

    def judged(certificate: x509.Certificate = made, *options: str) -> dict[str, str]:
        answer = ask(responder, tool.question(certificate, authority, *options))
        return dict(tool.judged(answer.der, certificate, authority, *options))

    assert judged() == {"verify": "OK", "status": "good"}
    assert judged(made, "-sha256") == {"verify": "OK", "status": "good"}
    desk.become(CardState.SUSPENDED, "missing")
    assert judged() == {"verify": "OK", "status": "revoked", "reason": "certificateHold"}
    desk.become(CardState.ACTIVE)
    assert judged() == {"verify": "OK", "status": "good"}
    desk.become(CardState.REVOKED, "stolen")
    assert judged() == {"verify": "OK", "status": "revoked", "reason": "keyCompromise"}
    never = signed(desk.found, Slot.CARD, desk.clock.now_ms())
    assert judged(never) == {"verify": "OK", "status": "unknown"}


def test_the_end_of_a_certificate_does_not_make_it_good(desk: Desk, responder: Responder) -> None:
    """What was revoked stays so after its end; a clock that jumps gets a delegate that is valid there."""
    made = desk.issue(Slot.CARD)
    desk.become(CardState.REVOKED, "stolen")
    for jump_ms in ((RULES.card_days + 5) * DAY_MS, -(RULES.card_days + 4) * DAY_MS):
        desk.clock.pass_ms(jump_ms)
        answer = ask(responder, question(desk, made))
        read = ocsp.load_der_ocsp_response(answer.der)
        assert (answer.outcome, read.revocation_reason) == ("revoked", x509.ReasonFlags.key_compromise)
        (delegate,) = read.certificates
        assert delegate.not_valid_before_utc <= read.this_update_utc < delegate.not_valid_after_utc


def test_answers_are_signed_once_and_forgotten_when_something_changes(desk: Desk, responder: Responder) -> None:
    """Without a nonce the same bytes; the moment a card changes, or the time is over, new ones."""
    made = desk.issue(Slot.CARD)
    asked = question(desk, made)
    first = ask(responder, asked)
    assert ask(responder, asked) is first
    desk.become(CardState.REVOKED, "lost")
    responder.forget()
    revoked = ask(responder, asked)
    assert (first.outcome, revoked.outcome) == ("good", "revoked")
    desk.clock.pass_ms(RULES.ocsp_minutes * 60_000)
    later = ask(responder, asked)
    assert later is not revoked
    desk.clock.pass_ms(-DAY_MS)
    assert ask(responder, asked).made_ms < later.made_ms


def test_a_nonce_comes_back_and_its_answer_is_not_kept(desk: Desk, responder: Responder) -> None:
    made = desk.issue(Slot.CARD)
    for nonce in (b"\x01", bytes(range(32))):
        answer = ask(responder, question(desk, made, nonce))
        read = ocsp.load_der_ocsp_response(answer.der)
        assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert answer.fresh_until_ms is None
    too_long = ask(responder, question(desk, made, bytes(MAX_NONCE_BYTES + 1)))
    assert status_of(too_long) is Status.MALFORMED_REQUEST


def test_the_delegate_may_answer_and_nothing_else(desk: Desk, responder: Responder) -> None:
    """Days, not years; id-kp-OCSPSigning alone; it is not asked about itself (RFC 6960, 4.2.2.2)."""
    answer = ocsp.load_der_ocsp_response(ask(responder, question(desk, desk.issue(Slot.CARD))).der)
    (delegate,) = answer.certificates
    usages = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in usages] == ["1.3.6.1.5.5.7.3.9"]
    assert delegate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    assert (delegate.not_valid_after_utc - delegate.not_valid_before_utc).days == 7
    delegate.verify_directly_issued_by(desk.found.of_kind(AuthorityKind.CARD).certificate)


def test_of_other_authorities_nothing_is_said(desk: Desk, responder: Responder, tmp_path: Path) -> None:
    """Even with the same name: what counts is the key."""
    foreign = authorities(tmp_path, desk.clock.now_ms())
    one = signed(foreign, Slot.CARD, desk.clock.now_ms())
    issuer = foreign.of_kind(AuthorityKind.CARD).certificate
    asked = ocsp.OCSPRequestBuilder().add_certificate(one, issuer, hashes.SHA256()).build().public_bytes(Encoding.DER)
    assert status_of(ask(responder, asked)) is Status.UNAUTHORIZED


def test_each_authority_answers_for_its_own(desk: Desk, responder: Responder) -> None:
    """The logon authority's serial number is unknown to the other one."""
    made = desk.issue(Slot.LOGON)
    assert ask(responder, question(desk, made)).outcome == "good"
    card = desk.found.of_kind(AuthorityKind.CARD).certificate
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*digests_of(card), made.serial_number, hashes.SHA256())
    assert ask(responder, builder.build().public_bytes(Encoding.DER)).outcome == "unknown"


def digests_of(authority: x509.Certificate) -> tuple[bytes, bytes]:
    asked = ocsp.OCSPRequestBuilder().add_certificate(authority, authority, hashes.SHA256()).build()
    return asked.issuer_name_hash, asked.issuer_key_hash


def test_one_address_cannot_have_everything_signed(desk: Desk, responder: Responder) -> None:
    """Beyond its share it is told to come later; answers that are there already cost nothing, and others get theirs."""
    made = desk.issue(Slot.CARD)
    plain, with_nonce = question(desk, made), question(desk, made, b"n" * 16)
    ask(responder, plain, "198.51.100.9")
    outcomes = [ask(responder, with_nonce).outcome for _ in range(int(BURST) + 5)]
    assert outcomes == ["good"] * int(BURST) + ["try_later"] * 5
    assert ask(responder, plain).outcome == "good"
    assert ask(responder, with_nonce, "198.51.100.9").outcome == "good"
    desk.clock.pass_ms(1_000)
    assert ask(responder, with_nonce).outcome == "good"


async def test_a_crowd_is_told_to_come_later(desk: Desk, responder: Responder) -> None:
    """No queue grows: of many at once some are answered, and all others at once with "try later"."""
    asked = question(desk, desk.issue(Slot.CARD), b"n" * 16)
    answers = await asyncio.gather(*(responder.answer(asked, f"192.0.2.{number}") for number in range(200)))
    outcomes = [one.outcome for one in answers]
    assert set(outcomes) == {"good", "try_later"}
    assert outcomes.count("good") >= 32


def test_the_whole_outcome_is_counted(desk: Desk, responder: Responder) -> None:
    ask(responder, question(desk, desk.issue(Slot.CARD)))
    ask(responder, b"")
    (family,) = responder.answers.collect()
    counted = {one.labels["outcome"]: one.value for one in family.samples if one.name.endswith("_total")}
    assert counted == {"good": 1, "malformed": 1}


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_requests_are_answered_without_harm(desk: Desk, responder: Responder, data: st.DataObject) -> None:
    """Random bytes, cut and changed requests: an OCSP answer each time, and never "good" of what was not issued."""
    sample = question(desk, signed(desk.found, Slot.CARD, desk.clock.now_ms()), b"n" * 16)
    kind = data.draw(st.sampled_from(("random", "cut", "changed", "longer")))
    if kind == "random":
        hostile = data.draw(st.binary(max_size=300))
    elif kind == "cut":
        hostile = sample[: data.draw(st.integers(0, len(sample) - 1))]
    elif kind == "changed":
        changed = bytearray(sample)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(sample) - 1))] = data.draw(st.integers(0, 255))
        hostile = bytes(changed)
    else:
        hostile = sample + data.draw(st.binary(min_size=1, max_size=MAX_REQUEST_BYTES))
    desk.clock.pass_ms(1_000)
    answer = ask(responder, hostile)
    assert answer.outcome in {"malformed", "unauthorized", "unknown"}
    ocsp.load_der_ocsp_response(answer.der)


def test_the_path_of_a_get_is_base64_and_nothing_else() -> None:
    assert read_path("MAA=") == b"\x30\x00"
    assert [read_path(text) for text in ("MAA", "M A=", "ä", "MAA=\n", "A" * 4_000)] == [None] * 5
