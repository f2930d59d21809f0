# SPDX-License-Identifier: EUPL-1.2
"""The directory copy over failures and restarts: nothing half done, nothing fresher than it is."""

import pytest
import sqlalchemy as sa
from service.directory import ChangeWatch, effective_groups, group, open_copy, proof, someone, tell
from service.fake_clock import FakeClock

from cardservice.clock import UNKNOWN_AGE_MS
from cardservice.database import Databases
from cardservice.errors import DatabaseUnavailable
from cardservice.people import service, store
from cardservice.people.service import DirectoryCopy


@pytest.fixture
def copy(databases: Databases, clock: FakeClock) -> DirectoryCopy:
    return open_copy(databases.state, clock)


def kept(databases: Databases) -> sa.Row | None:
    with databases.state.connect() as connection:
        return store.load_copy(connection, "city")


def test_publish_is_called_when_the_change_is_on_disk(databases: Databases, clock: FakeClock) -> None:
    """Whoever publishes reads the change from another connection."""
    seen: list[set[str]] = []
    copy = open_copy(databases.state, clock, publish=lambda: seen.append(set(effective_groups(databases.state))))
    tell(copy, someone("anna"))
    tell(copy, someone("bert"))
    assert seen == [{"anna"}, {"anna", "bert"}]


def test_a_cookie_is_stored_with_its_change_alone(databases: Databases, clock: FakeClock, copy: DirectoryCopy) -> None:
    """A refresh under way leaves the old cookie; the cookie stands beside the change it belongs to."""
    tell(copy, someone("anna"), cookie="c1", complete=True)
    tell(copy, someone("bert"))
    assert copy.cookie() == open_copy(databases.state, clock).cookie() == "c1"
    tell(copy, cookie="c2")
    assert copy.cookie() == open_copy(databases.state, clock).cookie() == "c2"


class Broken:
    """Fails one of the copy's storing steps, as a database that goes away in the middle does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        self._patches = monkeypatch
        self._patches.setattr(store, step, self._fail)

    def _fail(self, *_: object, **__: object) -> None:
        raise sa.exc.OperationalError("statement", {}, Exception("the disk is on fire"))

    def mend(self) -> None:
        self._patches.undo()


STEPS = ("insert_people", "update_people", "mark_gone", "insert_groups", "update_groups", "store_copy")


def change_everything(copy: DirectoryCopy) -> None:
    tell(
        copy,
        someone("anna", dn="uid=schmidt"),
        someone("dora"),
        group("office", "dora"),
        group("new", "bert"),
        removed=("cem", "works"),
        cookie="c2",
        complete=True,
    )


AFTERWARDS = {"anna": set(), "bert": {"new"}, "dora": {"office"}}


@pytest.mark.parametrize(("step", "also_unreadable"), [*((step, False) for step in STEPS), ("store_copy", True)])
def test_a_failing_store_leaves_the_copy_as_it_was(
    databases: Databases, copy: DirectoryCopy, monkeypatch: pytest.MonkeyPatch, step: str, *, also_unreadable: bool
) -> None:
    """Wherever it fails, nothing is stored, nothing is published, and the same change applies in full afterwards."""
    tell(copy, someone("anna"), someone("bert"), someone("cem"), group("office", "anna"), group("works", "bert", "cem"))
    tell(copy, cookie="c1")
    before, known, status = effective_groups(databases.state), copy.known_dns(), copy.status()
    watch = ChangeWatch(databases.state)
    broken = Broken(monkeypatch, step)
    if also_unreadable:
        monkeypatch.setattr(service, "read", _unreadable)
    with pytest.raises(DatabaseUnavailable, match="the disk is on fire"):
        change_everything(copy)
    if also_unreadable:
        with pytest.raises(DatabaseUnavailable, match="away"):
            copy.known_dns()
    assert copy.status() == status
    broken.mend()
    assert (copy.known_dns(), copy.cookie(), copy.status()) == (known, "c1", status)
    assert effective_groups(databases.state) == before
    assert watch.people() == []
    change_everything(copy)
    assert effective_groups(databases.state) == AFTERWARDS
    assert watch.people() == ["anna", "bert", "cem", "dora"]
    assert copy.cookie() == "c2"


def _unreadable(*_: object) -> None:
    raise DatabaseUnavailable("away")


def test_a_failed_change_of_a_group_is_not_forgotten(
    databases: Databases, copy: DirectoryCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The membership taken away while the database was gone is taken away when the source says it again."""
    tell(copy, someone("anna"), group("office", "anna"))
    monkeypatch.setattr(service, "write", _unreadable)
    monkeypatch.setattr(service, "read", _unreadable)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            tell(copy, group("office"))
    monkeypatch.undo()
    tell(copy, group("office"))
    assert effective_groups(databases.state) == {"anna": set()}


def test_a_hold_that_could_not_be_stored_is_not_told(copy: DirectoryCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(copy, *(someone(f"p{n}") for n in range(30)))
    monkeypatch.setattr(service, "write", _unreadable)
    with pytest.raises(DatabaseUnavailable):
        tell(copy, removed=tuple(f"p{n}" for n in range(30)), complete=True)
    assert copy.status().held_removals == 0


def test_a_restart_resumes(databases: Databases, clock: FakeClock, copy: DirectoryCopy) -> None:
    """People, groups, nested groups, cookie and the age by the wall clock are what they were."""
    tell(copy, someone("anna"), group("city", "@office"), group("office", "anna"), someone("bert"), cookie="c1")
    tell(copy, removed=("bert",))
    copy.proved(proof(clock))
    before = copy.known_dns()
    clock.wall_ms += 90_000
    clock.steady_ns = 17
    again = open_copy(databases.state, clock)
    assert (again.known_dns(), again.cookie(), again.age_ms()) == (before, "c1", 90_000)
    assert again.status().server == "ldaps://one"
    tell(again, group("office"))
    assert effective_groups(databases.state) == {"anna": set()}
    tell(again, group("office", "anna", "bert"))
    tell(again, someone("bert"))
    assert effective_groups(databases.state) == {"anna": {"office", "city"}, "bert": {"office", "city"}}


def test_the_age_is_measured_monotonically(clock: FakeClock, copy: DirectoryCopy) -> None:
    """A wall clock that jumps while the service runs changes no age."""
    copy.proved(proof(clock))
    clock.steady_ns += 2_000_000_000
    clock.wall_ms += 10**9
    assert copy.age_ms() == 2_000
    clock.wall_ms -= 10**10
    assert copy.age_ms() == 2_000


def test_a_copy_is_as_old_as_the_question_not_as_the_answer(clock: FakeClock, copy: DirectoryCopy) -> None:
    asked = proof(clock)
    clock.pass_ms(700)
    copy.proved(asked)
    assert copy.age_ms() == 700


def test_an_older_proof_does_not_make_the_copy_older(clock: FakeClock, copy: DirectoryCopy) -> None:
    late = proof(clock)
    clock.pass_ms(500)
    copy.proved(proof(clock))
    copy.proved(late)
    assert copy.age_ms() == 0


def test_a_change_proves_nothing(copy: DirectoryCopy) -> None:
    tell(copy, someone("anna"), cookie="c1", complete=True)
    assert copy.age_ms() == UNKNOWN_AGE_MS


def test_a_clock_set_back_over_a_restart_means_an_unknown_age(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    copy.proved(proof(clock))
    clock.wall_ms -= 1
    assert open_copy(databases.state, clock).age_ms() == UNKNOWN_AGE_MS
    clock.wall_ms += 1
    assert open_copy(databases.state, clock).age_ms() == 0


def test_a_proof_after_a_restart_counts_although_the_machine_was_just_started(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    """The stored proof is from before the monotonic clock began."""
    copy.proved(proof(clock))
    clock.wall_ms += 3_600_000
    clock.steady_ns = 1_000_000_000
    again = open_copy(databases.state, clock)
    assert again.age_ms() == 3_600_000
    again.proved(proof(clock))
    assert again.age_ms() == 0


def test_proofs_are_kept_every_five_seconds_at_most(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    """Five a second are proved; the database sees one in five seconds, and memory sees all."""
    stored = []
    for _ in range(60):
        copy.proved(proof(clock))
        row = kept(databases)
        assert row is not None
        stored.append(row.verified_at_ms)
        assert copy.age_ms() == 0
        clock.pass_ms(200)
    assert sorted(set(stored)) == [stored[0], stored[0] + 5_000, stored[0] + 10_000]


def test_a_proof_from_before_the_last_kept_one_is_kept(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy
) -> None:
    """After the wall clock was set back, a restart must not find a proof from the future."""
    copy.proved(proof(clock))
    clock.wall_ms -= 60_000
    copy.proved(proof(clock))
    row = kept(databases)
    assert row is not None
    assert row.verified_at_ms == clock.now_ms()


def test_a_proof_that_cannot_be_kept_holds_in_memory_and_is_told(
    databases: Databases, clock: FakeClock, copy: DirectoryCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "write", _unreadable)
    copy.proved(proof(clock))
    assert copy.age_ms() == 0
    assert copy.status().trouble == "away"
    assert kept(databases) is None
    monkeypatch.undo()
    clock.pass_ms(5_000)
    copy.proved(proof(clock))
    assert kept(databases) is not None
    assert copy.status().trouble is None
