# SPDX-License-Identifier: EUPL-1.2
"""Rules of certificates: reasons, numbers of lists, windows, renewal, limits."""

from hypothesis import given
from hypothesis import strategies as st

from cardservice.cards.pki.rules import (
    HOLDS,
    HOUR_MS,
    REVOCATIONS,
    AuthorityKind,
    Bucket,
    Entry,
    PkiRules,
    Published,
    Reason,
    Slot,
    digest_of,
    is_list_due,
    kind_for,
    next_number,
    window_of,
)
from cardservice.cards.rules import REVOCATION_REASONS, SUSPENSION_REASONS

NOW_MS = 1_773_651_600_000
RULES = PkiRules()
INSTANTS = st.integers(min_value=0, max_value=2**42)


def test_every_reason_of_a_card_has_its_reason_on_the_list() -> None:
    """Lost and stolen say that the key may be in other hands; a card forgotten at home puts nothing on hold."""
    assert set(REVOCATIONS) == set(REVOCATION_REASONS)
    assert REVOCATIONS["lost"] is REVOCATIONS["stolen"] is Reason.KEY_COMPROMISE
    assert set(SUSPENSION_REASONS) > HOLDS
    assert "forgotten" not in HOLDS


def test_only_the_logon_slot_belongs_to_the_logon_authority() -> None:
    assert [slot for slot in Slot if kind_for(slot) is AuthorityKind.LOGON] == [Slot.LOGON]


@given(st.lists(INSTANTS, min_size=2, max_size=20))
def test_numbers_of_lists_only_rise_whatever_the_clock_does(instants: list[int]) -> None:
    numbers: list[int] = []
    for now_ms in instants:
        numbers.append(next_number(numbers[-1] if numbers else None, now_ms))
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0


def test_a_list_is_due_when_it_is_time_or_says_something_else_or_the_clock_went_back() -> None:
    digest = digest_of([])
    out = Published(1, NOW_MS, NOW_MS + RULES.crl_hours * HOUR_MS, digest)
    due = [is_list_due(out, digest, RULES, NOW_MS + hours * HOUR_MS) for hours in (-1, 0, 5, 6, 500)]
    assert due == [True, False, False, True, True]
    other = digest_of([Entry("0a", Reason.HOLD, NOW_MS)])
    assert is_list_due(out, other, RULES, NOW_MS)
    assert is_list_due(None, digest, RULES, NOW_MS)


@given(st.permutations([Entry("0a", Reason.HOLD, 1), Entry("0b", Reason.SUPERSEDED, 2), Entry("0c", Reason.HOLD, 1)]))
def test_the_digest_of_a_list_is_about_what_it_says_and_not_its_order(entries: list[Entry]) -> None:
    assert digest_of(entries) == digest_of(sorted(entries, key=lambda one: one.serial))
    assert digest_of(entries) != digest_of(entries[1:])


def test_revoked_is_never_shown_without_who_may_still_believe_the_certificate() -> None:
    """Tickets can be had until the last list from before is over, and live on from then."""
    list_ms = NOW_MS + 20 * HOUR_MS
    logon = window_of(Slot.LOGON, NOW_MS, list_ms, RULES, ours=True)
    assert (logon.list_ms, logon.ocsp_ms) == (list_ms, NOW_MS + HOUR_MS)
    assert logon.ends_ms() == logon.tickets_ms == list_ms + RULES.ticket_hours * HOUR_MS
    card = window_of(Slot.CARD, NOW_MS, None, RULES, ours=True)
    assert (card.list_ms, card.tickets_ms, card.ends_ms()) == (None, None, NOW_MS + HOUR_MS)
    outside = window_of(Slot.LOGON, NOW_MS, None, RULES, ours=False)
    assert (outside.ocsp_ms, outside.tickets_ms) == (None, NOW_MS + RULES.ticket_hours * HOUR_MS)


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(per_s=2, burst=3, now_s=10)
    assert [bucket.take(10) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(now_s) for now_s in (10.4, 10.5, 10.6, 9, 500, 500, 500, 500)] == [
        *(False, True, False, False, True, True, True, False)
    ]
