# SPDX-License-Identifier: EUPL-1.2
"""The durable copy of the directory: what a source says is stored, published, and resumed after a restart."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from service.directory import (
    ChangeWatch,
    effective_groups,
    group,
    open_all,
    open_copy,
    proof,
    row_numbers,
    someone,
    tell,
)
from service.fake_clock import FakeClock

from cardservice.clock import UNKNOWN_AGE_MS
from cardservice.database import Databases
from cardservice.errors import Conflict
from cardservice.people.ports import SourceState
from cardservice.people.rules import NO_KNOWN_END_MS, DirectoryPerson
from cardservice.people.service import DirectoryCopy
from cardservice.people.store import person


@pytest.fixture
def copy(databases: Databases, clock: FakeClock) -> DirectoryCopy:
    return open_copy(databases.state, clock)


@pytest.fixture
def watch(databases: Databases) -> ChangeWatch:
    return ChangeWatch(databases.state)


def stored(databases: Databases, stable_id: str, directory: str = "city") -> sa.Row:
    wanted = sa.select(person).where(person.c.stable_id == stable_id, person.c.directory == directory)
    with databases.state.connect() as connection:
        return connection.execute(wanted).one()


def test_a_new_copy_is_empty_and_of_unknown_age(copy: DirectoryCopy) -> None:
    status = copy.status()
    assert (status.people, status.groups, status.held_removals, status.connected) == (0, 0, 0, False)
    assert copy.age_ms() == status.age_ms == UNKNOWN_AGE_MS
    assert copy.cookie() is None
    assert copy.known_dns() == {}


def test_a_joiner_is_stored_whole(databases: Databases, copy: DirectoryCopy, watch: ChangeWatch) -> None:
    more = {"upn": "anna@city.example", "sid": "S-1-5-21-1-2-3-1104", "department": "Bauamt", "cost_centre": "4711"}
    dates = {"valid_from_ms": 1, "valid_until_ms": 2**45, "locked_until_ms": NO_KNOWN_END_MS}
    tell(copy, someone("anna", mail="a@city", personnel_number="007", **dates, **more))
    row = stored(databases, "anna")
    assert {name: getattr(row, name) for name in more} == more
    assert (row.dn, row.name, row.login, row.mail, row.personnel_number) == (
        "uid=anna",
        "Anna",
        "anna",
        "a@city",
        "007",
    )
    assert {name: getattr(row, name) for name in dates} == dates
    assert (row.enabled, row.present) == (True, True)
    assert watch.people() == ["anna"]
    assert copy.known_dns() == {"anna": "uid=anna"}
    assert copy.status().people == 1


def test_disable_and_enable_take_effect(databases: Databases, copy: DirectoryCopy, watch: ChangeWatch) -> None:
    tell(copy, someone("anna"), someone("bert"))
    watch.people()
    for enabled in (False, True):
        tell(copy, someone("anna", enabled=enabled))
        assert stored(databases, "anna").enabled is enabled
        assert watch.people() == ["anna"]


def test_exactly_the_people_a_group_moves_are_logged(
    databases: Databases, copy: DirectoryCopy, watch: ChangeWatch
) -> None:
    tell(copy, someone("anna"), someone("bert"), someone("cem"), group("office", "anna"))
    assert watch.people() == ["anna", "bert", "cem"]
    tell(copy, group("office", "anna", "bert"))
    assert watch.people() == ["bert"]
    tell(copy, group("office", "bert"))
    assert watch.people() == ["anna"]
    tell(copy, group("office", "bert"))
    assert watch.people() == []
    assert effective_groups(databases.state) == {"anna": set(), "bert": {"office"}, "cem": set()}


def test_nested_groups_are_resolved(databases: Databases, copy: DirectoryCopy, watch: ChangeWatch) -> None:
    tell(copy, someone("anna"), someone("bert"), group("city", "@office"), group("office", "@desk", "bert"))
    tell(copy, group("desk", "anna"))
    assert effective_groups(databases.state) == {"anna": {"city", "office", "desk"}, "bert": {"city", "office"}}
    watch.people()
    tell(copy, group("office", "bert"))
    assert watch.people() == ["anna"]
    assert effective_groups(databases.state)["anna"] == {"desk"}


def test_groups_in_a_circle_are_survived(databases: Databases, copy: DirectoryCopy) -> None:
    tell(copy, someone("anna"), group("a", "@b"), group("b", "@a", "anna"), group("c", "@c"))
    assert effective_groups(databases.state) == {"anna": {"a", "b"}}
    tell(copy, removed=("b",))
    assert effective_groups(databases.state) == {"anna": set()}


def test_a_removed_group_is_gone_and_may_come_back(
    databases: Databases, copy: DirectoryCopy, watch: ChangeWatch
) -> None:
    tell(copy, someone("anna"), group("office", "anna"))
    watch.people()
    tell(copy, removed=("office",))
    assert watch.people() == ["anna"]
    assert effective_groups(databases.state) == {"anna": set()}
    assert copy.status().groups == 0
    tell(copy, group("office", "anna"))
    assert effective_groups(databases.state) == {"anna": {"office"}}


def test_a_group_that_names_somebody_unknown_counts_once_they_come(databases: Databases, copy: DirectoryCopy) -> None:
    """The order of entry and membership does not matter."""
    tell(copy, group("office", "anna"))
    tell(copy, someone("anna"))
    assert effective_groups(databases.state) == {"anna": {"office"}}


def test_a_leaver_keeps_the_row_and_is_no_longer_present(
    databases: Databases, copy: DirectoryCopy, watch: ChangeWatch
) -> None:
    tell(copy, someone("anna"), someone("bert"), group("office", "anna", "bert"))
    watch.people()
    tell(copy, removed=("anna", "nobody"))
    assert stored(databases, "anna").present is False
    assert watch.people() == ["anna"]
    assert copy.known_dns() == {"bert": "uid=bert", "office": "cn=office"}
    assert copy.status().people == 1
    tell(copy, removed=("anna",))
    assert watch.people() == []


@pytest.mark.parametrize("restart", [False, True])
def test_a_name_given_to_a_new_person_inherits_nothing(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy, *, restart: bool
) -> None:
    """Deleted and created anew under the same DN: another stable id, another row, no group."""
    tell(copy, someone("anna"), group("office", "anna"), group("city", "@office"))
    tell(copy, removed=("anna",))
    if restart:
        copy = open_copy(databases.state, clock)
    tell(copy, someone("anna-2", dn="uid=anna"))
    assert effective_groups(databases.state) == {"anna-2": set()}
    assert row_numbers(databases.state)["anna"] != row_numbers(databases.state)["anna-2"]


def test_deleted_and_created_anew_in_one_change_inherits_nothing(databases: Databases, copy: DirectoryCopy) -> None:
    tell(copy, someone("anna"), group("office", "anna"))
    tell(copy, someone("anna-2", dn="uid=anna"), removed=("anna",))
    assert effective_groups(databases.state) == {"anna-2": set()}


def test_a_person_who_comes_back_keeps_the_row(databases: Databases, copy: DirectoryCopy) -> None:
    """The same stable id is the same person: cards and history still point at them. Groups they get anew."""
    tell(copy, someone("anna"), group("office", "anna"))
    number = row_numbers(databases.state)["anna"]
    tell(copy, removed=("anna",))
    tell(copy, someone("anna"))
    assert row_numbers(databases.state) == {"anna": number}
    assert effective_groups(databases.state) == {"anna": set()}
    tell(copy, group("office", "anna"))
    assert effective_groups(databases.state) == {"anna": {"office"}}


def test_a_renamed_person_keeps_row_and_gets_the_groups_of_the_new_name(
    databases: Databases, copy: DirectoryCopy
) -> None:
    tell(copy, someone("anna"), group("office", "anna"))
    number = row_numbers(databases.state)["anna"]
    tell(copy, someone("anna", dn="uid=schmidt"), group("office", "schmidt"))
    assert row_numbers(databases.state) == {"anna": number}
    assert effective_groups(databases.state) == {"anna": {"office"}}
    assert copy.known_dns()["anna"] == "uid=schmidt"


def test_the_name_a_renamed_person_left_lends_nothing(databases: Databases, copy: DirectoryCopy) -> None:
    tell(copy, someone("anna"), group("office", "anna"))
    tell(copy, someone("anna", dn="uid=schmidt"))
    tell(copy, someone("bert", dn="uid=anna"))
    assert effective_groups(databases.state) == {"anna": set(), "bert": set()}


@pytest.mark.parametrize("leaver_first", [False, True])
def test_a_name_may_change_hands_in_one_change(
    databases: Databases, copy: DirectoryCopy, *, leaver_first: bool
) -> None:
    """Whoever has the name now, and nobody else, is what the groups say afterwards."""
    tell(copy, someone("anna"), someone("bert"), group("office", "anna"), group("works", "bert"))
    moves = [someone("anna", dn="uid=schmidt"), someone("bert", dn="uid=anna")]
    tell(copy, *(moves if leaver_first else reversed(moves)), group("office", "schmidt"), group("works", "anna"))
    assert effective_groups(databases.state) == {"anna": {"office"}, "bert": {"works"}}
    tell(copy, group("works"))
    assert effective_groups(databases.state) == {"anna": {"office"}, "bert": set()}


def test_two_people_may_swap_names(databases: Databases, copy: DirectoryCopy, watch: ChangeWatch) -> None:
    """Neither keeps what the other's name is granted."""
    tell(copy, someone("anna"), someone("bert"), group("office", "anna"))
    watch.people()
    tell(copy, someone("anna", dn="uid=bert"), someone("bert", dn="uid=anna"))
    assert effective_groups(databases.state) == {"anna": set(), "bert": set()}
    tell(copy, group("office", "bert"))
    assert effective_groups(databases.state) == {"anna": {"office"}, "bert": set()}


def test_a_rename_beside_a_new_group_of_the_old_name(databases: Databases, copy: DirectoryCopy) -> None:
    tell(copy, someone("anna"))
    tell(copy, group("office", "anna", "schmidt"), someone("anna", dn="uid=schmidt"))
    assert effective_groups(databases.state) == {"anna": {"office"}}


def test_a_renamed_group_keeps_its_row_and_its_people(databases: Databases, copy: DirectoryCopy) -> None:
    """Grants name the group's row; renaming it changes no right."""
    tell(copy, someone("anna"), group("office", "anna"), group("city", "@office"))
    with databases.state.connect() as connection:
        before = connection.execute(sa.select(person.c.groups)).scalar_one()
    tell(copy, group("office", "anna", dn="cn=bureau"), group("city", "@bureau"))
    with databases.state.connect() as connection:
        assert connection.execute(sa.select(person.c.groups)).scalar_one() == before


def test_the_last_of_two_states_in_one_change_counts(databases: Databases, copy: DirectoryCopy) -> None:
    tell(copy, someone("anna"), someone("anna", enabled=False), group("office", "anna"), group("office"))
    assert stored(databases, "anna").enabled is False
    assert effective_groups(databases.state) == {"anna": set()}


def test_a_mass_removal_is_held_and_told(databases: Databases, copy: DirectoryCopy, watch: ChangeWatch) -> None:
    """21 of 100 at once: nobody believes it; they stay, and single disables still apply."""
    everyone = [someone(f"p{n}") for n in range(100)]
    tell(copy, *everyone)
    watch.people()
    tell(copy, removed=tuple(f"p{n}" for n in range(21)), complete=True, cookie="c1")
    assert copy.status().held_removals == 21
    assert copy.status().people == 100
    assert watch.people() == []
    assert "p0" in copy.known_dns()
    tell(copy, someone("p50", enabled=False))
    assert stored(databases, "p50").enabled is False
    assert copy.status().held_removals == 21
    tell(copy, removed=("p60",))
    assert stored(databases, "p60").present is False


def test_a_complete_refresh_that_names_everybody_ends_the_hold(copy: DirectoryCopy) -> None:
    everyone = [someone(f"p{n}") for n in range(30)]
    tell(copy, *everyone)
    tell(copy, removed=tuple(f"p{n}" for n in range(30)), complete=True)
    assert copy.status().held_removals == 30
    tell(copy, *everyone, complete=True)
    assert copy.status().held_removals == 0
    assert copy.status().people == 30


def test_groups_are_removed_even_while_people_are_held(databases: Databases, copy: DirectoryCopy) -> None:
    """What a group's removal takes away is taken away at once."""
    tell(copy, *(someone(f"p{n}") for n in range(30)), group("office", "p0"))
    tell(copy, removed=("office", *(f"p{n}" for n in range(30))), complete=True)
    assert effective_groups(databases.state)["p0"] == set()
    assert copy.status().held_removals == 30


def test_twenty_may_leave_at_once(copy: DirectoryCopy, clock: FakeClock) -> None:
    tell(copy, *(someone(f"p{n}") for n in range(21)))
    tell(copy, removed=tuple(f"p{n}" for n in range(20)), complete=True)
    assert copy.status().held_removals == 0
    assert copy.status().people == 1
    copy.proved(proof(clock))
    tell(copy, removed=("p20",), complete=True)
    assert copy.status().people == 0


def test_that_everybody_left_is_not_believed_however_few_they_are(copy: DirectoryCopy) -> None:
    """An account that lost the right to see people must not lock out a small town hall."""
    tell(copy, someone("anna"), someone("bert"), group("office", "anna"))
    tell(copy, removed=("anna", "bert"), complete=True)
    assert copy.status().held_removals == 2
    assert copy.status().people == 2


def test_a_server_that_names_none_of_the_people_proves_nothing(clock: FakeClock, copy: DirectoryCopy) -> None:
    """Who was disabled meanwhile must not be let in for longer than a point's bound, although the server answers."""
    everyone = [someone(f"p{n}") for n in range(30)]
    tell(copy, *everyone)
    copy.proved(proof(clock))
    tell(copy, removed=tuple(f"p{n}" for n in range(30)), complete=True)
    clock.pass_ms(3_000)
    copy.proved(proof(clock))
    assert copy.age_ms() == 3_000
    tell(copy, *everyone, complete=True)
    copy.proved(proof(clock))
    assert copy.age_ms() == 0


def test_a_held_part_leaves_the_others_proved(clock: FakeClock, copy: DirectoryCopy) -> None:
    tell(copy, *(someone(f"p{n}") for n in range(30)))
    tell(copy, removed=tuple(f"p{n}" for n in range(29)), complete=True)
    clock.pass_ms(3_000)
    copy.proved(proof(clock))
    assert (copy.status().held_removals, copy.age_ms()) == (29, 0)


def test_a_hold_tells_since_when(clock: FakeClock, copy: DirectoryCopy) -> None:
    """Its beginning stays while the number changes, and goes with the hold."""
    everyone = [someone(f"p{n}") for n in range(60)]
    tell(copy, *everyone)
    began_ms = clock.now_ms()
    for number in (30, 40):
        tell(copy, removed=tuple(f"p{n}" for n in range(number)), complete=True)
        assert (copy.status().held_removals, copy.status().held_since_ms) == (number, began_ms)
        clock.pass_ms(10_000)
    (sentence,) = [text for text in copy.status().troubles(clock.now_ms()) if "no longer names" in text]
    assert sentence.startswith("directory city: since 2026-03-16T09:00:00+00:00 it no longer names 40 people")
    tell(copy, *everyone, complete=True)
    assert copy.status().held_since_ms is None


def test_a_large_refresh_is_stored(databases: Databases, copy: DirectoryCopy) -> None:
    """More rows than a database takes parameters in one statement."""
    tell(copy, *(someone(f"p{n}") for n in range(3_000)), group("all", *(f"p{n}" for n in range(3_000))), complete=True)
    assert copy.status().people == 3_000
    assert all(names == {"all"} for names in effective_groups(databases.state).values())


def test_a_directory_does_not_take_over_the_people_of_another(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    """Nobody would say any more when one of them leaves; once none is present, the same id is somebody else."""
    tell(copy, someone("anna"), group("office", "anna"), cookie="mine")
    with pytest.raises(Conflict, match="people of city are stored as present"):
        open_all(databases.state, clock, "works")
    tell(copy, removed=("anna",))
    number = row_numbers(databases.state)["anna"]
    (other,) = open_all(databases.state, clock, "works").copies
    assert (other.known_dns(), other.cookie()) == ({}, None)
    tell(other, someone("anna"))
    assert stored(databases, "anna", directory="works").id != number
    assert stored(databases, "anna", directory="works").groups == "[]"


def test_a_complete_refresh_puts_right_what_went_wrong(databases: Databases, copy: DirectoryCopy) -> None:
    """Stored memberships that no longer fit the groups are worked out anew for everybody."""
    tell(copy, someone("anna"), someone("bert"), group("office", "anna"))
    people = copy._census.people
    people["bert"] = replace(people["bert"], groups=frozenset({99}))
    tell(copy, complete=True)
    assert effective_groups(databases.state) == {"anna": {"office"}, "bert": set()}


def test_values_of_any_length_are_stored(databases: Databases, copy: DirectoryCopy) -> None:
    """One entry with an absurd value must not stop the copy of everybody."""
    long = "x" * 10_000
    tell(copy, DirectoryPerson("anna", f"cn={long}", long, enabled=True, login=long, mail=long, personnel_number=long))
    assert stored(databases, "anna").mail == long


def signed_in(clock: FakeClock, trouble: str | None = None, remark: str | None = None) -> SourceState:
    return SourceState(True, "ldaps://two", "polling", clock.now_ms(), trouble, remark)


def lost(clock: FakeClock, trouble: str) -> SourceState:
    return SourceState(False, "ldaps://two", "polling", clock.now_ms(), trouble)


def test_the_state_of_the_source_is_told(clock: FakeClock, copy: DirectoryCopy) -> None:
    copy.state(signed_in(clock, remark="odd"))
    copy.proved(proof(clock))
    status = copy.status()
    assert (status.connected, status.server, status.mode) == (True, "ldaps://two", "polling")
    assert (status.since_ms, status.trouble, status.remark) == (clock.now_ms(), None, "odd")
    assert status.troubles(clock.now_ms()) == []


def test_signed_in_is_not_followed_before_the_first_proof(clock: FakeClock, copy: DirectoryCopy) -> None:
    copy.state(signed_in(clock))
    assert not copy.status().connected
    assert copy.status().troubles(clock.now_ms()) == [
        "directory city: never read completely, not since 2026-03-16T09:00:00+00:00: still reading"
    ]


def test_a_trouble_has_one_beginning_and_ends_with_the_next_proof(clock: FakeClock, copy: DirectoryCopy) -> None:
    """A server that lets us sign in and breaks off each time is never followed in between, and lost only once."""
    copy.state(signed_in(clock))
    copy.proved(proof(clock))
    clock.pass_ms(1_000)
    lost_ms = clock.now_ms()
    copy.state(lost(clock, "limit."))
    for _ in range(3):
        clock.pass_ms(10_000)
        copy.state(signed_in(clock))
        status = copy.status()
        assert (status.connected, status.since_ms, status.trouble) == (False, lost_ms, "limit.")
        copy.state(lost(clock, "limit."))
        assert copy.status().since_ms == lost_ms
    (sentence,) = copy.status().troubles(clock.now_ms())
    assert sentence.startswith("directory city: not followed since 2026-03-16T09:00:01+00:00, taps are decided")
    assert sentence.endswith("from the copy, which was proved current 31 s ago: limit.")
    copy.state(signed_in(clock))
    copy.proved(proof(clock))
    assert (copy.status().connected, copy.status().since_ms) == (True, clock.now_ms())
    assert copy.status().troubles(clock.now_ms()) == []


def test_a_trouble_of_a_directory_that_is_followed_is_told_too(clock: FakeClock, copy: DirectoryCopy) -> None:
    copy.state(signed_in(clock))
    copy.proved(proof(clock))
    copy.state(signed_in(clock, trouble="The comparison failed."))
    assert copy.status().connected
    assert copy.status().troubles(clock.now_ms()) == [
        "directory city: since 2026-03-16T09:00:00+00:00: The comparison failed."
    ]


def test_a_copy_that_is_no_longer_proved_says_since_when(clock: FakeClock, copy: DirectoryCopy) -> None:
    copy.state(signed_in(clock))
    copy.proved(proof(clock))
    clock.pass_ms(60_000)
    assert copy.status().troubles(clock.now_ms()) == []
    clock.pass_ms(1_000)
    assert copy.status().troubles(clock.now_ms()) == [
        "directory city: not proved current since 2026-03-16T09:00:00+00:00"
    ]


def test_after_a_restart_the_trouble_began_with_the_last_proof(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    proved_ms = clock.now_ms()
    copy.proved(proof(clock))
    clock.pass_ms(90_000)
    assert open_copy(databases.state, clock).status().since_ms == proved_ms


def test_a_decision_records_what_it_was_checked_against(clock: FakeClock, copy: DirectoryCopy) -> None:
    assert copy.source() == ""
    tell(copy, cookie="c1")
    copy.proved(proof(clock))
    assert copy.source() == "ldaps://one syncrepl c1"
