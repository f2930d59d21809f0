# SPDX-License-Identifier: EUPL-1.2
"""Several directories in one service, and what other programs see and ask of them."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from service.directory import effective_groups, group, open_all, open_copy, proof, row_numbers, someone, tell
from service.fake_clock import FakeClock
from structlog.testing import capture_logs
from support.waiting import wait_until

from cardservice.clock import UNKNOWN_AGE_MS
from cardservice.database import Databases
from cardservice.errors import Conflict, DatabaseUnavailable, SettingsError
from cardservice.people import service
from cardservice.people.holds.service import Decision, HoldDesk, Verdict, decide, list_holds
from cardservice.people.overview import Overview, ask_for_reading, describe, overviews
from cardservice.people.ports import SourceState
from cardservice.people.rules import DirectoryPerson
from cardservice.people.service import DirectoryCopy
from cardservice.people.store import person
from cardservice.settings import Settings, load
from cardservice.settings_check import contradictions

GONE = tuple(f"p{number}" for number in range(30))


def both(databases: Databases, clock: FakeClock) -> tuple[DirectoryCopy, DirectoryCopy]:
    town, works = open_all(databases.state, clock, "town", "works").copies
    return town, works


def test_the_same_stable_id_is_two_people_in_two_directories(databases: Databases, clock: FakeClock) -> None:
    """Each has a row, groups and a fate of their own."""
    town, works = both(databases, clock)
    tell(town, someone("anna"), group("office", "anna"), cookie="t1")
    tell(works, DirectoryPerson("anna", "uid=anna", "Anna", enabled=True, login="anna.w"), group("yard", "anna"))
    with databases.state.connect() as connection:
        rows = {row.directory: row.id for row in connection.execute(sa.select(person.c.directory, person.c.id))}
    assert len(set(rows.values())) == 2
    assert effective_groups(databases.state) == {"anna": {"office"}, "anna.w": {"yard"}}
    tell(town, removed=("anna",))
    assert (town.known_dns(), works.known_dns()) == ({"office": "cn=office"}, {"anna": "uid=anna", "yard": "cn=yard"})
    assert (town.cookie(), works.cookie()) == ("t1", None)


def test_what_is_asked_of_all_directories(databases: Databases, clock: FakeClock) -> None:
    """The worst age, every source by name, and whoever it is about from their own directory."""
    all_of_them = open_all(databases.state, clock, "town", "works")
    town, works = all_of_them.copies
    tell(town, someone("anna"), cookie="t1")
    tell(works, someone("bert"), cookie="w1")
    town.proved(proof(clock))
    assert all_of_them.age_ms() == UNKNOWN_AGE_MS
    clock.pass_ms(3_000)
    works.proved(proof(clock))
    assert all_of_them.age_ms() == 3_000
    assert all_of_them.source() == "town: ldaps://one syncrepl t1; works: ldaps://one syncrepl w1"
    rows = row_numbers(databases.state)
    assert [all_of_them.login_of(rows[one]) for one in ("anna", "bert")] == ["anna", "bert"]
    assert all_of_them.login_of(99) is None
    assert [status.directory for status in all_of_them.statuses()] == ["town", "works"]
    alone = open_all(databases.state, clock, "town", "works").copies[:1]
    assert type(all_of_them)(alone).source() == "ldaps://one syncrepl t1"


def test_a_directory_that_is_left_out_is_refused_while_its_people_are_present(
    databases: Databases, clock: FakeClock
) -> None:
    town, works = both(databases, clock)
    tell(town, someone("anna"))
    tell(works, someone("bert"))
    for names in (("town",), ("town", "yard")):
        with pytest.raises(Conflict, match="people of works are stored as present"):
            open_all(databases.state, clock, *names)
    tell(works, removed=("bert",))
    open_all(databases.state, clock, "town")


def test_a_hold_of_one_directory_is_nothing_to_the_other(databases: Databases, clock: FakeClock) -> None:
    town, works = both(databases, clock)
    everyone = [someone(name) for name in GONE]
    for copy in (town, works):
        tell(copy, *everyone, complete=True)
    tell(town, removed=GONE[1:], complete=True)
    tell(works, complete=True)
    assert (town.status().held_removals, works.status().held_removals) == (29, 0)
    tell(works, removed=GONE[1:], complete=True)
    assert [(hold.directory, hold.lost) for hold in list_holds(databases.state)] == [("town", 29), ("works", 29)]
    tell(town, complete=True)
    assert [hold.directory for hold in list_holds(databases.state)] == ["works"]


def test_the_running_service_notices_by_itself(databases: Databases, clock: FakeClock) -> None:
    """Decided and asked for in another program, while the source is away."""
    all_of_them = open_all(databases.state, clock, "town", "works")
    town, works = all_of_them.copies
    tell(town, *(someone(name) for name in (*GONE, "stays")))
    tell(town, removed=GONE, complete=True)
    all_of_them.start()
    try:
        (hold,) = list_holds(databases.state)
        decide(databases.state, hold.number, Decision(Verdict.CONFIRM, "somebody", 1))
        ask_for_reading(databases.state, ["works"], clock.now_ms())
        wait_until(lambda: town.status().people == 1)
        wait_until(works.reading_asked)
        assert not works.reading_asked()
        assert not town.reading_asked()
        assert all_of_them.alive
    finally:
        all_of_them.stop()
    assert not all_of_them.alive


def test_a_database_that_is_away_is_told_once_and_looked_at_again(
    databases: Databases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = open_all(databases.state, clock, "town")
    looks = []

    def unreadable(*_: object) -> None:
        looks.append(1)
        raise DatabaseUnavailable("away")

    monkeypatch.setattr("cardservice.people.directories._LOOK_S", 0.01)
    with monkeypatch.context() as away, capture_logs() as logs:
        away.setattr(service, "read", unreadable)
        all_of_them.start()
        wait_until(lambda: len(looks) > 3)
    ask_for_reading(databases.state, ["town"], clock.now_ms())
    wait_until(all_of_them.copies[0].reading_asked)
    all_of_them.stop()
    assert [one["event"] for one in logs] == ["directory.requests_not_read"]


def test_a_decision_over_the_api_is_carried_out_at_once(
    databases: Databases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is stored, if the copy cannot carry it out just now."""
    all_of_them = open_all(databases.state, clock, "town", "works")
    desk = HoldDesk(databases.state, clock, all_of_them.look)
    for copy in all_of_them.copies:
        tell(copy, *(someone(name) for name in (*GONE, "stays")))
        tell(copy, removed=GONE, complete=True)
    first, second = desk.list()
    assert desk.decide(first.number, Verdict.CONFIRM, by="helpdesk").decided_by == "helpdesk"
    assert [status.people for status in all_of_them.statuses()] == [1, 31]
    with monkeypatch.context() as away:
        away.setattr(service, "read", _unreadable)
        desk.decide(second.number, Verdict.CONFIRM, by="helpdesk")
    all_of_them.look()
    assert [status.people for status in all_of_them.statuses()] == [1, 1]


def _unreadable(*_: object) -> None:
    raise DatabaseUnavailable("away")


def test_a_request_to_read_is_served_once_over_restarts(databases: Databases, clock: FakeClock) -> None:
    """Asked while the service does not run: at its start. Read completely since then: no more."""
    open_copy(databases.state, clock)
    ask_for_reading(databases.state, ["city"], clock.now_ms())
    copy = open_copy(databases.state, clock)
    assert not copy.reading_asked()
    copy.look()
    assert copy.reading_asked()
    copy.look()
    assert not copy.reading_asked()
    clock.pass_ms(10)
    tell(copy, complete=True)
    again = open_copy(databases.state, clock)
    again.look()
    assert not again.reading_asked()


def seen(databases: Databases, clock: FakeClock, name: str = "city") -> Overview:
    (found,) = overviews(databases.state, [name], clock.now_ms())
    return found


def test_another_program_sees_what_the_service_knows(databases: Databases, clock: FakeClock) -> None:
    """Server, mode, age, counts, what is wrong; a server that is silent, and a service that does not run."""
    nothing = seen(databases, clock)
    assert (nothing.age_ms, nothing.people, nothing.connected) == (None, 0, False)
    assert nothing.troubles() == ["never read completely: has the service run with this directory?"]
    copy = open_copy(databases.state, clock)
    tell(copy, someone("anna"), someone("bert", enabled=False), group("office"), complete=True)
    copy.state(SourceState(True, "ldaps://one", "syncrepl", clock.now_ms(), None, "odd"))
    copy.proved(proof(clock))
    clock.pass_ms(1_200)
    found = seen(databases, clock)
    assert (found.server, found.mode, found.connected, found.age_ms) == ("ldaps://one", "syncrepl", True, 1_200)
    assert (found.people, found.disabled, found.groups) == (2, 1, 1)
    assert (found.read_ms, found.remark, found.troubles()) == (clock.now_ms() - 1_200, "odd", [])
    copy.state(SourceState(False, "ldaps://one", "syncrepl", clock.now_ms(), "It is silent."))
    assert seen(databases, clock).troubles() == ["not followed since 2026-03-16T09:00:01+00:00: It is silent."]
    copy.state(SourceState(True, "ldaps://one", "syncrepl", clock.now_ms(), "The comparison failed."))
    copy.proved(proof(clock))
    clock.pass_ms(31_000)
    assert seen(databases, clock).troubles() == [
        "The comparison failed.",
        "not proved current for 31 s: does the service run?",
    ]


def test_an_overview_is_read_by_people(databases: Databases, clock: FakeClock) -> None:
    copy = open_copy(databases.state, clock)
    tell(copy, *(someone(name) for name in (*GONE, "stays")), group("office"), complete=True)
    copy.state(SourceState(True, "ldaps://one", "syncrepl", clock.now_ms(), None, "odd"))
    copy.proved(proof(clock))
    tell(copy, removed=GONE[:25], complete=True)
    clock.pass_ms(500)
    ask_for_reading(databases.state, ["city"], clock.now_ms())
    number = list_holds(databases.state)[0].number
    assert describe(seen(databases, clock)).splitlines() == [
        "directory city: followed, proved current 0.5 s ago",
        "  server  ldaps://one, mode syncrepl",
        "  people  31 (0 disabled), in 1 groups",
        "  read    completely at 2026-03-16T09:00:00+00:00, asked for again at 2026-03-16T09:00:00+00:00",
        f"  kept    25 people by hold {number} (open)",
        "  remark  odd",
        f"  WRONG   hold {number} waits for a decision: 25 lost, 0 disabled",
    ]


def section(folder: Path, name: str, **values: object) -> dict[str, object]:
    (folder / "password").write_text("x", encoding="utf-8")
    found = {"name": name, "servers": ("ldaps://ldap.example.org",), "bind_dn": "cn=a", "people_base": "ou=p"}
    return found | {"groups_base": "ou=g", "password_file": folder / "password"} | values


def said(**sections: object) -> list[str]:
    return [one for one in contradictions(Settings(**sections)) if one.startswith("director")]


def test_one_directory_or_a_list_of_them(tmp_path: Path) -> None:
    """Both together are refused, a name may be there once, and each mistake is named with its place."""
    one, two = section(tmp_path, "town"), section(tmp_path, "works")
    assert said(directory=one) == []
    assert said(directories=[one, two]) == []
    assert [found.name for found in Settings(directories=[one, two]).all_directories().values()] == ["town", "works"]
    assert list(Settings(directory=one).all_directories()) == ["directory"]
    (both_set,) = said(directory=one, directories=[two])
    assert both_set.startswith("directory and directories: both are set")
    assert said(directories=[one, one]) == ["directories: town is named twice; each needs a name of its own"]
    (no_server,) = said(directories=[one, two | {"servers": ()}])
    assert no_server.startswith("directories[1].servers: name at least one server")
    (no_password,) = said(directories=[one, two | {"password_file": None}])
    assert no_password.startswith("directories[1].password_file: must name")
    (no_file,) = said(directories=[one | {"ca_file": tmp_path / "none"}, two])
    assert no_file.startswith("directories[0].ca_file: ")


def test_a_list_of_directories_is_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[[directories]]\nname = "town"\n[[directories]]\nname = "works"\nbeat_s = 1\n')
    town, works = load(file).directories
    assert (town.name, works.name, works.beat_s) == ("town", "works", 1.0)
    file.write_text('[[directories]]\nnme = "town"\n')
    with pytest.raises(SettingsError, match=r"directories\.0\.nme: there is no such setting"):
        load(file)
