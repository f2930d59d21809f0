# SPDX-License-Identifier: EUPL-1.2
"""Changes reach the sink in the right portions and never go back in time."""

from dataclasses import replace

from contracts.directory_source import RecordingSink

from cardservice.people.rules import DirectoryPerson
from integrations.ldap.delivery import BATCH_ENTRIES, Delivery, read_csn

OLD = "20261121101112.000001Z#000000#000#000000"
NEW = "20261121101112.000002Z#000000#000#000000"
ANNA = DirectoryPerson("1", "uid=anna", "Anna", enabled=True)
BERT = DirectoryPerson("2", "uid=bert", "Bert", enabled=True)


def delivery_over(*people: DirectoryPerson, cookie: str | None = None) -> tuple[Delivery, RecordingSink]:
    sink = RecordingSink(entries={person.stable_id: person for person in people})
    return Delivery(sink, cookie=cookie), sink


def test_change_numbers_are_found_in_entries_and_cookies() -> None:
    assert read_csn(OLD) == OLD
    assert read_csn(f"rid=000,csn={OLD},delcsn={NEW}") == NEW
    assert read_csn(f"rid=000,sid=001,csn={NEW};{OLD}") == NEW
    assert read_csn("rubbish") == ""


def test_upserts_wait_for_company_but_not_long() -> None:
    delivery, sink = delivery_over()
    delivery.upsert(ANNA, OLD, 10.0)
    delivery.settle(10.01, idle=False, following=True)
    assert sink.changes == []
    delivery.settle(10.06, idle=False, following=True)
    assert [change.upserts for change in sink.changes] == [(ANNA,)]
    delivery.upsert(BERT, OLD, 10.1)
    delivery.settle(10.1, idle=True, following=True)
    assert sink.changes[1].upserts == (BERT,)


def test_no_change_is_larger_than_a_batch() -> None:
    delivery, sink = delivery_over()
    for number in range(BATCH_ENTRIES * 2):
        delivery.upsert(replace(ANNA, stable_id=str(number)), OLD, 1.0)
        delivery.settle(1.0, idle=False, following=False)
    assert [len(change.upserts) for change in sink.changes] == [BATCH_ENTRIES, BATCH_ENTRIES]


def test_a_disable_and_a_removal_wait_for_nobody() -> None:
    delivery, sink = delivery_over(ANNA, BERT)
    delivery.upsert(replace(ANNA, enabled=False), OLD, 1.0)
    delivery.settle(1.0, idle=False, following=False)
    assert sink.entries["1"].enabled is False
    delivery.remove({"2", "unknown"}, "", 1.0)
    delivery.settle(1.0, idle=False, following=False)
    assert sink.changes[-1].removed == {"2"}


def test_those_who_stay_disabled_do_not_break_the_batches() -> None:
    delivery, sink = delivery_over(ANNA)
    closed = replace(ANNA, enabled=False)
    for _ in range(2):
        delivery.upsert(closed, OLD, 1.0)
        delivery.settle(1.0, idle=False, following=False)
    assert len(sink.changes) == 1


def test_an_older_state_never_replaces_a_newer_one() -> None:
    delivery, sink = delivery_over(ANNA)
    delivery.upsert(replace(ANNA, enabled=False), NEW, 1.0)
    delivery.upsert(ANNA, OLD, 1.0)
    delivery.flush()
    assert sink.entries["1"].enabled is False


def test_an_older_state_never_brings_back_who_was_removed() -> None:
    delivery, sink = delivery_over(ANNA)
    delivery.remove({"1"}, NEW, 1.0)
    delivery.upsert(ANNA, OLD, 1.0)
    delivery.flush()
    assert sink.entries == {}


def test_a_state_without_change_number_counts() -> None:
    """A server that does not show entryCSN is believed in the order of arrival."""
    delivery, sink = delivery_over(ANNA)
    delivery.upsert(ANNA, "", 1.0)
    delivery.upsert(replace(ANNA, enabled=False), "", 1.0)
    delivery.flush()
    assert sink.entries["1"].enabled is False


def test_the_cookie_goes_out_only_when_it_is_valid() -> None:
    delivery, sink = delivery_over(cookie="old")
    delivery.upsert(ANNA, OLD, 1.0)
    delivery.settle(1.0, idle=True, following=False)
    delivery.note_cookie("new")
    delivery.settle(1.0, idle=True, following=True)
    delivery.settle(1.0, idle=True, following=True)
    assert [change.cookie for change in sink.changes] == [None, "new"]


def test_who_was_touched_since_is_not_removed_for_not_being_named() -> None:
    delivery, _ = delivery_over(ANNA)
    since = delivery.serial
    delivery.upsert(BERT, OLD, 1.0)
    assert delivery.unnamed(set(), since) == {"1"}
    assert delivery.unnamed({"1"}, since) == frozenset()


def test_a_new_name_for_a_known_entry_is_told() -> None:
    delivery, _ = delivery_over(ANNA)
    assert not delivery.upsert(ANNA, "", 1.0)
    assert delivery.upsert(replace(ANNA, dn="uid=anne"), "", 1.0)
    assert not delivery.upsert(BERT, "", 1.0)


def test_marks_are_forgotten_after_a_minute_unless_a_search_needs_them() -> None:
    delivery, _ = delivery_over()
    delivery.upsert(ANNA, NEW, 0.0)
    delivery.forget_touched(59.0, delivery.serial)
    assert delivery.touched_since("1", 0)
    delivery.forget_touched(61.0, 0)
    assert delivery.touched_since("1", 0)
    delivery.forget_touched(61.0, delivery.serial)
    assert not delivery.touched_since("1", 0)
