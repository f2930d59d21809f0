# SPDX-License-Identifier: EUPL-1.2
"""From a fresh PIV application to one of ours, from anywhere in between, on both makes of card."""

import dataclasses
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.chip.authority import CARD_UUID, NOW
from unit.chip.hostile import Script, scripts
from unit.chip.piv_desk import (
    EXPIRES,
    QUICK_KEYS,
    TRUST,
    DeskField,
    issue,
    personalise,
    plain_field,
    plan,
    request,
    yubico_field,
    yubico_plan,
)
from unit.chip.virtual import pulled_everywhere
from unit.chip.virtual_piv import AES_KEY, MANAGEMENT, OTHER_PIN, OTHER_PUK, PIN, PUK, YUBICO_FACTORY

from cardservice.chip.conversation import MAX_EXCHANGES, drive
from cardservice.chip.desfire_layout import Step
from cardservice.chip.errors import (
    AuthenticationRefused,
    CardGone,
    CardUnfit,
    ChipError,
    PinRefused,
    SecurityStatusNotSatisfied,
    UnfitCause,
)
from cardservice.chip.piv import authenticate_card
from cardservice.chip.piv_formats import CERTIFICATE_OF, Chuid, ObjectId, Reference, Slot, unwrap_certificate
from cardservice.chip.piv_keys import Algorithm
from cardservice.chip.piv_management import ManagementAlgorithm, SoftwareManagementKey
from cardservice.chip.piv_personalise import complete, make_keys
from cardservice.chip.piv_plan import OUR_KEYS, Delivery, KeyPlan, PivPlan
from cardservice.chip.piv_session import PivSession

MAKES = [(plain_field, plan()), (yubico_field, yubico_plan())]
MAKE_NAMES = ["plain", "yubico"]
WRITING = {0xDB, 0x47, 0x24, 0x2C, 0xFF}
VERIFY = 0x20


def is_finished(field: DeskField) -> bool:
    """Its 9E key proves it, its objects are there, its own secrets open it, and both counters are full."""
    field.activate()
    proven = drive(authenticate_card(b"desk", TRUST, at=NOW), field)
    session = drive(PivSession.select(), field)
    identity = Chuid.from_bytes(drive(session.get_data(ObjectId.CHUID), field))
    stored = {slot: unwrap_certificate(drive(session.get_data(CERTIFICATE_OF[slot]), field)) for slot in field.issued}
    counters = (field.applet.pin.remaining, field.applet.puk.remaining)
    drive(session.verify(OTHER_PIN), field)
    drive(session.change_reference_data(Reference.PUK, OTHER_PUK, OTHER_PUK), field)
    drive(session.mutual_authenticate(MANAGEMENT), field)
    named = proven.card_uuid == identity.guid == CARD_UUID and identity.expires == EXPIRES
    return named and stored == field.issued and len(stored) == len(QUICK_KEYS) and counters == (3, 3)


@pytest.mark.parametrize(("fresh", "what"), MAKES, ids=MAKE_NAMES)
def test_a_fresh_card_becomes_one_of_ours(fresh, what):
    field = fresh()
    personalise(field, what)
    assert is_finished(field)
    session = drive(PivSession.select(), field)
    with pytest.raises(AuthenticationRefused):
        drive(session.mutual_authenticate(YUBICO_FACTORY), field)
    with pytest.raises(PinRefused):
        drive(session.verify(PIN), field)
    with pytest.raises(PinRefused):
        drive(session.change_reference_data(Reference.PUK, PUK, PUK), field)


@pytest.mark.parametrize(
    ("fresh", "make_plan", "logon"),
    [(plain_field, plan, Algorithm.RSA_3072), (yubico_field, yubico_plan, Algorithm.RSA_2048)],
    ids=MAKE_NAMES,
)
def test_a_logon_key_is_rsa_of_the_size_that_the_card_can_make(fresh, make_plan, logon):
    """What `docs/card-layout.md` wants in 9A; the request is signed by the card's own key (RFC 2986)."""
    field = fresh()
    keys = (OUR_KEYS[0], KeyPlan(Slot.AUTHENTICATION, logon))
    assert {OUR_KEYS[1].algorithm, OUR_KEYS[0].algorithm} == {Algorithm.RSA_3072, Algorithm.ECC_P256}
    personalise(field, make_plan(keys=keys))
    assert is_finished(field)
    assert [key.slot for key in field.made] == [Slot.CARD_AUTHENTICATION, Slot.AUTHENTICATION]


@pytest.mark.parametrize(("fresh", "what"), MAKES, ids=MAKE_NAMES)
def test_a_card_pulled_at_any_command_is_finished_the_next_time(fresh, what):
    """Pulled before or after the card carries a command out, in either conversation: both begun again finish it."""
    assert pulled_everywhere(fresh, lambda field: personalise(field, what), is_finished) >= 80


def test_a_key_with_a_certificate_is_not_made_again():
    """Pulled while its certificates are written, the card gets the very certificates that were issued."""
    field, what = yubico_field(), yubico_plan()
    field.issued.update({key.slot: issue(key) for key in drive(make_keys(what, request), field)})
    first = dict(field.issued)
    field.activate()
    personalise(field, what)
    assert (field.issued, field.made) == (first, [])
    assert is_finished(field)


def test_a_finished_card_is_taken_as_it_is():
    """Nothing is made, written or changed again."""
    field = yubico_field()
    personalise(field, yubico_plan())
    field.activate()
    personalise(field, yubico_plan())
    assert not {apdu[1] for apdu in field.sent} & WRITING
    assert len(field.sent) < MAX_EXCHANGES
    assert is_finished(field)


def test_wrong_tries_do_not_add_up():
    """Pulled right after the wrong PIN again and again, the card is asked for the other one each next time."""
    field = yubico_field()
    personalise(field, yubico_plan())
    for _ in range(6):
        field.activate()
        seen = [0]

        def pulled(apdu: bytes, *, seen: list[int] = seen) -> bytes:
            answer = field(apdu)
            seen[0] += apdu[1] == VERIFY and len(apdu) > 5
            if seen[0]:
                raise CardGone("pulled by the test")
            return answer

        with pytest.raises(CardGone):
            drive(complete(yubico_plan(), field.issued), pulled)
        assert field.applet.pin.remaining >= 2
    field.activate()
    personalise(field, yubico_plan())
    assert is_finished(field)


@pytest.mark.parametrize(
    "algorithm", [ManagementAlgorithm.AES_128, ManagementAlgorithm.AES_192, ManagementAlgorithm.AES_256]
)
def test_every_aes_key_can_be_the_cards_own(algorithm):
    raw = sha256(b"a key of its own").digest()[: algorithm.key_bytes]
    field = yubico_field()
    drive(make_keys(yubico_plan(management=SoftwareManagementKey(algorithm, raw)), request), field)
    assert (field.applet.management_key.algorithm, field.applet.management_key.value) == (algorithm, raw)


@pytest.mark.parametrize(
    "key",
    [
        YUBICO_FACTORY,
        SoftwareManagementKey(ManagementAlgorithm.AES_128, bytes(16)),
        SoftwareManagementKey(ManagementAlgorithm.AES_128, bytes.fromhex("404142434445464748494A4B4C4D4E4F")),
        SoftwareManagementKey(ManagementAlgorithm.AES_192, YUBICO_FACTORY.wrap_for_change(bytes)),
    ],
)
@pytest.mark.parametrize("conversation", [make_keys, complete])
def test_a_default_management_key_is_refused_before_the_card_is_asked(key, conversation):
    """The real list of the service, the default of Yubico's cards among it, in TDES and as AES."""
    field, what = yubico_field(), yubico_plan(management=key)
    field.issued.update({slot: issue_any(slot) for slot in (Slot.AUTHENTICATION, Slot.CARD_AUTHENTICATION)})
    argument = request if conversation is make_keys else field.issued
    with pytest.raises(CardUnfit, match="must not be used") as unfit:
        drive(conversation(what, argument), field)
    assert unfit.value.cause is UnfitCause.KEY
    assert field.sent == []


def issue_any(slot: Slot) -> bytes:
    """A certificate of some card's key."""
    field = plain_field()
    (made,) = [key for key in drive(make_keys(plan(), request), field) if key.slot is slot]
    return issue(made)


def test_a_delivery_that_still_opens_the_card_is_found_at_the_end():
    field, what = plain_field(), plan(delivery=Delivery(PIN, PUK, SoftwareManagementKey(MANAGEMENT.algorithm, AES_KEY)))
    with pytest.raises(CardUnfit, match="still opens") as unfit:
        personalise(field, what)
    assert unfit.value.cause is UnfitCause.LEFTOVERS


def test_a_family_without_a_command_for_it_says_so():
    """SP 800-73 has none: a plain card has to come with the planned management key."""
    other = SoftwareManagementKey(ManagementAlgorithm.AES_256, AES_KEY + bytes(range(16)))
    field = plain_field()
    with pytest.raises(CardUnfit, match="the maker has to set") as unfit:
        drive(make_keys(plan(management=other, delivery=Delivery(PIN, PUK, MANAGEMENT)), request), field)
    assert unfit.value.cause is UnfitCause.KEY


def test_a_card_of_another_plan_is_not_touched():
    field = yubico_field()
    other = SoftwareManagementKey(ManagementAlgorithm.AES_128, AES_KEY[::-1])
    what = yubico_plan(management=other, delivery=Delivery(PIN, PUK, MANAGEMENT))
    with pytest.raises(CardUnfit, match="neither the planned one"):
        drive(make_keys(what, request), field)
    assert {apdu[1] for apdu in field.sent} == {0xA4, 0x87}


def test_a_foreign_pin_ends_the_work_with_a_try_left():
    field = plain_field()
    drive(
        field.select().change_reference_data(Reference.PIN, PIN, dataclasses.replace(PIN, value=b"999999\xff\xff")),
        field,
    )
    with pytest.raises(CardUnfit, match="its PIN is neither"):
        drive(make_keys(plan(), request), field)
    assert field.applet.pin.remaining == 1


def test_a_certificate_of_another_key_is_found():
    field = plain_field()
    drive(make_keys(plan(), request), field)
    wrong = {slot: issue_any(slot) for slot in (Slot.AUTHENTICATION, Slot.CARD_AUTHENTICATION)}
    with pytest.raises(CardUnfit, match="another key than its certificate says") as unfit:
        drive(complete(plan(), wrong), field)
    assert unfit.value.cause is UnfitCause.CONTENT
    assert field.applet.pin.value == PIN.value


def test_a_card_that_has_made_no_keys_is_not_completed():
    field = yubico_field()
    certificates = {slot: issue_any(slot) for slot in (Slot.AUTHENTICATION, Slot.CARD_AUTHENTICATION)}
    with pytest.raises(CardUnfit, match="its keys were not made yet"):
        drive(complete(yubico_plan(), certificates), field)


def test_a_card_that_forgets_what_is_written_is_found():
    field = plain_field()

    def forgetful(apdu: bytes) -> bytes:
        return b"\x90\x00" if apdu[1] == 0xDB else field(apdu)

    with pytest.raises(CardUnfit, match="CHUID does not hold") as unfit:
        drive(make_keys(plan(), request), forgetful)
    assert unfit.value.cause is UnfitCause.CONTENT


def test_nothing_is_personalised_without_contacts():
    field = plain_field()
    field.interface = "contactless"
    field.activate()
    with pytest.raises(SecurityStatusNotSatisfied):
        drive(make_keys(plan(), request), field)


def test_the_steps_can_be_named():
    told: list[Step] = []
    personalise(plain_field(), plan(), progress=told.append)
    names = [(step.number, step.total, step.name) for step in told]
    assert [name for _, _, name in names] == [
        *("management_key", "identity", "key", "key"),
        *("management_key", "certificate", "certificate", "secrets", "check"),
    ]
    assert [(number, total) for number, total, _ in names] == [
        *((number, 4) for number in range(1, 5)),
        *((number, 5) for number in range(1, 6)),
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"keys": ()}, "at least one key"),
        ({"keys": (QUICK_KEYS[0], QUICK_KEYS[0])}, "each slot once"),
        ({"keys": (KeyPlan(Slot.SIGNATURE, Algorithm.ECC_P256),)}, "9A and 9E"),
        ({"pin": PIN}, "neither the PIN nor the PUK"),
        ({"puk": PUK}, "neither the PIN nor the PUK"),
    ],
)
def test_a_plan_that_cannot_be_is_our_own_mistake(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        plan(**change)


@pytest.mark.parametrize("certificates", [{}, {Slot.AUTHENTICATION: b""}])
def test_certificates_that_are_not_there_are_our_own_mistake(certificates):
    with pytest.raises(ValueError, match="one certificate for each"):
        next(complete(plan(), certificates))


def test_secrets_are_in_no_repr():
    shown = repr(yubico_plan()) + repr(PIN) + repr(MANAGEMENT)
    raw = (AES_KEY, OTHER_PIN.value, OTHER_PUK.value, PIN.value, CARD_UUID.bytes)
    assert not any(value.hex() in shown or repr(value) in shown for value in raw)
    assert str(CARD_UUID) not in shown


@settings(max_examples=100, deadline=None)
@given(scripts)
def test_arbitrary_answers_never_make_a_card_ours(script):
    with pytest.raises(ChipError):
        drive(make_keys(yubico_plan(), request), Script(script))


@settings(max_examples=60, deadline=None)
@given(good=st.integers(0, 60), script=scripts)
def test_arbitrary_answers_after_a_good_beginning_never_finish_a_card(good, script):
    """Whatever is believed of a card, it has itself proved: only a whole conversation with it ends well."""
    field, hostile, count = plain_field(), Script(script), iter(range(10_000))
    what: PivPlan = plan()

    def card(apdu: bytes) -> bytes:
        return field(apdu) if next(count) < good else hostile(apdu)

    try:
        made = drive(make_keys(what, request), card)
        drive(complete(what, {key.slot: issue(key) for key in made}), card)
    except ChipError:
        return
    assert len(field.sent) <= good
