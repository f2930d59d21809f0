# SPDX-License-Identifier: EUPL-1.2
"""One tap at the centre, with virtual cards: every reason, what is kept, what is answered."""

import asyncio
import dataclasses
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.agents.desk import (
    DISABLED,
    DOOR,
    DOOR_AID,
    ENTITLED,
    EVENT,
    NOW,
    NOW_MS,
    STORE,
    STRANGER,
    TRUST,
    UUIDS,
    City,
    Exchange,
    FailingRecorder,
    StandingDirectory,
    desfire_card,
    keys_without,
    master,
    piv_card,
    present,
)

from cardservice.access.rules import Level, Reason, Use
from cardservice.access.sentences import SENTENCES
from cardservice.agents import taps
from cardservice.agents.message_words import MAX_BATCH
from cardservice.agents.messages import decode_from_centre, encode
from cardservice.agents.places import Answer, PermittedTap
from cardservice.agents.receipts import Decided, open_receipt
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer
from cardservice.errors import DatabaseUnavailable, KeyStoreError, Overloaded
from cardsim.card import VirtualCard
from cardsim.certificates import Flaw, make_issuer
from cardsim.faults import (
    ClonedNumber,
    EndlessCard,
    GarbageCard,
    Mute,
    PulledAfter,
    RecordingCard,
    Replay,
    StolenIdentity,
    UidOnly,
    WrongMac,
)

PIV_DOOR = dataclasses.replace(DOOR, methods=("piv",))
BOTH_DOOR = dataclasses.replace(DOOR, methods=("desfire", "piv"))


def cloned() -> ClonedNumber:
    """A card that shows the entitled person's number but has not their proof key."""
    return ClonedNumber("clone", "Clone", [StolenIdentity(DOOR_AID, master("locate"), 1, ENTITLED)])


async def recorded() -> Replay:
    """What an eavesdropper plays back after a permitted tap."""
    card = RecordingCard(desfire_card())
    assert (await City().tap(card)).permit
    return Replay("replay", "Replay", card.recording)


async def test_an_entitled_card_is_permitted():
    """Level, sentence, opening time, stages, and a receipt that fits: all of it goes over the wire."""
    city = City()
    answer = await city.tap(desfire_card())
    assert (answer.permit, answer.reason, answer.level) == (True, "granted", "card")
    assert (answer.event, answer.open_ms) == (EVENT, 5_000)
    assert answer.text.de == SENTENCES[Reason.GRANTED].holder_de
    assert answer.text.en == SENTENCES[Reason.GRANTED].holder_en
    assert {"crypto", "relay", "decide", "journal", "centre"} == set(answer.stages_us)
    assert answer.stages_us["centre"] >= answer.stages_us["relay"] > 0
    assert re.fullmatch(r"[0-9a-f]{24}", answer.decision)
    sealed = open_receipt(answer.receipt, STORE.secret("receipts"), EVENT, point="door-1", decision=answer.decision)
    assert sealed == Decided(permit=True, level=Level.CARD, at_ms=NOW_MS, holder=1, card=101)
    assert decode_from_centre(encode(answer)) == answer
    assert city.taps_counted() == {("permitted", "granted"): 1}


async def test_every_decision_has_its_own_id():
    city = City()
    assert len({(await city.tap(desfire_card())).decision for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("number", "reason"),
    [(STRANGER, "no_grant"), (DISABLED, "person_disabled"), (b"never-stored", "card_unknown")],
)
async def test_a_genuine_card_without_the_right_is_refused(number, reason):
    """The card proved itself; what is missing is the right, and its receipt says so."""
    answer = await City().tap(desfire_card(number))
    assert (answer.permit, answer.reason, answer.level, answer.open_ms) == (False, reason, "card", 0)
    assert answer.text.en == SENTENCES[Reason(reason)].holder_en
    sealed = open_receipt(answer.receipt, STORE.secret("receipts"), EVENT, point="door-1", decision=answer.decision)
    assert sealed is not None
    assert not sealed.permit


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (cloned, "card_not_genuine"),
        (lambda: WrongMac(desfire_card()), "card_not_genuine"),
        (lambda: desfire_card(proof_master=b"another-proofkey"), "card_not_genuine"),
        (lambda: desfire_card(generation=9), "card_not_genuine"),
        (lambda: desfire_card(locate_key=b"another-locate-k"), "card_not_genuine"),
        (lambda: VirtualCard("empty", "No application", desfire=None), "card_unsupported"),
        (lambda: UidOnly("uid", "Memory card"), "card_unsupported"),
        (piv_card, "card_unsupported"),
        (lambda: EndlessCard("endless", "Endless"), "card_garbled"),
        (lambda: Mute("mute", "Mute"), "card_gone"),
    ],
)
async def test_a_card_that_proves_nothing_is_refused_with_its_reason(card, reason):
    """No number is believed before the proof: the clone of an entitled number stays without a person."""
    city = City()
    answer = await city.tap(card())
    assert (answer.permit, answer.reason, answer.level) == (False, reason, "none")
    (entry,) = city.journal.entries
    assert (entry.person, entry.personal) == (None, None)
    assert entry.payload["evidence"] == ""


async def test_answers_recorded_from_a_good_tap_are_worth_nothing():
    answer = await City().tap(await recorded())
    assert (answer.permit, answer.reason) == (False, "card_not_genuine")


@pytest.mark.parametrize("n_apdus", range(1, 7))
async def test_a_card_that_leaves_is_card_gone_whenever_it_leaves(n_apdus):
    """The tap has six commands: whichever is the last, the tap ends, and the next card works."""
    city = City()
    assert (await city.tap(PulledAfter(desfire_card(), n_apdus))).reason == "card_gone"
    assert (await city.tap(desfire_card())).permit


async def test_a_card_that_leaves_after_its_proof_is_too_late_to_matter():
    assert (await City().tap(PulledAfter(desfire_card(), 7))).permit


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), method=st.sampled_from(["desfire", "piv"]))
async def test_garbage_never_opens_and_never_breaks_the_desk(seed, method):
    city = City(point=dataclasses.replace(DOOR, methods=(method,)))
    answer = await city.tap(GarbageCard("garbage", "Garbage", seed))
    assert not answer.permit
    assert answer.reason in {"card_garbled", "card_gone", "card_unsupported"}


async def test_garbage_that_looks_good_is_card_garbled():
    """91AF to everything: a status that fits, a content that does not."""
    answers = {(await City().tap(GarbageCard("garbage", "Garbage", seed))).reason for seed in range(40)}
    assert "card_garbled" in answers


async def test_a_piv_card_is_permitted_where_the_point_accepts_it():
    city = City(point=PIV_DOOR)
    answer = await city.tap(piv_card())
    assert (answer.permit, answer.reason, answer.level) == (True, "granted", "card")
    assert city.journal.entries[0].payload["method"] == "piv"


@pytest.mark.parametrize(
    ("number", "reason"),
    [(STRANGER, "no_grant"), (DISABLED, "person_disabled")],
)
async def test_a_piv_card_without_the_right_is_refused(number, reason):
    assert (await City(point=PIV_DOOR).tap(piv_card(number))).reason == reason


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        (Flaw.EXPIRED, "certificate_refused"),
        (Flaw.NOT_YET_VALID, "certificate_refused"),
        (Flaw.WRONG_EKU, "certificate_refused"),
        (Flaw.OTHER_ISSUER, "certificate_refused"),
        # The certificate is in order; it is another card's.
        (Flaw.OTHER_KEY, "card_not_genuine"),
    ],
)
async def test_a_flawed_certificate_is_refused(flaw, reason):
    answer = await City(point=PIV_DOOR).tap(piv_card(flaw=flaw))
    assert (answer.permit, answer.reason, answer.level) == (False, reason, "none")


async def test_a_card_of_an_unknown_authority_is_refused_and_asked_to_sign_nothing():
    card = piv_card(issuer=make_issuer("Nobody's", NOW))
    exchange = Exchange(card)
    answer = await City(point=PIV_DOOR).desk().answer(present(), exchange)
    assert answer.reason == "certificate_refused"
    assert not [command for command in exchange.commands if command[1] == 0x87]


async def test_another_trusted_authority_cannot_issue_one_of_our_cards():
    """A UUID belongs to the authority that gave it: the same one from somebody else is an unknown card."""
    other = make_issuer("Cards of a third authority", NOW - timedelta(days=30))
    both = CardAuthTrust((*TRUST.issuers, TrustedIssuer(other.certificate, lambda _: False)))
    city = City(point=PIV_DOOR, trust=both)
    assert (await city.tap(piv_card())).permit
    assert (await city.tap(piv_card(issuer=other))).reason == "card_unknown"


async def test_without_any_trusted_issuer_no_piv_card_passes():
    city = City(point=PIV_DOOR, trust=CardAuthTrust(()))
    assert (await city.tap(piv_card())).reason == "certificate_refused"


@pytest.mark.parametrize(("card", "method"), [(desfire_card, "desfire"), (piv_card, "piv")])
async def test_a_point_tries_its_methods_in_order(card, method):
    city = City(point=BOTH_DOOR)
    assert (await city.tap(card())).permit
    assert city.journal.entries[0].payload["method"] == method


async def test_a_card_that_fails_one_method_gets_no_second_chance_with_another():
    """A clone of the DESFire number on a card that also has a good PIV key stays refused."""
    both = VirtualCard("both", "Both", desfire=cloned().card.desfire, piv=piv_card().piv, piv_contactless=True)
    assert (await City(point=BOTH_DOOR).tap(both)).reason == "card_not_genuine"


async def test_a_card_no_method_knows_is_unsupported():
    assert (await City(point=BOTH_DOOR).tap(UidOnly("uid", "Memory card"))).reason == "card_unsupported"


@pytest.mark.parametrize("method", ["desfire", "piv"])
async def test_an_endless_card_is_left_within_the_wire_s_bounds(method):
    """Exchanges are numbered 0 to 63 on the wire; a card that always promises more is given up before."""
    exchange = Exchange(EndlessCard("endless", "Endless"))
    city = City(point=dataclasses.replace(DOOR, methods=(method,)))
    assert (await city.desk().answer(present(), exchange)).reason == "card_garbled"
    assert exchange.rounds < 64


@pytest.mark.parametrize("card", [desfire_card, piv_card])
async def test_a_batch_never_exceeds_the_wire_s_bound(card):
    sizes = []

    class Measuring(Exchange):
        async def __call__(self, commands):
            sizes.append(len(commands))
            return await super().__call__(commands)

    answer = await City(point=BOTH_DOOR).desk().answer(present(), Measuring(card()))
    assert answer.permit
    assert max(sizes) <= MAX_BATCH


async def test_a_desfire_tap_takes_four_exchanges():
    exchange = Exchange(desfire_card())
    assert (await City().desk().answer(present(), exchange)).permit
    assert exchange.rounds == 4


async def test_a_point_nobody_set_up_asks_no_card():
    city = City()
    exchange = Exchange(desfire_card())
    answer = await city.desk().answer(present("nowhere"), exchange)
    assert (answer.permit, answer.reason, exchange.rounds) == (False, "point_unknown", 0)
    assert city.journal.entries[0].stream == "system"


async def test_a_use_without_keys_refuses_and_says_it_in_the_log_not_to_the_holder():
    answer = await City(keys=keys_without("door")).tap(desfire_card())
    assert (answer.permit, answer.reason) == (False, "card_unsupported")


async def test_a_stale_copy_refuses_where_the_point_is_strict():
    city = City(directory=StandingDirectory(age=DOOR.freshness_ms + 1))
    assert (await city.tap(desfire_card())).reason == "directory_stale"
    relaxed = City(city.point, city.directory)
    relaxed.point = dataclasses.replace(DOOR, stale_permits=True)
    assert (await relaxed.tap(desfire_card())).permit


async def test_a_copy_is_as_old_as_the_change_log_that_brings_what_others_wrote():
    """Nobody knows what was revoked since the log was last read: that counts like a silent directory."""
    city = City(log_age=DOOR.freshness_ms + 1)
    assert (await city.tap(desfire_card())).reason == "directory_stale"
    assert city.journal.entries[0].payload["directory_age_ms"] == DOOR.freshness_ms + 1


async def test_a_point_that_moved_to_another_agent_asks_no_card():
    exchange = Exchange(desfire_card())
    city = City(point=dataclasses.replace(DOOR, agent="another"))
    answer = await city.desk().answer(present(), exchange)
    assert (answer.permit, answer.reason, exchange.rounds) == (False, "point_foreign", 0)


async def test_a_record_store_that_hangs_ends_in_a_refusal(monkeypatch):
    """Within a bound: the holder stands at the door."""
    monkeypatch.setattr(taps, "RECORD_TIMEOUT_S", 0.05)
    recorder = FailingRecorder(hangs=True)
    answer = await City(recorder=recorder).tap(desfire_card())
    assert (answer.permit, answer.reason) == (False, "overloaded")
    assert recorder.taken_back()


async def test_a_level_above_what_the_card_proves_is_refused():
    city = City(point=dataclasses.replace(DOOR, level=Level.CARD_PIN))
    assert (await city.tap(desfire_card())).reason == "level_too_low"


async def test_the_full_journal_holds_what_replaying_needs_and_no_identifier_in_the_open():
    """Revision, age and source of the copy, evidence, decision; person and card only in the part that is sealed."""
    city = City()
    answer = await city.tap(desfire_card())
    (entry,) = city.journal.entries
    assert (entry.stream, entry.at_ms) == ("door", NOW_MS)
    assert entry.payload == {
        "kind": "tap",
        "event": "rathaus/1790000000000/1",
        "point": "door-1",
        "permit": True,
        "reason": "granted",
        "level": "card",
        "method": "desfire",
        "decision": answer.decision,
        "evidence": entry.payload["evidence"],
        "directory": "ldaps://one.example refreshAndPersist rid=000,csn=1",
        "revision": 41,
        "directory_age_ms": 150,
    }
    assert re.fullmatch(r"[0-9a-f]{64}", str(entry.payload["evidence"]))
    assert (entry.person, entry.personal) == (1, {"person": 1, "card": 101})
    for identifier in (ENTITLED.hex(), UUIDS[ENTITLED].hex, str(UUIDS[ENTITLED])):
        assert identifier not in str(entry.payload)


async def test_the_evidence_of_two_taps_differs():
    """It is a digest of one conversation, with fresh random numbers on both sides."""
    city = City()
    for _ in range(2):
        await city.tap(desfire_card())
    assert len({entry.payload["evidence"] for entry in city.journal.entries}) == 2


@pytest.mark.parametrize(
    ("mode", "kept", "counted"),
    [
        ("full", ["granted", "no_grant"], []),
        ("refusals", ["no_grant"], []),
        ("counts", [], ["granted", "no_grant"]),
    ],
)
async def test_the_journal_keeps_what_the_point_s_mode_says(mode, kept, counted):
    city = City(point=dataclasses.replace(DOOR, journal=mode))
    assert (await city.tap(desfire_card())).permit
    assert not (await city.tap(desfire_card(STRANGER))).permit
    assert [entry.payload["reason"] for entry in city.journal.entries] == kept
    assert city.journal.counts == [("door", NOW_MS, outcome) for outcome in counted]


@pytest.mark.parametrize("mode", ["full", "counts"])
@pytest.mark.parametrize(
    "recorder",
    [
        FailingRecorder(at_once=Overloaded("full")),
        FailingRecorder(later=DatabaseUnavailable("gone")),
        FailingRecorder(later=ZeroDivisionError()),
    ],
    ids=["queue full", "not written", "a defect"],
)
async def test_what_cannot_be_recorded_is_not_permitted(mode, recorder):
    """The refusal has a receipt of its own, and the metrics count what was answered."""
    city = City(point=dataclasses.replace(DOOR, journal=mode), recorder=recorder)
    answer = await city.tap(desfire_card())
    assert (answer.permit, answer.reason, answer.open_ms) == (False, "overloaded", 0)
    assert city.taps_counted() == {("refused", "overloaded"): 1}


async def test_a_permit_that_is_not_to_be_kept_needs_no_recorder():
    """An ordinary office door opens while the record store is away."""
    point = dataclasses.replace(DOOR, journal="refusals")
    city = City(point=point, recorder=FailingRecorder(at_once=Overloaded("full")))
    assert (await city.tap(desfire_card())).permit


async def test_a_refusal_stays_a_refusal_without_the_recorder():
    city = City(recorder=FailingRecorder(later=KeyStoreError("no seal")))
    answer = await city.tap(desfire_card(STRANGER))
    assert (answer.permit, answer.reason) == (False, "no_grant")


async def test_metrics_have_neither_card_nor_person():
    city = City()
    for card in (desfire_card(), desfire_card(STRANGER), desfire_card(b"never-stored")):
        await city.tap(card)
    labels = {
        f"{name}={value}"
        for family in city.metrics.registry.collect()
        for sample in family.samples
        for name, value in sample.labels.items()
        if name != "le"
    }
    assert {name.partition("=")[0] for name in labels} == {"use", "outcome", "reason", "stage"}


@dataclasses.dataclass
class Till:
    """A place that books in the store and then does something outside of it that may fail."""

    booked: Answer | None
    then: Exception | Answer | None
    wait_s: float = 0.0
    use: Use = Use.DOOR
    acted: int = 0
    expected: list[str] = dataclasses.field(default_factory=list)
    begun: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def books(self) -> "Till":
        return self

    def expect(self, tap: PermittedTap) -> None:
        self.expected.append(tap.event)

    def record(self, _connection: Any, _tap: PermittedTap) -> Answer | None:
        return self.booked

    async def act(self, _tap: PermittedTap, _answer: Answer | None) -> Answer | None:
        self.begun.set()
        await asyncio.sleep(self.wait_s)
        self.acted += 1
        if isinstance(self.then, Exception):
            raise self.then
        return self.then


PAID = Answer(done=True, code="paid", text_de="Bezahlt.", text_en="Paid.")
TOO_LONG = dataclasses.replace(PAID, text_de="Bezahlt. " * 100)


@pytest.mark.parametrize("then", [OSError("the till is gone"), TOO_LONG], ids=["fails", "says too much"])
@pytest.mark.parametrize(("booked", "code"), [(PAID, "paid"), (None, "place_failed")], ids=["booked", "nothing booked"])
async def test_a_place_that_fails_after_the_booking_leaves_nobody_without_the_truth(then, booked, code):
    """Who was charged is told so; who was not is told that it did not work; the permit stands and is counted."""
    city = City()
    till = Till(booked, then)
    answer = await city.desk(till).answer(present(), Exchange(desfire_card()))
    assert answer.permit
    assert till.expected == [str(EVENT)]
    assert answer.answer is not None
    assert (answer.answer.code, answer.answer.done) == (code, booked is not None)
    assert city.taps_counted() == {("permitted", "granted"): 1}


async def test_a_desk_that_closes_lets_a_place_finish():
    """What a place has begun is not cut off while the rest of the service is still there."""
    city, till = City(), Till(None, PAID, wait_s=0.05)
    desk = city.desk(till)
    tap = asyncio.ensure_future(desk.answer(present(), Exchange(desfire_card())))
    await till.begun.wait()
    await desk.close()
    assert till.acted == 1
    assert (await tap).answer.code == "paid"
