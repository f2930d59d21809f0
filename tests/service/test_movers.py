# SPDX-License-Identifier: EUPL-1.2
"""Movers count in the department they left for a while: through steps, restarts, failures, holds and other settings."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from service.directory import ChangeWatch, effective_groups, group, nothing, open_copy, proof, someone, tell
from service.fake_clock import FakeClock
from structlog.testing import capture_logs
from support.waiting import wait_until

from cardservice import changes
from cardservice.access.plan.effects import Count, Effect
from cardservice.access.plan.service import Plans
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, ZoneSetup, apply
from cardservice.database import Databases
from cardservice.errors import Conflict, DatabaseUnavailable, NotFound
from cardservice.people.directories import Directories
from cardservice.people.holds.service import Decision, Verdict, decide, list_holds
from cardservice.people.movers import book, store
from cardservice.people.movers.rules import DAY_MS, MAX_WINDOWS_OF_ONE, MoverRule
from cardservice.people.movers.service import Mover, describe_mover, end_window, list_movers
from cardservice.people.overview import describe, overviews
from cardservice.people.ports import DirectoryChange
from cardservice.people.rules import DirectoryGroup, normalise_dn
from cardservice.people.service import DirectoryCopy

RULE = MoverRule("ou=departments", 14 * DAY_MS)


def department(stable_id: str, *members: str, dn: str | None = None) -> DirectoryGroup:
    return group(stable_id, *members, dn=dn or f"cn={stable_id},ou=departments")


class Hall:
    """One directory with the departments `bau` and `amt`; `bau` is in `keys`. Anna is in `bau`."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.databases, self.clock = databases, clock
        self.copy = self.open()
        tell(
            self.copy,
            *(someone("anna"), someone("bert"), department("bau", "anna"), department("amt", "bert")),
            group("keys", "cn=bau,ou=departments"),
            cookie="c1",
            complete=True,
        )

    def open(self, rule: MoverRule | None = RULE, publish: Callable[[], None] = nothing) -> DirectoryCopy:
        """Open the copy as at a start of the service."""
        self.copy = open_copy(self.databases.state, self.clock, movers=rule, publish=publish)
        return self.copy

    def move(self) -> None:
        """Anna goes from `bau` to `amt`."""
        tell(self.copy, department("bau"), department("amt", "anna", "bert"))

    def groups(self, name: str = "anna") -> set[str]:
        return effective_groups(self.databases.state)[name]

    def windows(self) -> list[Mover]:
        return list_movers(self.databases.state)

    def window(self) -> Mover:
        (mover,) = self.windows()
        return mover

    def pass_days(self, days: int) -> None:
        self.clock.pass_ms(days * DAY_MS)


@pytest.fixture
def hall(databases: Databases, clock: FakeClock) -> Hall:
    return Hall(databases, clock)


def test_who_changes_department_counts_in_both_until_the_window_ends(hall: Hall) -> None:
    """With what the old group is in; the window is of 14 days from the step on, to the millisecond."""
    left_ms = hall.clock.now_ms()
    hall.move()
    assert hall.groups() == {"bau", "keys", "amt"}
    mover = hall.window()
    assert (mover.name, mover.login, mover.group, mover.window.counts) == ("Anna", "anna", "bau", True)
    assert (mover.window.left_ms, mover.window.until_ms) == (left_ms, left_ms + 14 * DAY_MS)
    hall.clock.pass_ms(14 * DAY_MS - 1)
    hall.copy.look()
    tell(hall.copy, complete=True)
    assert hall.groups() == {"bau", "keys", "amt"}
    hall.clock.pass_ms(1)
    hall.copy.look()
    assert (hall.groups(), hall.windows()) == ({"amt"}, [])


def test_without_the_settings_leaving_takes_effect_at_once(hall: Hall) -> None:
    hall.open(None)
    hall.move()
    assert (hall.groups(), hall.windows()) == ({"amt"}, [])


def test_who_is_in_no_other_department_loses_the_old_one_until_they_join_one(hall: Hall) -> None:
    """The window began when they left, and is not longer for that; other groups are no departments."""
    left_ms = hall.clock.now_ms()
    tell(hall.copy, department("bau"), group("choir", "anna"))
    assert hall.groups() == {"choir"}
    assert not hall.window().window.counts
    hall.pass_days(5)
    tell(hall.copy, department("amt", "anna", "bert"))
    assert hall.groups() == {"bau", "keys", "amt", "choir"}
    assert (hall.window().window.counts, hall.window().window.left_ms) == (True, left_ms)
    tell(hall.copy, department("amt", "bert"))
    assert hall.groups() == {"choir"}
    assert [(one.group, one.window.counts) for one in hall.windows()] == [("bau", False), ("amt", False)]
    hall.pass_days(9)
    tell(hall.copy, department("amt", "anna", "bert"))
    assert (hall.groups(), hall.windows()) == ({"amt", "choir"}, [])


def test_who_left_several_keeps_each_for_its_own_window(hall: Hall) -> None:
    hall.move()
    hall.pass_days(10)
    tell(hall.copy, department("amt", "bert"), department("hof", "anna"))
    assert hall.groups() == {"bau", "keys", "amt", "hof"}
    hall.pass_days(4)
    hall.copy.look()
    assert hall.groups() == {"amt", "hof"}
    hall.pass_days(10)
    hall.copy.look()
    assert hall.groups() == {"hof"}


def test_who_comes_back_has_no_window_and_a_new_one_when_they_leave_again(hall: Hall) -> None:
    hall.move()
    first = hall.window().window
    hall.pass_days(3)
    tell(hall.copy, department("bau", "anna"))
    assert hall.windows() == []
    tell(hall.copy, department("bau"))
    again = hall.window().window
    assert again.left_ms == first.left_ms + 3 * DAY_MS
    assert again.number > first.number
    assert hall.groups() == {"bau", "keys", "amt"}


def test_a_full_refresh_that_shows_the_same_begins_no_window(hall: Hall) -> None:
    """Neither while a window runs, nor after it has ended by itself or by an administrator."""
    hall.move()
    entries = [someone("anna"), someone("bert"), department("bau"), department("amt", "anna", "bert")]
    before = hall.window()
    for _ in range(2):
        hall.pass_days(1)
        tell(hall.copy, *entries, complete=True)
        assert hall.window() == before
        hall.open()
    end_window(hall.databases.state, before.window.number, "somebody")
    for _ in range(2):
        tell(hall.copy, *entries, complete=True)
        assert (hall.windows(), hall.groups()) == ([], {"amt"})
        hall.open()


@pytest.mark.parametrize("restart", [False, True])
def test_leavers_have_no_window(hall: Hall, *, restart: bool) -> None:
    """Who is gone loses theirs, and who is created anew under the name, or comes back, gets none."""
    hall.move()
    tell(hall.copy, removed=("anna",))
    assert hall.windows() == []
    if restart:
        hall.open()
    tell(hall.copy, someone("heir", dn="uid=anna"), department("amt", "anna", "bert"))
    assert hall.groups("heir") == {"amt"}
    tell(hall.copy, removed=("heir",))
    tell(hall.copy, someone("anna"), department("amt", "anna", "bert"))
    assert (hall.groups(), hall.windows()) == ({"amt"}, [])


def test_deleted_in_the_step_of_the_move_is_no_mover(hall: Hall) -> None:
    moved = department("bau"), department("amt", "anna", "bert")
    tell(hall.copy, someone("heir", dn="uid=anna"), *moved, removed=("anna",))
    assert (hall.windows(), hall.groups("heir")) == ([], {"amt"})


def test_who_is_disabled_keeps_the_window_for_when_they_are_enabled(hall: Hall) -> None:
    """A tap refuses them meanwhile, as everybody who is disabled."""
    hall.move()
    tell(hall.copy, someone("anna", enabled=False))
    tell(hall.copy, someone("anna"))
    assert hall.groups() == {"bau", "keys", "amt"}


def test_a_renamed_person_keeps_their_windows_and_the_old_name_lends_none(hall: Hall) -> None:
    """Whether the group follows in the step of the rename or later; who gets the old name inherits nothing."""
    hall.move()
    before = hall.window()
    tell(hall.copy, someone("anna", dn="uid=schmidt"))
    tell(hall.copy, someone("heir", dn="uid=anna"), department("amt", "schmidt", "bert"))
    assert hall.groups() == {"bau", "keys", "amt"}
    assert hall.window() == before
    tell(hall.copy, department("amt", "schmidt", "bert", "anna"))
    assert hall.groups("heir") == {"amt"}
    tell(hall.copy, someone("anna", dn="uid=weiss"), department("amt", "weiss", "bert", "anna"))
    assert (hall.groups(), hall.window()) == ({"bau", "keys", "amt"}, before)


def test_two_people_who_swap_names_swap_no_windows(hall: Hall) -> None:
    hall.move()
    swapped = [someone("anna", dn="uid=bert"), someone("bert", dn="uid=anna")]
    tell(hall.copy, *swapped, department("amt", "anna", "bert"))
    assert (hall.groups(), hall.groups("bert")) == ({"bau", "keys", "amt"}, {"amt"})


def test_a_renamed_department_keeps_its_windows(hall: Hall) -> None:
    """Under its new name; what it is in under that name counts."""
    hall.move()
    before = hall.window()
    tell(hall.copy, department("bau", dn="cn=hochbau,ou=departments"))
    assert hall.groups() == {"bau", "amt"}
    tell(hall.copy, group("yard", "cn=hochbau,ou=departments"))
    assert hall.groups() == {"bau", "yard", "amt"}
    assert hall.window() == before


def test_what_the_old_department_is_in_follows_the_directory(hall: Hall) -> None:
    """Nobody is a member of it any more but by windows, and still a change above it reaches them."""
    hall.move()
    tell(hall.copy, group("keys"))
    assert hall.groups() == {"bau", "amt"}
    tell(hall.copy, group("keys", "@ring"), group("ring", "cn=bau,ou=departments"))
    assert hall.groups() == {"bau", "keys", "ring", "amt"}
    hall.open()
    tell(hall.copy, removed=("ring",))
    assert hall.groups() == {"bau", "amt"}


@pytest.mark.parametrize("how", ["deleted", "moved away"])
@pytest.mark.parametrize("counting", [True, False])
def test_a_group_that_is_no_department_any_more_has_no_windows(hall: Hall, how: str, *, counting: bool) -> None:
    """For good: coming back makes it a department without them."""
    tell(hall.copy, department("bau"))
    if counting:
        tell(hall.copy, department("amt", "anna", "bert"))
    if how == "deleted":
        tell(hall.copy, removed=("bau",))
    else:
        tell(hall.copy, department("bau", dn="cn=bau"))
    assert hall.windows() == []
    tell(hall.copy, department("bau"), department("amt", "anna", "bert"))
    assert (hall.windows(), hall.groups()) == ([], {"amt"})


def test_a_department_dissolved_in_one_step_has_no_windows(hall: Hall) -> None:
    tell(hall.copy, department("amt", "anna", "bert"), removed=("bau",))
    assert (hall.windows(), hall.groups()) == ([], {"amt"})


def test_a_group_that_becomes_a_department_begins_no_window(hall: Hall) -> None:
    """Only who leaves it from then on."""
    tell(hall.copy, group("hof", "anna"))
    tell(hall.copy, department("hof", "anna"))
    assert hall.windows() == []
    tell(hall.copy, department("hof"))
    assert hall.groups() == {"bau", "keys", "hof"}


def test_members_through_other_groups_have_no_windows(hall: Hall) -> None:
    """Only whom the department itself names; a team that leaves a department takes its people along at once."""
    tell(hall.copy, department("hof", "cn=team"), group("team", "anna"))
    assert hall.groups() == {"bau", "keys", "hof", "team"}
    tell(hall.copy, department("hof"))
    assert (hall.groups(), hall.windows()) == ({"bau", "keys", "team"}, [])


def test_a_step_that_cannot_be_stored_is_told_again_and_counted_once(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Window and membership are one transaction: after a failure, and after a loss of power then, neither is there."""
    for restart in (False, True):
        with monkeypatch.context() as broken:
            broken.setattr(changes, "append", _fail)
            with pytest.raises(DatabaseUnavailable):
                hall.move()
        assert (hall.groups(), hall.windows()) == ({"bau", "keys"}, [])
        if restart:
            hall.open()
    hall.clock.pass_ms(5)
    hall.move()
    assert hall.window().window.left_ms == hall.clock.now_ms()
    hall.pass_days(14)
    with monkeypatch.context() as broken:
        broken.setattr(changes, "append", _fail)
        with pytest.raises(DatabaseUnavailable):
            hall.copy.look()
    assert "bau" in hall.groups()
    hall.copy.look()
    assert hall.groups() == {"amt"}


def _fail(*_: object) -> None:
    raise DatabaseUnavailable("away")


def test_windows_survive_a_restart_and_end_while_nobody_runs(hall: Hall) -> None:
    """What ended meanwhile is over and published before the first tap; the change log names whom it concerned."""
    hall.move()
    hall.open()
    assert (hall.groups(), hall.copy.status().movers) == ({"bau", "keys", "amt"}, 1)
    hall.pass_days(14)
    watch, published = ChangeWatch(hall.databases.state), []
    hall.open(publish=lambda: published.append(hall.groups()))
    assert published == [{"amt"}]
    assert (watch.people(), hall.windows(), hall.copy.status().movers) == (["anna"], [], 0)


def test_after_a_restart_who_left_before_is_still_who_left_before(hall: Hall) -> None:
    """What a person's departments were is known from what is stored: a move across a restart is seen."""
    hall.open()
    hall.move()
    assert hall.groups() == {"bau", "keys", "amt"}


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        (None, False),
        (MoverRule("ou=elsewhere", 14 * DAY_MS), False),
        (MoverRule("ou=departments", 9 * DAY_MS), False),
        (MoverRule("ou=departments", 10 * DAY_MS), False),
        (MoverRule("ou=departments", 11 * DAY_MS), True),
        (MoverRule("cn=bau,ou=departments", 14 * DAY_MS), False),
    ],
)
def test_other_settings_count_from_the_next_start(hall: Hall, rule: MoverRule | None, *, counts: bool) -> None:
    """Without them what was stored ends; with other days windows are as long as they say.

    With another place of departments only groups there count, as what was left and as what somebody is in now.
    """
    hall.move()
    left_ms = hall.clock.now_ms()
    hall.pass_days(10)
    hall.open(rule)
    assert ("bau" in hall.groups()) is counts
    assert [one.window.until_ms for one in hall.windows() if one.window.counts] == (
        [left_ms + 11 * DAY_MS] if counts else []
    )
    if rule is None or rule.groups_dn != "cn=bau,ou=departments":
        assert bool(hall.windows()) is counts


def test_an_ended_window_is_over_at_once_and_stays_over(hall: Hall) -> None:
    """Ended by another program: the service notices when it looks, with the next step, or at its next start."""
    for how in ("look", "step", "restart"):
        hall.move()
        number = hall.window().window.number
        assert end_window(hall.databases.state, number, "somebody").counts
        assert describe_mover(hall.window()).endswith("ended by somebody: the running service is to apply it")
        with pytest.raises(Conflict, match=f"window {number} was ended by somebody"):
            end_window(hall.databases.state, number, "another")
        if how == "look":
            hall.copy.look()
        elif how == "step":
            tell(hall.copy, someone("bert", mail="b@city"))
        else:
            hall.open()
        assert (hall.groups(), hall.windows()) == ({"amt"}, [])
        with pytest.raises(NotFound, match=f"there is no window {number}, or it is over"):
            end_window(hall.databases.state, number, "somebody")
        tell(hall.copy, department("bau", "anna"), department("amt", "bert"))


def test_a_number_is_never_another_windows(hall: Hall) -> None:
    """Whoever ends a window that they read of before ends that one or none."""
    hall.move()
    first = hall.window().window.number
    end_window(hall.databases.state, first, "somebody")
    hall.copy.look()
    tell(hall.copy, department("amt", "anna"))
    assert hall.window().window.number > first


def test_ends_come_while_the_directory_is_silent(hall: Hall) -> None:
    """The thread of requests ends them, within a second: the directory's own may hang in the middle of a call."""
    hall.move()
    published = threading.Event()
    hall.open(publish=published.set)
    published.clear()
    every = Directories([hall.copy])
    every.start()
    try:
        hall.pass_days(14)
        began_s = time.monotonic()
        wait_until(published.is_set)
        assert time.monotonic() - began_s < 1.0
        assert hall.groups() == {"amt"}
    finally:
        every.stop()


def test_who_is_held_keeps_windows_until_somebody_confirms(hall: Hall) -> None:
    """A hold keeps people, not their memberships: these follow, with windows; the confirmation ends both."""
    names = [f"p{number}" for number in range(60)]
    tell(hall.copy, *map(someone, names), department("bau", *names), department("amt", "p0", "bert"))
    hall.copy.proved(proof(hall.clock))
    gone = tuple(names[:40])
    tell(hall.copy, department("bau", *names[40:]), department("amt", "bert", "p0"), removed=gone, complete=True)
    assert hall.groups("p0") == {"bau", "keys", "amt"}
    assert hall.groups("p1") == set()
    # Anna, who is in no other department, and the forty.
    assert len(hall.windows()) == 41
    (hold,) = list_holds(hall.databases.state)
    decide(hall.databases.state, hold.number, Decision(Verdict.CONFIRM, "somebody", 1))
    hall.copy.look()
    assert [one.login for one in hall.windows()] == ["anna"]


def test_a_hold_confirmed_while_nobody_runs_takes_its_windows_and_the_others_end(hall: Hall) -> None:
    names = [f"p{number}" for number in range(60)]
    tell(hall.copy, *map(someone, names), department("bau", "anna", *names))
    hall.copy.proved(proof(hall.clock))
    tell(hall.copy, department("bau"), department("amt", *names, "anna"), removed=tuple(names[:40]), complete=True)
    (hold,) = list_holds(hall.databases.state)
    decide(hall.databases.state, hold.number, Decision(Verdict.CONFIRM, "somebody", 1))
    hall.open(None)
    assert hall.windows() == []
    assert (hall.groups(), hall.groups("p50")) == ({"amt"}, {"amt"})


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_restructured_department_moves_in_one_step(hall: Hall) -> None:
    """4,000 people, with new names too: one step, stored whole, and in about linear time."""
    took_s = {}
    for many in (1_000, 4_000):
        names = [f"m{many}-{number}" for number in range(many)]
        tell(hall.copy, *map(someone, names), department("old", *names), department("new"))
        renamed = [someone(name, dn=f"uid={name},ou=new") for name in names]
        began_s = time.process_time()
        tell(hall.copy, *renamed, department("old"), department("new", *(one.dn for one in renamed)))
        took_s[many] = time.process_time() - began_s
        tell(hall.copy, department("new"), removed=("old",))
        assert hall.copy.status().movers == 0
    assert took_s[4_000] < 10 * took_s[1_000]


def test_thousands_of_windows_end_in_one_step(hall: Hall) -> None:
    names = [f"p{number}" for number in range(2_000)]
    tell(hall.copy, *map(someone, names), department("old", *names), department("new"))
    tell(hall.copy, department("old"), department("new", *names))
    assert hall.copy.status().movers == 2_000
    assert hall.groups("p7") == {"old", "new"}
    hall.pass_days(14)
    hall.copy.look()
    assert (hall.copy.status().movers, hall.groups("p7"), hall.windows()) == (0, {"new"}, [])


def test_windows_are_limited(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has so many, a directory has so many; whoever finds no room loses the group at once, and it is told."""
    many = [department(f"d{number}", "anna") for number in range(MAX_WINDOWS_OF_ONE + 3)]
    tell(hall.copy, *many)
    tell(hall.copy, *(department(f"d{number}") for number in range(MAX_WINDOWS_OF_ONE + 3)))
    assert len(hall.windows()) == MAX_WINDOWS_OF_ONE
    monkeypatch.setattr(book, "MAX_WINDOWS", MAX_WINDOWS_OF_ONE)
    with capture_logs() as logs:
        tell(hall.copy, department("amt"), department("bau", "anna", "bert"))
    assert hall.groups("bert") == {"bau", "keys"}
    assert logs == [
        {"event": "directory.windows_not_kept", "log_level": "error", "directory": "city", "windows": 1},
    ]


def test_what_is_logged_are_numbers(hall: Hall) -> None:
    with capture_logs() as logs:
        hall.move()
        number = hall.window().window.number
        end_window(hall.databases.state, number, "the command line")
        hall.copy.look()
    assert logs == [
        {"event": "directory.windows", "log_level": "info", "directory": "city", "opened": 1, "over": 0},
        {"event": "directory.window_ended", "log_level": "info", "directory": "city", "window": number},
        {"event": "directory.windows", "log_level": "info", "directory": "city", "opened": 0, "over": 1},
    ]


def test_a_looking_copy_writes_nothing_while_nothing_is_due(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice a second, for weeks."""
    hall.move()
    monkeypatch.setattr(store, "due", _fail)
    hall.copy.look()


def test_windows_are_shown_beside_the_running_service(hall: Hall) -> None:
    """In the status of the directory, and one by one as an administrator reads them."""
    hall.move()
    (found,) = overviews(hall.databases.state, ["city"], hall.clock.now_ms())
    assert found.movers == 1
    assert "  movers  1 windows count (cardservice directory movers)" in describe(found).splitlines()
    number = hall.window().window.number
    assert describe_mover(hall.window()) == (
        f"window {number}: Anna (anna) left “bau” at 2026-03-16T09:00:00+00:00, directory city; "
        "counts until 2026-03-30T09:00:00+00:00"
    )
    tell(hall.copy, department("amt", "bert"))
    assert describe_mover(hall.windows()[0]).endswith(
        "in no other department now; would count again until 2026-03-30T09:00:00+00:00"
    )
    (found,) = overviews(hall.databases.state, ["city"], hall.clock.now_ms())
    assert (found.movers, hall.copy.status().movers) == (0, 0)


def test_a_membership_that_is_tried_leaves_windows_as_they_are(hall: Hall) -> None:
    """Whose groups are worked out anew in a what-if still counts where a window lets them."""
    hall.move()
    rules = [RuleSetup(group="bau", zone="house")]
    points = [PointSetup("door", "Door", "house", "plain")]
    model = AccessSetup([ZoneSetup("house", "House")], point_classes=[PointClassSetup("plain", "Plain")], points=points)
    tell(hall.copy, group("choir"))
    apply(hall.databases.state, 1, replace(model, rules=rules))
    tried = b'format = 1\n[[membership]]\ngroup = "choir"\nlogin = "anna"\nchange = "joins"'
    outlook = Plans(hall.databases.state, hall.clock, {}).what_if(tried)
    assert [outlook.effects.count(effect) for effect in Effect] == [Count(0, 0)] * len(Effect)


def test_windows_of_one_directory_are_not_anothers(hall: Hall) -> None:
    """The same ids, the same groups, and settings for one of them."""
    works = open_copy(hall.databases.state, hall.clock, name="works")
    for step in (("bau", "amt"), ("amt", "bau")):
        tell(works, someone("anna"), department(step[0], "anna"), department(step[1]))
    hall.move()
    assert hall.window().window.directory == "city"
    end_window(hall.databases.state, hall.window().window.number, "somebody")
    works.look()
    assert len(hall.windows()) == 1
    hall.copy.look()
    assert hall.windows() == []


def test_a_department_at_the_dn_itself_counts(databases: Databases, clock: FakeClock) -> None:
    """The setting names a place: a group that is that place is a department."""
    rule = MoverRule(normalise_dn("CN=All, OU=Departments"), DAY_MS)
    copy = open_copy(databases.state, clock, movers=rule)
    place, inside = group("all", "anna", dn="cn=all,ou=departments"), group("in", dn="cn=in,cn=all,ou=departments")
    copy.apply(DirectoryChange(upserts=(someone("anna"), place, inside)))
    tell(copy, group("all", dn="cn=all,ou=departments"), group("in", "anna", dn="cn=in,cn=all,ou=departments"))
    assert effective_groups(databases.state)["anna"] == {"all", "in"}


def test_nobody_stays_in_the_table_who_is_not_in_the_directory(hall: Hall) -> None:
    hall.move()
    tell(hall.copy, removed=("anna",))
    with hall.databases.state.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(store.directory_window)).scalar() == 0
