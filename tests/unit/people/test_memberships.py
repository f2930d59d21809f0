# SPDX-License-Identifier: EUPL-1.2
"""Effective groups: nested, cyclic, renamed; kept up to date, compared with a naive recomputation."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cardservice.people.rules import DirectoryGroup, Memberships

ANNA, BERT = "uid=anna", "uid=bert"


def group(stable_id: str, *members: str, dn: str | None = None) -> DirectoryGroup:
    return DirectoryGroup(stable_id, dn or f"cn={stable_id}", stable_id, frozenset(members))


def test_groups_in_groups_count() -> None:
    memberships = Memberships([group("city", "cn=office"), group("office", "cn=desk"), group("desk", ANNA)])
    assert memberships.of(ANNA) == {"desk", "office", "city"}
    assert memberships.of(BERT) == frozenset()


def test_cycles_end() -> None:
    """A group that contains itself over two others neither hangs nor loses anybody."""
    memberships = Memberships(
        [group("a", "cn=b"), group("b", "cn=c", ANNA), group("c", "cn=a"), group("self", "cn=self")]
    )
    assert memberships.of(ANNA) == {"a", "b", "c"}
    assert memberships.remove("c") == {ANNA}
    assert memberships.of(ANNA) == {"a", "b"}


def test_a_long_chain_of_groups_is_followed() -> None:
    """Depth is not limited by Python's stack."""
    chain = [group(f"g{n}", f"cn=g{n + 1}") for n in range(3_000)] + [group("g3000", ANNA)]
    assert len(Memberships(chain).of(ANNA)) == 3_001


def test_replace_names_everyone_affected_and_nobody_for_no_change() -> None:
    memberships = Memberships([group("office", ANNA)])
    assert memberships.replace(group("office", ANNA)) == set()
    assert memberships.replace(group("office", ANNA, BERT)) == {BERT}
    assert memberships.replace(group("office")) == {ANNA, BERT}


def test_a_renamed_group_leaves_its_old_name() -> None:
    """What contained the old name contains the group no longer; what contains the new name does now."""
    memberships = Memberships([group("city", "cn=office"), group("works", "cn=new"), group("office", ANNA)])
    assert memberships.replace(group("office", ANNA, dn="cn=new")) == {ANNA}
    assert memberships.of(ANNA) == {"office", "works"}


def test_a_group_created_under_a_name_already_listed_is_nested_at_once() -> None:
    memberships = Memberships([group("city", "cn=office")])
    assert memberships.replace(group("office", ANNA)) == {ANNA}
    assert memberships.of(ANNA) == {"office", "city"}


def test_forget_members_returns_the_groups_as_they_are_now() -> None:
    memberships = Memberships([group("office", ANNA, BERT), group("desk", ANNA), group("other", BERT)])
    changed = {one.stable_id: one.member_dns for one in memberships.forget_members({ANNA})}
    assert changed == {"office": {BERT}, "desk": frozenset()}
    assert memberships.of(ANNA) == frozenset()
    assert memberships.of(BERT) == {"office", "other"}
    assert memberships.forget_members({ANNA}) == []


def test_who_stays_in_a_group_is_a_member_whom_it_does_not_name() -> None:
    """They count in what the group is in, and are named when that changes; the group itself stays as it is."""
    memberships = Memberships([group("city", "cn=office"), group("office", BERT)])
    memberships.stay(ANNA, frozenset({"office", "unknown"}))
    assert (memberships.of(ANNA), memberships.naming(ANNA)) == ({"office", "city"}, frozenset())
    assert memberships.replace(group("city")) == {ANNA, BERT}
    assert memberships.of(ANNA) == {"office"}
    assert memberships.forget_members({ANNA}) == []
    assert memberships.of(ANNA) == frozenset()


def test_removing_an_unknown_group_affects_nobody() -> None:
    assert Memberships([group("office", ANNA)]).remove("other") == set()


PEOPLE = [f"uid=p{n}" for n in range(5)]
GROUPS = [f"g{n}" for n in range(6)]
NAMES = [f"cn=n{n}" for n in range(8)]


def effective(groups: dict[str, DirectoryGroup], dn: str, stays_in: frozenset[str]) -> frozenset[str]:
    """Say from the plain facts who is in what: add groups until nothing is added."""
    inside = {one for one in stays_in if one in groups}
    while True:
        names = {dn} | {groups[one].dn for one in inside}
        larger = inside | {one.stable_id for one in groups.values() if one.member_dns & names}
        if larger == inside:
            return frozenset(inside)
        inside = larger


class MembershipsAgainstFacts(RuleBasedStateMachine):
    """Any sequence of changes; afterwards everybody's groups are as computed anew, and who moved was named."""

    @initialize()
    def start(self) -> None:
        self.facts: dict[str, DirectoryGroup] = {}
        self.staying: dict[str, frozenset[str]] = {}
        self.memberships = Memberships()

    def _all(self) -> dict[str, frozenset[str]]:
        return {person: effective(self.facts, person, self.staying.get(person, frozenset())) for person in PEOPLE}

    def _moved(self, before: dict[str, frozenset[str]]) -> set[str]:
        return {person for person, groups in self._all().items() if groups != before[person]}

    @rule(
        stable_id=st.sampled_from(GROUPS),
        dn=st.sampled_from(NAMES),
        members=st.frozensets(st.sampled_from(PEOPLE + NAMES), max_size=4),
    )
    def replace(self, stable_id: str, dn: str, members: frozenset[str]) -> None:
        if any(one.dn == dn and one.stable_id != stable_id for one in self.facts.values()):
            return
        before = self._all()
        self.facts[stable_id] = DirectoryGroup(stable_id, dn, stable_id, members)
        assert self.memberships.replace(self.facts[stable_id]) >= self._moved(before)

    @rule(stable_id=st.sampled_from(GROUPS))
    def remove(self, stable_id: str) -> None:
        before = self._all()
        self.facts.pop(stable_id, None)
        assert self.memberships.remove(stable_id) >= self._moved(before)

    @rule(people=st.frozensets(st.sampled_from(PEOPLE), max_size=3))
    def forget(self, people: frozenset[str]) -> None:
        holding = {one for one, group in self.facts.items() if people & group.member_dns}
        self.facts = {
            one: DirectoryGroup(one, group.dn, group.name, group.member_dns - people)
            for one, group in self.facts.items()
        }
        self.staying = {person: groups for person, groups in self.staying.items() if person not in people}
        assert {one.stable_id for one in self.memberships.forget_members(people)} == holding

    @rule(person=st.sampled_from(PEOPLE), groups=st.frozensets(st.sampled_from(GROUPS), max_size=2))
    def stay(self, person: str, groups: frozenset[str]) -> None:
        self.staying[person] = groups
        self.memberships.stay(person, groups)

    @invariant()
    def everybody_is_where_the_facts_say(self) -> None:
        assert {person: self.memberships.of(person) for person in PEOPLE} == self._all()


MembershipsAgainstFacts.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestMembershipsAgainstFacts = MembershipsAgainstFacts.TestCase
