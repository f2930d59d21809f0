# SPDX-License-Identifier: EUPL-1.2
"""A hold is stored, told, decided once by an administrator in whatever program, and over when the directory says so."""

import threading

import pytest
import sqlalchemy as sa
from service.conftest import Place
from service.directory import effective_groups, group, open_copy, proof, someone, tell
from service.fake_clock import FakeClock
from structlog.testing import capture_logs

from cardservice.database import Databases, open_databases
from cardservice.errors import Conflict, DatabaseUnavailable, NotFound
from cardservice.people import service, store
from cardservice.people.holds.rules import HoldState
from cardservice.people.holds.service import Decision, HoldView, Verdict, decide, list_held, list_holds
from cardservice.people.holds.store import directory_hold, directory_hold_person
from cardservice.people.ports import SourceState
from cardservice.people.service import DirectoryCopy
from cardservice.people.store import person

MANY = 30
EVERYONE = [someone(f"p{number}") for number in range(100)]
GONE = tuple(f"p{number}" for number in range(MANY))
SHUT = [someone(name, enabled=False) for name in GONE]


@pytest.fixture
def copy(databases: Databases, clock: FakeClock) -> DirectoryCopy:
    made = open_copy(databases.state, clock)
    tell(made, *EVERYONE, cookie="c1", complete=True)
    made.state(SourceState(True, "ldaps://one", "syncrepl", clock.now_ms()))
    made.proved(proof(clock))
    return made


def present(databases: Databases) -> set[str]:
    with databases.state.connect() as connection:
        return set(connection.execute(sa.select(person.c.stable_id).where(person.c.present)).scalars())


def disabled(databases: Databases) -> set[str]:
    with databases.state.connect() as connection:
        return set(connection.execute(sa.select(person.c.stable_id).where(~person.c.enabled)).scalars())


def states(databases: Databases) -> list[str]:
    """The states of every hold there ever was, in order."""
    with databases.state.connect() as connection:
        return list(connection.execute(sa.select(directory_hold.c.state).order_by(directory_hold.c.id)).scalars())


def kept_rows(databases: Databases) -> int:
    with databases.state.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(directory_hold_person)).scalar_one()


def the_hold(databases: Databases) -> HoldView:
    (hold,) = list_holds(databases.state)
    return hold


def say(databases: Databases, verdict: Verdict, number: int | None = None, **values: bool) -> HoldView:
    """Decide as another program does."""
    number = the_hold(databases).number if number is None else number
    return decide(databases.state, number, Decision(verdict, "somebody", 5, **values))


def test_a_hold_says_who_since_when_and_what_the_directory_was(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    began_ms = clock.now_ms()
    tell(copy, removed=GONE, complete=True, cookie="c2")
    tell(copy, someone("p0"))
    hold = the_hold(databases)
    assert (hold.directory, hold.state, hold.began_ms) == ("city", HoldState.OPEN, began_ms)
    assert (hold.server, hold.cookie, hold.lost, hold.disabled) == ("ldaps://one", "c1", MANY - 1, 0)
    held = list_held(databases.state, hold.number)
    assert {one.login for one in held} == set(GONE) - {"p0"}
    assert {one.loss for one in held} == {"lost"}


def test_a_hold_survives_a_restart_and_is_not_asked_again(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    """The same set, however often it is said, before and after a restart, is the same hold of the same beginning."""
    tell(copy, removed=GONE, complete=True)
    tell(copy, *(someone(f"p{number}", enabled=False) for number in range(40, 80)))
    before = the_hold(databases)
    told = copy.status().hold
    again = open_copy(databases.state, clock)
    assert again.status().hold == told
    clock.pass_ms(600_000)
    with capture_logs() as logs:
        for _ in range(3):
            tell(again, *EVERYONE[MANY:40], *(someone(f"p{number}", enabled=False) for number in range(40, 80)))
            tell(again, *EVERYONE[80:], removed=GONE, complete=True)
    assert logs == []
    assert the_hold(databases) == before
    assert (before.lost, before.disabled) == (MANY, 40)
    assert again.status().held_removals == MANY + 40


def test_a_mass_disable_is_held_and_everything_else_of_them_goes_on(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    """Names and groups follow the directory; whoever is disabled singly meanwhile is disabled at once."""
    with capture_logs() as logs:
        tell(copy, *(someone(name, enabled=False, mail=f"{name}@new") for name in GONE), group("office", "p0"))
    assert disabled(databases) == set()
    assert effective_groups(databases.state)["p0"] == {"office"}
    with databases.state.connect() as connection:
        assert connection.execute(sa.select(person.c.mail).where(person.c.stable_id == "p0")).scalar() == "p0@new"
    copy.proved(proof(clock))
    tell(copy, someone("p50", enabled=False))
    assert disabled(databases) == {"p50"}
    (sentence,) = copy.status().troubles(clock.now_ms())
    assert f"it disables {MANY} people; too many to believe, they are kept until somebody decides" in sentence
    (event,) = logs
    assert (event["event"], event["lost"], event["disabled"], event["of"]) == ("directory.removals_held", 0, MANY, 100)


def test_what_comes_one_by_one_between_two_proofs_is_one_step(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    """A source that hands over each disable by itself is guarded all the same; after the next proof a new step begins.

    Whoever is enabled again no longer counts.
    """
    for _ in range(3):
        tell(copy, someone("p99", enabled=False))
        tell(copy, someone("p99"))
    for entry in SHUT:
        tell(copy, entry)
    assert len(disabled(databases)) == 20
    assert copy.status().held_removals == MANY - 20
    copy.proved(proof(clock))
    tell(copy, someone("p60", enabled=False))
    assert "p60" in disabled(databases)


def test_a_confirmation_is_carried_out_for_whom_it_is_still_so(databases: Databases, copy: DirectoryCopy) -> None:
    """Decided by another program: nothing happens before the service looks; whoever was named again stays."""
    tell(copy, group("office", "p1"), *SHUT[25:])
    tell(copy, removed=GONE[:25], complete=True)
    tell(copy, someone("p0"))
    decided = say(databases, Verdict.CONFIRM)
    assert (decided.state, decided.lost, decided.disabled) == (HoldState.CONFIRMED, 24, 0)
    assert len(present(databases)) == 100
    copy.look()
    assert present(databases) == {f"p{number}" for number in range(100)} - set(GONE[1:25])
    assert disabled(databases) == set(GONE[25:])
    assert (states(databases), kept_rows(databases)) == (["applied"], 0)
    assert (copy.status().hold, copy.status().people) == (None, 76)
    assert copy.login_of(1) == "p0"
    tell(copy, someone("new-1", dn="uid=p1"))
    assert effective_groups(databases.state)["new-1"] == set()


def test_a_confirmed_disable_disables(databases: Databases, copy: DirectoryCopy) -> None:
    published = []
    copy._publish = lambda: published.append(len(disabled(databases)))
    tell(copy, *SHUT)
    tell(copy, someone("p3"))
    say(databases, Verdict.CONFIRM)
    copy.look()
    assert disabled(databases) == set(GONE) - {"p3"}
    assert published == [0, 0, MANY - 1]
    copy.look()
    assert len(published) == 3


@pytest.mark.parametrize("how", ["change", "restart"])
def test_a_confirmation_is_not_missed(databases: Databases, clock: FakeClock, copy: DirectoryCopy, how: str) -> None:
    """The next change carries it out if nobody looked, and a service that did not run carries it out when it does."""
    tell(copy, removed=GONE, complete=True)
    say(databases, Verdict.CONFIRM)
    if how == "change":
        tell(copy, someone("p0"), someone("p99", enabled=False))
        assert present(databases) == {f"p{number}" for number in range(100)} - set(GONE[1:])
    else:
        copy = open_copy(databases.state, clock)
        copy.look()
        assert len(present(databases)) == 100 - MANY
    assert states(databases) == ["applied"]
    assert copy.status().hold is None


def test_a_confirmation_that_cannot_be_stored_is_carried_out_later(
    databases: Databases, copy: DirectoryCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(copy, removed=GONE, complete=True)
    say(databases, Verdict.CONFIRM)

    def fail(*_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(store, "mark_gone", fail)
    with pytest.raises(DatabaseUnavailable):
        copy.look()
    assert (len(present(databases)), states(databases)) == (100, ["confirmed"])
    monkeypatch.undo()
    copy.look()
    assert (len(present(databases)), states(databases)) == (70, ["applied"])


def test_who_was_rejected_stays_without_an_alarm(databases: Databases, clock: FakeClock, copy: DirectoryCopy) -> None:
    """However often the directory says it again, over restarts too; some who are really gone leave all the same."""
    tell(copy, removed=GONE, complete=True)
    say(databases, Verdict.REJECT)
    copy.look()
    assert (copy.status().held_removals, copy.status().held_since_ms) == (0, None)
    assert copy.status().troubles(clock.now_ms()) == []
    for again in (copy, open_copy(databases.state, clock)):
        tell(again, removed=GONE, complete=True)
        assert the_hold(databases).state is HoldState.REJECTED
        assert len(present(databases)) == 100
    tell(again, removed=(*GONE, "p99"), complete=True)
    assert "p99" not in present(databases)
    tell(again, removed=("p0",))
    assert "p0" not in present(databases)
    assert the_hold(databases).lost == MANY - 1


def test_a_rejected_hold_is_asked_again_only_with_many_more(databases: Databases, copy: DirectoryCopy) -> None:
    tell(copy, removed=GONE, complete=True)
    first = say(databases, Verdict.REJECT)
    more = tuple(f"p{number}" for number in range(60))
    tell(copy, removed=more, complete=True)
    second = the_hold(databases)
    assert (second.state, second.lost, states(databases)) == (HoldState.OPEN, 60, ["replaced", "open"])
    with pytest.raises(Conflict, match=f"hold {first.number} is no longer the whole of it since .*look at the holds"):
        say(databases, Verdict.CONFIRM, first.number)
    say(databases, Verdict.CONFIRM)
    copy.look()
    assert len(present(databases)) == 40


def test_a_rejection_may_be_changed_if_that_is_said(databases: Databases, copy: DirectoryCopy) -> None:
    tell(copy, removed=GONE, complete=True)
    say(databases, Verdict.REJECT)
    with pytest.raises(Conflict, match=r"was rejected by somebody at 1970-01-01.*; it can be confirmed all the same"):
        say(databases, Verdict.CONFIRM)
    say(databases, Verdict.CONFIRM, although_rejected=True)
    copy.look()
    assert len(present(databases)) == 100 - MANY


@pytest.mark.parametrize("rejected", [False, True])
def test_a_hold_is_over_when_the_directory_takes_it_back(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy, *, rejected: bool
) -> None:
    """By itself, and it says so to whoever comes to decide; what comes next is another hold."""
    tell(copy, removed=GONE, complete=True)
    number = the_hold(databases).number
    if rejected:
        say(databases, Verdict.REJECT)
    clock.pass_ms(60_000)
    with capture_logs() as logs:
        tell(copy, complete=True)
    assert logs == [
        {"event": "directory.hold_over", "log_level": "info", "directory": "city", "hold": number},
    ]
    assert (list_holds(databases.state), copy.status().hold, kept_rows(databases)) == ([], None, 0)
    with pytest.raises(Conflict, match=f"hold {number} is over since 2026-03-16T09:01:00.*took it back by itself"):
        say(databases, Verdict.CONFIRM, number)
    tell(copy, removed=GONE, complete=True)
    assert the_hold(databases).number != number


def test_of_two_administrators_one_decides(databases: Databases, place: Place, copy: DirectoryCopy) -> None:
    """At the same moment, from two programs: once, and the other is told."""
    tell(copy, removed=GONE, complete=True)
    number = the_hold(databases).number
    ready, answers = threading.Barrier(2), []

    def administrator(verdict: Verdict) -> None:
        mine = open_databases(place.url)
        ready.wait()
        try:
            answers.append(say(mine, verdict, number).state)
        except Conflict as error:
            answers.append(str(error))
        finally:
            mine.close()

    threads = [threading.Thread(target=administrator, args=(verdict,)) for verdict in Verdict]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (decided,) = [answer for answer in answers if isinstance(answer, HoldState)]
    (refused,) = [answer for answer in answers if not isinstance(answer, HoldState)]
    assert refused.startswith(f"hold {number} was {decided} by somebody at")
    assert states(databases) == [decided]


def test_a_hold_that_does_not_exist_is_not_found(databases: Databases, copy: DirectoryCopy) -> None:
    with pytest.raises(NotFound, match="there is no hold 99"):
        say(databases, Verdict.CONFIRM, 99)
    with pytest.raises(NotFound, match="there is no hold 99"):
        list_held(databases.state, 99)
    assert copy.status().hold is None


def test_who_is_created_anew_under_a_held_name_inherits_nothing(databases: Databases, copy: DirectoryCopy) -> None:
    tell(copy, group("office", *GONE))
    tell(copy, removed=GONE, complete=True)
    tell(copy, someone("heir", dn="uid=p0"))
    assert effective_groups(databases.state)["heir"] == set()
    say(databases, Verdict.CONFIRM)
    copy.look()
    assert effective_groups(databases.state)["heir"] == set()
    assert "heir" in present(databases)


def test_a_hold_belongs_to_the_server_that_said_it(databases: Databases, clock: FakeClock, copy: DirectoryCopy) -> None:
    copy.state(SourceState(True, "ldaps://two", "polling", clock.now_ms()))
    tell(copy, removed=GONE, complete=True)
    assert the_hold(databases).server == "ldaps://two"


def test_nobody_is_named_in_a_log(databases: Databases, copy: DirectoryCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened, confirmed, carried out, failed: numbers only."""
    with capture_logs() as logs:
        tell(copy, removed=GONE, complete=True)
        say(databases, Verdict.CONFIRM)
        with monkeypatch.context() as broken:
            broken.setattr(service, "write", _unreadable)
            with pytest.raises(DatabaseUnavailable):
                copy.look()
        copy.look()
        tell(copy, *SHUT)
        tell(copy, *EVERYONE)
    assert [one["event"] for one in logs] == ["directory.removals_held", "directory.hold_applied"]
    assert not any(name in str(logs) for name in (*GONE, *(name.title() for name in GONE)))


def _unreadable(*_: object) -> None:
    raise DatabaseUnavailable("away")
