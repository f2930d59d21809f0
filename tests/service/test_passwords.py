# SPDX-License-Identifier: EUPL-1.2
"""Whose password is asked about, at which directory: every attempt costs a bind, and nobody's account but one's own."""

import pytest
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice.database import Databases
from cardservice.people.passwords import MAX_LOGIN, Passwords
from cardservice.people.rules import DirectoryPerson
from cardservice.web.signin import Checked


class Directories:
    """Takes binds; one DN has a password."""

    def __init__(self) -> None:
        self.binds: list[tuple[str, str, str]] = []

    def bind(self, directory: str, dn: str, password: str) -> bool:
        self.binds.append((directory, dn, password))
        return password == "right" and "impossible" not in dn


@pytest.fixture
def directories() -> Directories:
    return Directories()


@pytest.fixture
def passwords(databases: Databases, clock: FakeClock, directories: Directories) -> Passwords:
    def impossible_dn(directory: str, word: str) -> str:
        return f"cn={word},ou=impossible,dc={directory}"

    return Passwords(databases.state, clock, ("city", "works"), directories.bind, impossible_dn)


def test_every_attempt_is_one_bind(databases, clock, directories, passwords) -> None:
    """Their own entry for whoever may sign in; for everybody else one that is not there, never the same."""
    now_ms = clock.now_ms()
    copy = open_copy(databases.state, clock)
    namesake = DirectoryPerson("anna-2", "uid=anna-2", "Anna", enabled=True, login="twice")
    tell(
        copy,
        someone("anna"),
        someone("gone"),
        someone("closed", enabled=False),
        someone("late", valid_until_ms=now_ms),
        someone("early", valid_from_ms=now_ms + 1),
        someone("locked", locked_until_ms=now_ms + 60_000),
        someone("twice"),
        namesake,
    )
    tell(copy, removed=("gone",))
    rows = row_numbers(databases.state)
    assert passwords("anna", "right") == Checked(rows["anna"], fits=True)
    assert passwords("anna", "wrong") == Checked(rows["anna"], fits=False)
    assert passwords("locked", "right") == Checked(rows["locked"], fits=True)
    assert [dn for _, dn, _ in directories.binds] == ["uid=anna", "uid=anna", "uid=locked"]
    directories.binds.clear()
    for login, row in (("closed", rows["closed"]), ("late", rows["late"]), ("early", rows["early"])):
        assert passwords(login, "right") == Checked(row, fits=False)
    for login in ("gone", "twice", "niemand", "", "an\x00na", "a" * (MAX_LOGIN + 1), "uid=anna", "ANNA"):
        assert passwords(login, "right") == Checked(None, fits=False)
    assert len(directories.binds) == 11
    assert len({dn for _, dn, _ in directories.binds}) == 11
    assert all("impossible" in dn for _, dn, _ in directories.binds)


def test_a_name_that_nobody_has_always_asks_the_same_directory(directories, passwords) -> None:
    """While one is away, that tells of no name in which directory it is; many names ask both."""
    for _ in range(3):
        for number in range(20):
            passwords(f"nobody {number}", "x")
    asked = [directory for directory, _, _ in directories.binds]
    assert asked[:20] == asked[20:40] == asked[40:]
    assert set(asked) == {"city", "works"}
