# SPDX-License-Identifier: EUPL-1.2
"""Certificates in the store, on both databases: issued, following their card, listed, renewed, asked of another PKI."""

import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock
from support.command import python_environment
from support.pki import PASSPHRASE, RULES, SID, OpenSsl, authorities, key_for, proven, rsa_key, signed

from cardservice.access.service import City
from cardservice.cards.pki.authorities import Authorities, AuthorityFile
from cardservice.cards.pki.delegated import DelegatedEcKey
from cardservice.cards.pki.lists import Lists
from cardservice.cards.pki.mapping import serial_bytes
from cardservice.cards.pki.publisher import Publisher
from cardservice.cards.pki.rules import (
    DAY_MS,
    HOUR_MS,
    KEPT_AFTER_END_MS,
    OUTSIDE,
    AuthorityKind,
    CertificateState,
    Reason,
    Slot,
)
from cardservice.cards.pki.service import Certificates
from cardservice.cards.pki.views import CertificateView
from cardservice.cards.ports import TokenTrouble
from cardservice.cards.proven import trust_of
from cardservice.cards.rules import CardState, piv_credential
from cardservice.cards.service import NewCard, NewState, change_state, register
from cardservice.cards.store import find_card, keys_of_card
from cardservice.chip.errors import CertificateCause, CertificateRefused
from cardservice.chip.piv_certificate import check_card_auth_certificate
from cardservice.database import Databases, read
from cardservice.errors import CardServiceError, Conflict, NotFound

ANNA = {"upn": "anna@stadt.example", "sid": SID, "mail": "anna@stadt.example"}


class Desk:
    """Anna's card, and whoever issues for it."""

    def __init__(self, databases: Databases, clock: FakeClock, found: Authorities) -> None:
        self.databases, self.clock, self.found = databases, clock, found
        self.copy = open_copy(databases.state, clock)
        tell(self.copy, someone("anna", **ANNA))
        person = row_numbers(databases.state)["anna"]
        self.card, self.other = register(
            databases.state, [NewCard(1, person, (b"\x01door-number-",)), NewCard(1, person, ())]
        )
        self.certificates = Certificates(databases.state, found, RULES, clock)
        self.lists = Lists(databases.state, RULES)

    def issue(self, slot: Slot) -> x509.Certificate:
        return self.certificates.issue(self.card, slot, proven(key_for(slot)))

    def become(self, state: CardState, reason: str | None = None, until_ms: int | None = None) -> int:
        """Move the card; return how many certificates changed with it."""
        new = NewState(state, reason, until_ms)
        return change_state(self.databases.state, self.card, new, self.clock.now_ms()).certificates_changed

    def states(self) -> set[tuple[CertificateState, Reason | None]]:
        return {(one.state, one.reason) for one in self.certificates.of_card(self.card)}

    def view(self) -> CertificateView:
        return self.certificates.of_card(self.card)[0]

    def renewed(
        self, kind: AuthorityKind = AuthorityKind.CARD, *, at_once: bool = False
    ) -> x509.CertificateRevocationList:
        authority = self.found.of_kind(kind)
        assert authority is not None
        _, der = self.lists.renew(authority, self.clock.now_ms(), at_once=at_once)
        return x509.load_der_x509_crl(der)


def number_of(revocations: x509.CertificateRevocationList) -> int:
    return revocations.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def listed(revocations: x509.CertificateRevocationList) -> dict[int, str]:
    return {
        one.serial_number: one.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
        for one in revocations
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return authorities(tmp_path_factory.mktemp("pki"), FakeClock().now_ms())


@pytest.fixture
def desk(databases: Databases, clock: FakeClock, found: Authorities) -> Desk:
    return Desk(databases, clock, found)


def test_a_card_gets_its_four_certificates(desk: Desk) -> None:
    """Each from the authority of its slot, about whom the directory names; taps find the card by its 9E."""
    made = {slot: desk.issue(slot) for slot in Slot}
    views = {one.slot: one for one in desk.certificates.of_card(desk.card)}
    assert {slot: views[slot].authority for slot in Slot} == {
        **dict.fromkeys(Slot, "card-1"),
        Slot.LOGON: "logon-1",
    }
    assert [views[slot].serial for slot in Slot] == [f"{made[slot].serial_number:040x}" for slot in Slot]
    assert len(views[Slot.LOGON].strong_mappings) == 3
    assert views[Slot.CARD].strong_mappings == ()
    name = made[Slot.CARD].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    card_uuid = uuid.UUID(name.get_values_for_type(x509.UniformResourceIdentifier)[0])
    with read(desk.databases.state) as connection:
        keys = keys_of_card(connection, find_card(connection, desk.card).id)
    assert piv_credential(desk.found.of_kind(AuthorityKind.CARD).issuer_key, card_uuid.bytes) in keys
    # The next one is about the same card.
    assert desk.issue(Slot.CARD).subject == made[Slot.CARD].subject


def tapped(desk: Desk, city: City, certificate: x509.Certificate) -> CertificateCause | None:
    """Why a reader refuses a certificate now, None if it believes it."""
    authority = desk.found.of_kind(AuthorityKind.CARD)
    assert authority is not None
    trust, at = trust_of([authority.certificate], city.knows), datetime.fromtimestamp(desk.clock.now_ms() / 1000, UTC)
    try:
        check_card_auth_certificate(certificate.public_bytes(Encoding.DER), trust, at=at)
    except CertificateRefused as refused:
        return refused.cause
    return None


def test_a_superseded_certificate_opens_nothing(desk: Desk) -> None:
    """It is refused from the next tap on, without any list; the card's own end is told by the card's state."""
    city = City(desk.databases.state, desk.clock)
    city.build()
    old, new = desk.issue(Slot.CARD), desk.issue(Slot.CARD)
    city.catch_up()
    assert (tapped(desk, city, old), tapped(desk, city, new)) == (None, None)
    assert desk.certificates.retire_older(desk.card, Slot.CARD) == 1
    city.catch_up()
    anew = City(desk.databases.state, desk.clock)
    anew.build()
    for one in (city, anew):
        assert (tapped(desk, one, old), tapped(desk, one, new)) == (CertificateCause.REVOKED, None)
    assert city.snapshot.content_hash() == anew.snapshot.content_hash()
    desk.become(CardState.REVOKED, "lost")
    city.catch_up()
    anew.build()
    assert city.snapshot.content_hash() == anew.snapshot.content_hash()
    assert tapped(desk, city, old) is None, "what ended is the card"


def test_what_came_into_another_state_is_counted(desk: Desk) -> None:
    """On hold, off it, on it again, and from there revoked: each certificate each time."""
    for slot in (Slot.CARD, Slot.SIGNATURE):
        desk.issue(slot)
    assert desk.become(CardState.SUSPENDED, "missing") == 2
    assert desk.become(CardState.ACTIVE) == 2
    assert desk.become(CardState.SUSPENDED, "investigation") == 2
    assert desk.become(CardState.REVOKED, "lost") == 2
    assert desk.become(CardState.RETURNED) == 0


def test_two_cards_never_share_a_uuid(desk: Desk) -> None:
    same = uuid.uuid4()
    desk.certificates.issue(desk.card, Slot.CARD, proven(key_for(Slot.CARD)), same)
    with pytest.raises(Conflict, match="another card has this UUID"):
        desk.certificates.issue(desk.other, Slot.CARD, proven(key_for(Slot.CARD)), same)
    assert desk.certificates.of_card(desk.other) == []


def test_who_may_have_no_certificate_gets_none(desk: Desk) -> None:
    """Not a card that ended, nobody who is disabled, nobody without a UPN for logging on, nobody in another's name."""
    with pytest.raises(NotFound):
        desk.certificates.issue(str(uuid.uuid4()), Slot.CARD, proven(key_for(Slot.CARD)))
    with pytest.raises(Conflict, match="another subject"):
        desk.certificates.issue(desk.card, Slot.LOGON, proven(rsa_key(), "Administrator"))
    tell(desk.copy, someone("anna"))
    with pytest.raises(Conflict, match="UPN"):
        desk.issue(Slot.LOGON)
    tell(desk.copy, someone("anna", enabled=False, **ANNA))
    with pytest.raises(Conflict, match="no holder whom"):
        desk.issue(Slot.SIGNATURE)
    desk.become(CardState.REVOKED, "lost")
    with pytest.raises(Conflict, match="is revoked"):
        desk.issue(Slot.CARD)
    assert desk.certificates.of_card(desk.card) == []


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("forgotten", (CertificateState.GOOD, None)),
        ("pin_blocked", (CertificateState.GOOD, None)),
        ("missing", (CertificateState.HELD, Reason.HOLD)),
        ("investigation", (CertificateState.HELD, Reason.HOLD)),
    ],
)
def test_a_suspension_holds_certificates_only_where_it_should(
    desk: Desk, reason: str, wanted: tuple[CertificateState, Reason | None]
) -> None:
    """And gives them back with the card."""
    for slot in (Slot.CARD, Slot.LOGON):
        desk.issue(slot)
    desk.become(CardState.SUSPENDED, reason)
    assert desk.states() == {wanted}
    desk.become(CardState.ACTIVE)
    assert desk.states() == {(CertificateState.GOOD, None)}


def test_a_hold_ends_with_the_suspension_without_anybody_acting(desk: Desk) -> None:
    made = desk.issue(Slot.CARD)
    desk.become(CardState.SUSPENDED, "missing", desk.clock.now_ms() + HOUR_MS)
    assert listed(desk.renewed()) == {made.serial_number: "certificateHold"}
    desk.clock.pass_ms(HOUR_MS)
    assert desk.states() == {(CertificateState.GOOD, None)}
    assert listed(desk.renewed()) == {}


@pytest.mark.parametrize(
    ("reason", "said"),
    [("lost", Reason.KEY_COMPROMISE), ("stolen", Reason.KEY_COMPROMISE), ("left", Reason.AFFILIATION_CHANGED)],
)
def test_the_end_of_a_card_is_the_end_of_its_certificates(desk: Desk, reason: str, said: Reason) -> None:
    """In the transaction of the card, for good, with the window in which others may still believe them."""
    made = desk.issue(Slot.LOGON)
    before = desk.renewed(AuthorityKind.LOGON)
    desk.become(CardState.SUSPENDED, "missing")
    desk.become(CardState.REVOKED, reason)
    assert desk.states() == {(CertificateState.REVOKED, said)}
    with pytest.raises(Conflict):
        desk.become(CardState.ACTIVE)
    window, now_ms = desk.view().window, desk.clock.now_ms()
    assert window.list_ms == before.next_update_utc.timestamp() * 1000
    assert window.ends_ms() == window.tickets_ms == now_ms + (RULES.crl_hours + RULES.ticket_hours) * HOUR_MS
    after = desk.renewed(AuthorityKind.LOGON)
    assert listed(after) == {made.serial_number: said.value}
    assert number_of(after) > number_of(before)


def test_a_change_that_is_not_made_changes_no_certificate(desk: Desk) -> None:
    desk.issue(Slot.CARD)
    with pytest.raises(Conflict):
        desk.become(CardState.REVOKED, "no-such-reason")
    with pytest.raises(Conflict):
        desk.become(CardState.PRODUCED)
    assert desk.states() == {(CertificateState.GOOD, None)}


def test_lists_overlap_and_are_made_when_due(desk: Desk) -> None:
    """Nothing new: the same list until a quarter of its time is over; the next one begins long before it ends."""
    first = desk.renewed()
    desk.clock.pass_ms(RULES.crl_every_hours * HOUR_MS - 1)
    assert desk.renewed() == first
    desk.clock.pass_ms(1)
    second = desk.renewed()
    assert number_of(second) > number_of(first)
    assert second.last_update_utc < first.next_update_utc < second.next_update_utc


def test_numbers_of_lists_rise_over_clock_jumps(desk: Desk) -> None:
    """A year ahead, and back again: the lists that follow are newer by their number, and true by their dates."""
    numbers = []
    for jump_ms in (0, 365 * DAY_MS, -365 * DAY_MS, -2 * HOUR_MS, HOUR_MS):
        desk.clock.wall_ms += jump_ms
        made = desk.renewed()
        numbers.append(number_of(made))
        assert made.last_update_utc.timestamp() * 1000 <= desk.clock.now_ms()
    assert numbers[:4] == sorted(set(numbers[:4]))
    assert numbers[4] == numbers[3]


def test_what_ended_leaves_the_list_only_after_lists_from_before_have_ended(desk: Desk) -> None:
    made = desk.issue(Slot.CARD)
    desk.become(CardState.REVOKED, "stolen")
    desk.clock.wall_ms = int(made.not_valid_after_utc.timestamp()) * 1000 + HOUR_MS
    assert list(listed(desk.renewed())) == [made.serial_number]
    desk.clock.pass_ms(RULES.crl_hours * HOUR_MS)
    assert listed(desk.renewed()) == {}


_MAKES_LISTS = """
import sys
from pathlib import Path
from cardservice.cards.pki.authorities import AuthorityFile
from cardservice.cards.pki.delegated import DelegatedEcKey
from cardservice.cards.pki.lists import Lists
from cardservice.database import open_databases
from support.pki import PASSPHRASE, RULES
found = AuthorityFile(Path(sys.argv[2]), lambda: PASSPHRASE, software_logon=True).load()
lists, authority = Lists(open_databases(sys.argv[1]).state, RULES), next(iter(found))
while True:
    print(lists.renew(authority, int(sys.argv[3]), at_once=True)[0].number, flush=True)
"""


def test_numbers_of_lists_rise_over_kills(place, databases: Databases, clock: FakeClock, tmp_path: Path) -> None:
    """Killed at any moment and started again: no number that anybody was told is ever given out again."""
    folder = tmp_path / "ca"
    folder.mkdir()
    authorities(folder, clock.now_ms(), AuthorityKind.CARD)
    told: list[int] = []
    for lines in (2, 5):
        command = [sys.executable, "-c", _MAKES_LISTS, place.url, str(folder / "pki.json"), str(clock.now_ms())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=python_environment()) as program:
            assert program.stdout is not None
            told += [int(program.stdout.readline()) for _ in range(lines)]
            program.kill()
    assert told == sorted(set(told))
    authority = next(iter(AuthorityFile(folder / "pki.json", lambda: PASSPHRASE).load()))
    published, _ = Lists(databases.state, RULES).renew(authority, clock.now_ms(), at_once=True)
    assert published.number > told[-1]


@pytest.mark.openssl
def test_openssl_believes_our_lists(desk: Desk, tmp_path: Path) -> None:
    """Good, on hold, revoked and expired, each as `openssl verify -crl_check` sees it; an old list is refused."""
    tool, authority = OpenSsl(tmp_path), desk.found.of_kind(AuthorityKind.CARD)
    made = desk.issue(Slot.KEY_MANAGEMENT)

    def verdict(at_ms: int | None = None) -> str:
        der = desk.renewed().public_bytes(Encoding.DER)
        return tool.verify(made, authority, der, at_ms or desk.clock.now_ms())

    assert verdict() == "OK"
    assert verdict(desk.clock.now_ms() + RULES.crl_hours * HOUR_MS + 1000) == "CRL has expired"
    desk.become(CardState.SUSPENDED, "missing")
    assert verdict() == "certificate revoked"
    desk.become(CardState.ACTIVE)
    assert verdict() == "OK"
    desk.become(CardState.REVOKED, "stolen")
    assert verdict() == "certificate revoked"
    desk.clock.pass_ms((RULES.card_days + 30) * DAY_MS)
    assert verdict() == "certificate has expired"


def test_an_older_certificate_is_retired_once_the_card_has_the_new_one(desk: Desk) -> None:
    """Renewal before the end: both are good until then, and afterwards only the newer one."""
    first = desk.issue(Slot.CARD)
    desk.clock.wall_ms = int(first.not_valid_after_utc.timestamp()) * 1000 - 20 * DAY_MS
    assert [(one.card, one.slot) for one in desk.certificates.ending()] == [(desk.card, Slot.CARD)]
    assert desk.certificates.ending(5) == []
    second = desk.issue(Slot.CARD)
    assert desk.states() == {(CertificateState.GOOD, None)}
    assert desk.certificates.ending() == []
    assert desk.certificates.retire_older(desk.card, Slot.CARD) == 1
    assert listed(desk.renewed()) == {first.serial_number: "superseded"}
    assert desk.view().serial == f"{second.serial_number:040x}"
    assert desk.certificates.retire_older(desk.card, Slot.LOGON) == 0


def test_the_publisher_serves_the_newest_list_and_erases_what_ended(desk: Desk) -> None:
    """Also a list that another program made; what a certificate said goes, that it was issued stays."""
    told: list[int] = []
    publisher = Publisher(desk.databases.state, desk.found, RULES, desk.clock, lambda: told.append(1))
    assert publisher.current("card-1") is None
    desk.issue(Slot.CARD)
    publisher.look()
    before = publisher.current("card-1")
    made = desk.renewed(at_once=True)
    publisher.look()
    after = publisher.current("card-1")
    assert x509.load_der_x509_crl(after.der) == made
    assert (after.tag != before.tag, publisher.current("card-9"), publisher.trouble) == (True, None, None)
    desk.become(CardState.REVOKED, "lost")
    desk.clock.pass_ms(KEPT_AFTER_END_MS - 1000)
    publisher.look()
    assert der_of(desk) is not None
    desk.clock.pass_ms(2000)
    publisher.look()
    assert der_of(desk) is None
    assert desk.states() == {(CertificateState.REVOKED, Reason.KEY_COMPROMISE)}


def der_of(desk: Desk) -> bytes | None:
    from cardservice.cards.pki.store import certificate

    with read(desk.databases.state) as connection:
        return connection.execute(certificate.select()).one().der


def test_a_list_that_ran_out_is_said_and_counted(desk: Desk) -> None:
    """Nothing is hidden: the sentence of /health/ready and the gauge of the alert."""
    publisher = Publisher(desk.databases.state, desk.found, RULES, desk.clock, lambda: None)
    publisher.look()
    assert publisher.sentences() == []
    desk.clock.pass_ms(RULES.crl_hours * HOUR_MS + 5000)
    assert [one.partition(" of ")[2].partition(" ")[0] for one in publisher.sentences()] == ["card-1", "logon-1"]
    left = next(one for one in publisher.collect() if one.name == "cardservice_crl_left_seconds")
    assert {sample.value for sample in left.samples} == {-5.0}


class _TokenAway:
    """A token with the key of one authority, which can be taken away."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self.key, self.away = key, True

    def sign(self, data: bytes) -> bytes:
        if self.away:
            raise TokenTrouble("the token is away")
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


def test_an_authority_that_cannot_sign_does_not_stop_the_other(desk: Desk) -> None:
    """The one whose token is away comes first, is named, and is made good when the token is back."""
    card, logon = desk.found
    token = _TokenAway(logon.key)
    away = replace(logon, key=DelegatedEcKey(logon.key.public_key(), token.sign))
    publisher = Publisher(desk.databases.state, Authorities((away, card)), RULES, desk.clock, lambda: None)
    publisher.look()
    assert (publisher.current("logon-1"), publisher.trouble) == (None, "the token is away")
    assert publisher.current("card-1") is not None
    token.away = False
    publisher.look()
    assert publisher.current("logon-1") is not None
    assert publisher.trouble is None


class Outside:
    """The city's own PKI: an authority in another file, of which we know the certificate alone."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.found = authorities(folder, desk.clock.now_ms())
        self.authority = self.found.of_kind(AuthorityKind.LOGON)
        ours = Authorities(tuple(one for one in desk.found if one.kind is AuthorityKind.CARD))
        self.desk = Certificates(desk.databases.state, ours, RULES, desk.clock, [self.authority.certificate])


def test_the_citys_pki_signs_logons(desk: Desk, tmp_path: Path) -> None:
    """Request out, certificate in, matched by its key; it follows its card as every other one."""
    outside = Outside(desk, tmp_path)
    with pytest.raises(Conflict, match="no authority"):
        outside.desk.issue(desk.card, Slot.LOGON, proven(rsa_key()))
    outside.desk.ask_outside(desk.card, proven(rsa_key()))
    (asked,) = outside.desk.waiting()
    assert (asked.card, asked.slot) == (desk.card, Slot.LOGON)
    assert x509.load_pem_x509_csr(asked.pem).is_signature_valid
    made = signed(outside.found, Slot.LOGON, desk.clock.now_ms())
    assert outside.desk.bring_in(made.public_bytes(Encoding.PEM)) == desk.card
    assert outside.desk.waiting() == []
    (view,) = outside.desk.of_card(desk.card)
    assert (view.authority, view.serial) == (OUTSIDE, serial_bytes(made.serial_number).hex())
    assert (view.list_url, view.ocsp_url) == (None, None)
    desk.become(CardState.REVOKED, "lost")
    (view,) = outside.desk.of_card(desk.card)
    assert (view.state, view.window.ocsp_ms) == (CertificateState.REVOKED, None)
    assert view.window.tickets_ms is not None


def test_what_the_citys_pki_did_not_sign_or_nobody_asked_for_is_not_taken(desk: Desk, tmp_path: Path) -> None:
    """Another authority, another key, another time, garbage: refused, and the request still waits."""
    outside = Outside(desk, tmp_path)
    now_ms = desk.clock.now_ms()
    with pytest.raises(NotFound, match="no request waits"):
        outside.desk.bring_in(signed(outside.found, Slot.LOGON, now_ms).public_bytes(Encoding.DER))
    outside.desk.ask_outside(desk.card, proven(rsa_key()))
    with pytest.raises(Conflict, match="outside_ca_files"):
        outside.desk.bring_in(signed(desk.found, Slot.LOGON, now_ms).public_bytes(Encoding.DER))
    with pytest.raises(Conflict, match="not valid now"):
        outside.desk.bring_in(signed(outside.found, Slot.LOGON, now_ms + 9 * HOUR_MS).public_bytes(Encoding.DER))
    for garbage in (b"", b"-----BEGIN CERTIFICATE-----", b"\x30\x82" + b"\0" * 500, b"x" * 70_000):
        with pytest.raises(CardServiceError):
            outside.desk.bring_in(garbage)
    tell(desk.copy, someone("anna", **{**ANNA, "upn": "other@stadt.example"}))
    with pytest.raises(Conflict, match="UPN is not"):
        outside.desk.bring_in(signed(outside.found, Slot.LOGON, now_ms).public_bytes(Encoding.DER))
    assert len(outside.desk.waiting()) == 1


def test_a_weak_key_does_not_even_wait(desk: Desk, tmp_path: Path) -> None:
    outside = Outside(desk, tmp_path)
    with pytest.raises(Conflict, match="does not fit"):
        outside.desk.ask_outside(desk.card, proven(ec.generate_private_key(ec.SECP256R1())))
    assert outside.desk.waiting() == []


def test_our_card_authority_is_never_taken_for_the_citys_pki(desk: Desk) -> None:
    """Even if the settings name it: what it signs is not a logon certificate."""
    card = desk.found.of_kind(AuthorityKind.CARD)
    confused = Certificates(desk.databases.state, desk.found, RULES, desk.clock, [card.certificate])
    confused.ask_outside(desk.card, proven(rsa_key()))
    with pytest.raises(Conflict, match="outside_ca_files"):
        confused.bring_in(signed(desk.found, Slot.LOGON, desk.clock.now_ms()).public_bytes(Encoding.DER))
