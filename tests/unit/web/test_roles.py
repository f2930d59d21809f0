# SPDX-License-Identifier: EUPL-1.2
"""Roles from groups: by name or stable id, several with several reaches, and nobody's where the name is not clear."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import get_args

import pytest
from service.fake_clock import FakeClock
from structlog.testing import capture_logs

from cardservice.errors import DatabaseUnavailable
from cardservice.settings import RoleSection
from cardservice.web.operations import Role
from cardservice.web.reach import EVERYWHERE, Reach
from cardservice.web.roles import REFRESH_MS, KnownGroup, RoleBook, RoleRule

ID = "0f7a1c52-3b58-4e1f-9c0e-6d2f5a4b8e11"
HALL = Reach(zones=frozenset({"rathaus"}))


class Groups:
    """Stands for the directory's copy."""

    def __init__(self, *known: KnownGroup) -> None:
        self.known = list(known)
        self.trouble: Exception | None = None
        self.asked = 0

    def __call__(self, names: AbstractSet[str], stable_ids: AbstractSet[str]) -> Sequence[KnownGroup]:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return [one for one in self.known if one.name in names or one.stable_id in stable_ids]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_everybody_is_an_employee_and_groups_add_to_it(clock):
    """Of two groups with the same role both reaches count; the groups are not looked up at each request."""
    groups = Groups(KnownGroup(1, "city", "a", "Türen"), KnownGroup(2, "city", ID, "Hausmeister"))
    rules = [
        RoleRule(Role.FACILITY, "Türen", HALL),
        RoleRule(Role.FACILITY, f"city:{ID}"),
        RoleRule(Role.AUDITOR, "Türen"),
    ]
    book = RoleBook(rules, groups, clock)
    assert book.of(frozenset()) == {Role.EMPLOYEE: (EVERYWHERE,)}
    assert book.of(frozenset({1})) == {
        Role.EMPLOYEE: (EVERYWHERE,),
        Role.FACILITY: (HALL,),
        Role.AUDITOR: (EVERYWHERE,),
    }
    assert set(book.of(frozenset({1, 2, 3}))[Role.FACILITY]) == {HALL, EVERYWHERE}
    assert (book.troubles, groups.asked) == ((), 1)


def test_a_group_that_was_renamed_or_made_anew_counts_soon(clock):
    """What a name stands for is looked up again after some seconds."""
    groups = Groups(KnownGroup(1, "city", "a", "Türen"))
    book = RoleBook([RoleRule(Role.FACILITY, "Türen")], groups, clock)
    assert Role.FACILITY in book.of(frozenset({1}))
    groups.known = [KnownGroup(1, "city", "a", "Alt"), KnownGroup(2, "city", "b", "Türen")]
    clock.pass_ms(REFRESH_MS)
    assert Role.FACILITY not in book.of(frozenset({1}))
    assert Role.FACILITY in book.of(frozenset({2}))


def test_a_name_that_nobody_or_more_than_one_has_gives_nothing_and_is_told(clock):
    """Whoever may make groups does not make themselves an administrator; by stable id it is clear which is meant."""
    groups = Groups(KnownGroup(1, "city", "a", "Chefs"), KnownGroup(2, "works", ID, "Chefs"))
    rules = [RoleRule(Role.ADMINISTRATOR, name) for name in ("Chefs", "Niemand", f"city:{ID}")]
    book = RoleBook([*rules, RoleRule(Role.AUDITOR, f"works:{ID}")], groups, clock)
    with capture_logs() as logs:
        assert book.of(frozenset({1, 2})) == {Role.EMPLOYEE: (EVERYWHERE,), Role.AUDITOR: (EVERYWHERE,)}
        book.refresh()
    assert [("2 groups" in one, "no directory" in one) for one in book.troubles] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert sorted(line["trouble"] for line in logs) == sorted(book.troubles)


def test_while_the_store_is_away_what_was_known_stays(clock):
    """Told once in the log where nobody waits for it; whoever asks for a page is told that nobody can tell."""
    groups = Groups(KnownGroup(1, "city", "a", "Türen"))
    book = RoleBook([RoleRule(Role.FACILITY, "Türen")], groups, clock)
    book.refresh()
    groups.trouble = DatabaseUnavailable("locked")
    book.refresh_if_possible()
    assert Role.FACILITY in book.of(frozenset({1}))
    clock.pass_ms(REFRESH_MS)
    with pytest.raises(DatabaseUnavailable):
        book.of(frozenset({1}))


def test_settings_know_every_role_but_the_one_everybody_has():
    assert set(get_args(RoleSection.model_fields["role"].annotation)) == set(Role) - {Role.EMPLOYEE}
