# SPDX-License-Identifier: EUPL-1.2
"""Requests of four eyes at the store: one answer, by somebody else, to exactly what was shown, carried out once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from service.fake_clock import FakeClock

from cardservice.approvals.kinds import ContentRefused, Kind, by_name
from cardservice.approvals.rules import HOUR_MS, MAX_CONTENT_BYTES, Refusal, State, canonical
from cardservice.approvals.service import MAX_OPEN, Approvals, NotDecided, Seen, Verdict, Wish
from cardservice.approvals.store import approval
from cardservice.database import Databases, read, write
from cardservice.errors import Conflict, DatabaseUnavailable, NotFound
from cardservice.people.store import ensure_organisation, organisation, person
from cardservice.web.gate import Actor
from cardservice.web.operations import OPERATIONS, Role
from cardservice.web.problems import ApiProblem
from cardservice.web.reach import EVERYWHERE, Reach

# Asked by whoever may ask to open lines; decided by the staff council. What it does shows in the store.
ASKS = "journal.open"
BOUND = Reach(units=frozenset({"Bauamt"}))


def accepted(content: Any) -> Any:
    if set(content) != {"code"}:
        raise ContentRefused("content: a code")
    return content


def found_organisation(connection: sa.Connection, request: Any) -> None:
    if request.content["code"] == "impossible":
        raise Conflict("it cannot be founded")
    connection.execute(sa.insert(organisation).values(code=request.content["code"], name=str(request.number)))


KIND = Kind(
    name="organisation.found",
    title="Found",
    asks=ASKS,
    approves=frozenset({Role.STAFF_COUNCIL}),
    accept=accepted,
    describe=lambda content, _: (("code", content["code"]),),
    carry_out=found_organisation,
)
WISH = Wish("organisation.found", {"code": "works"}, "because", 24)
NO_REQUESTS = [
    Wish("nothing", {"code": "works"}, "because", 24),
    Wish("organisation.found", {"other": 1}, "because", 24),
    Wish("organisation.found", {"code": "x" * MAX_CONTENT_BYTES}, "because", 24),
    Wish("organisation.found", {"code": float("nan")}, "because", 24),
    Wish("organisation.found", {"code": "works"}, " ", 24),
    Wish("organisation.found", {"code": "works"}, "x" * 201, 24),
    Wish("organisation.found", {"code": "works"}, "a\nb", 24),
    Wish("organisation.found", {"code": "works"}, "because", 0),
    Wish("organisation.found", {"code": "works"}, "because", 7 * 24 + 1),
]


class World:
    """People, requests, and a journal that can be broken."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.databases, self.clock, self.steps = databases, clock, []
        self.broken = False
        self.approvals = Approvals(databases.state, clock, (KIND,), self.keep)
        with write(databases.state) as connection:
            city = ensure_organisation(connection, "musterstadt", "Stadt")
            for number, login in enumerate(("asker", "council", "second", "asker"), 1):
                row = {"stable_id": str(number), "dn": login, "name": login, "login": login, "groups": "[]"}
                row |= {"directory": "other" if number == 4 else "staff", "enabled": True, "present": True}
                connection.execute(sa.insert(person).values(id=number, organisation_id=city, **row))

    def keep(self, step: Any) -> None:
        if self.broken:
            raise DatabaseUnavailable("the journal's disk is full")
        self.steps.append((step.step, step.login))

    def ask(self, wish: Wish = WISH, actor: Actor | None = None) -> Seen:
        prepared = self.approvals.prepare(actor or ASKER, wish)
        with write(self.databases.state) as connection:
            return self.approvals.request(connection, actor or ASKER, prepared)

    def decide(self, actor: Actor, number: int, verdict: Verdict) -> Seen:
        with write(self.databases.state) as connection:
            return self.approvals.decide(connection, actor, number, verdict)

    def withdraw(self, actor: Actor, number: int) -> Seen:
        with write(self.databases.state) as connection:
            return self.approvals.withdraw(connection, actor, number)

    def founded(self) -> list[str]:
        with read(self.databases.state) as connection:
            return sorted(connection.execute(sa.select(organisation.c.code)).scalars())

    def stored(self, number: int) -> str:
        with read(self.databases.state) as connection:
            return connection.execute(sa.select(approval.c.state).where(approval.c.id == number)).scalar_one()


def somebody(row: int, login: str, *roles: Role, reach: Reach = EVERYWHERE) -> Actor:
    return Actor(login, (reach,), person=row, roles=frozenset(roles), reaches_by_role=dict.fromkeys(roles, (reach,)))


ASKER = somebody(1, "asker", Role.AUDITOR)
COUNCIL = somebody(2, "council", Role.STAFF_COUNCIL)
SECOND = somebody(3, "second", Role.STAFF_COUNCIL)


@pytest.fixture
def world(databases: Databases, clock: FakeClock) -> World:
    return World(databases, clock)


def yes(seen: Seen) -> Verdict:
    return Verdict(approve=True, shown=seen.request.digest)


def no(seen: Seen) -> Verdict:
    return Verdict(approve=False, shown=seen.request.digest, reason="not needed")


def test_what_somebody_else_approves_happens_once(world: World) -> None:
    """In the transaction of the approval; both see it, with who decided, and each step is written down."""
    seen = world.ask()
    assert (seen.state, seen.own, seen.may_decide) == (State.OPEN, True, False)
    shown = world.approvals.one(COUNCIL, seen.request.number)
    assert (shown.own, shown.may_decide, shown.request.digest) == (False, True, seen.request.digest)
    assert world.founded() == ["musterstadt"]
    done = world.decide(COUNCIL, seen.request.number, yes(shown))
    assert (done.state, world.founded()) == (State.APPROVED, ["musterstadt", "works"])
    mine = world.approvals.one(ASKER, seen.request.number)
    assert mine.request.answer is not None
    assert mine.request.answer.by.login == "council"
    for actor in (COUNCIL, SECOND):
        with pytest.raises(NotDecided) as told:
            world.decide(actor, seen.request.number, yes(shown))
        assert told.value.why is Refusal.DECIDED
    assert world.steps == [("asked", "asker"), ("approved", "council")]
    assert world.founded() == ["musterstadt", "works"]


def test_a_rejection_and_a_withdrawal_end_it_and_nothing_happens(world: World) -> None:
    """A rejection has a reason; only the asker withdraws; neither can be answered again."""
    rejected, withdrawn = world.ask(), world.ask()
    with pytest.raises(Conflict, match="reason"):
        world.decide(COUNCIL, rejected.request.number, Verdict(approve=False, shown=rejected.request.digest))
    world.decide(COUNCIL, rejected.request.number, no(rejected))
    with pytest.raises(NotDecided) as told:
        world.withdraw(COUNCIL, withdrawn.request.number)
    assert told.value.why is Refusal.FOREIGN
    world.withdraw(ASKER, withdrawn.request.number)
    for seen in (rejected, withdrawn):
        with pytest.raises(NotDecided):
            world.decide(SECOND, seen.request.number, yes(seen))
        with pytest.raises(NotDecided):
            world.withdraw(ASKER, seen.request.number)
    assert world.founded() == ["musterstadt"]
    assert [step for step, _ in world.steps] == ["asked", "asked", "rejected", "withdrawn"]


@pytest.mark.parametrize(
    ("actor", "why"),
    [
        (somebody(1, "asker", Role.AUDITOR, Role.STAFF_COUNCIL), Refusal.OWN),
        (somebody(4, "asker", Role.STAFF_COUNCIL), Refusal.OWN),
        (somebody(4, "ASKER", Role.STAFF_COUNCIL), Refusal.OWN),
        (somebody(2, "council", Role.APPROVER), NotFound),
        (somebody(2, "council", Role.AUDITOR, Role.DATA_PROTECTION), NotFound),
        (somebody(2, "council", Role.STAFF_COUNCIL, reach=BOUND), NotFound),
        (replace(somebody(2, "council", Role.STAFF_COUNCIL), person=None), NotFound),
    ],
    ids=["own", "same login", "same login in capitals", "other role", "asking role", "outside reach", "account"],
)
def test_nobody_else_decides(world: World, actor: Actor, why: Any) -> None:
    """Not the asker under either of their rows, not another role, not one that is bound, no account of a system."""
    seen = world.ask()
    for verdict in (yes(seen), no(seen)):
        with pytest.raises(NotDecided if isinstance(why, Refusal) else why) as told:
            world.decide(actor, seen.request.number, verdict)
        if isinstance(why, Refusal):
            assert told.value.why is why
    assert (world.stored(seen.request.number), world.founded()) == ("open", ["musterstadt"])


def test_after_its_end_nothing_is_decided(world: World) -> None:
    """To the millisecond; the list calls it expired, and an open place is free again."""
    seen = world.ask(Wish("organisation.found", {"code": "works"}, "because", 1))
    world.clock.pass_ms(HOUR_MS - 1)
    assert world.approvals.one(COUNCIL, seen.request.number).may_decide
    world.clock.pass_ms(1)
    for act in (lambda: world.decide(COUNCIL, seen.request.number, yes(seen)), lambda: world.withdraw(ASKER, 1)):
        with pytest.raises(NotDecided) as told:
            act()
        assert told.value.why is Refusal.EXPIRED
    assert [one.state for one in world.approvals.list(COUNCIL, State.EXPIRED)] == [State.EXPIRED]
    assert world.approvals.list(COUNCIL, State.OPEN) == []
    assert world.founded() == ["musterstadt"]


def test_only_what_was_shown_is_approved(world: World) -> None:
    """Another request's digest, none, or content that was changed in the store since: nothing happens."""
    seen, other = world.ask(), world.ask(Wish("organisation.found", {"code": "clinic"}, "because", 24))
    swapped = [Verdict(approve=True, shown=digest) for digest in (other.request.digest, "", "0" * 64)]
    for verdict in swapped:
        with pytest.raises(NotDecided) as told:
            world.decide(COUNCIL, seen.request.number, verdict)
        assert told.value.why is Refusal.CHANGED
    for column, value in (("content", '{"code":"evil"}'), ("reason", "another"), ("expires_ms", 2**50)):
        with write(world.databases.state) as connection:
            before = connection.execute(sa.select(approval.c[column]).where(approval.c.id == 1)).scalar_one()
            connection.execute(sa.update(approval).where(approval.c.id == 1).values({column: value}))
        with pytest.raises(NotDecided):
            world.decide(COUNCIL, 1, yes(seen))
        with write(world.databases.state) as connection:
            connection.execute(sa.update(approval).where(approval.c.id == 1).values({column: before}))
    assert world.founded() == ["musterstadt"]


def test_of_several_at_the_same_moment_one_decides(world: World) -> None:
    """Approvals and rejections race: one answer, the others are told so, and it happened if it was approved."""
    for race in range(4):
        seen = world.ask(Wish("organisation.found", {"code": f"race-{race}"}, "because", 24))
        start = Barrier(4)

        def decide(number: int, seen: Seen = seen, start: Barrier = start) -> str:
            start.wait(20)
            try:
                verdict = no(seen) if number == 3 else yes(seen)
                return world.decide(COUNCIL if number % 2 else SECOND, seen.request.number, verdict).state.value
            except NotDecided as error:
                return error.why.value

        with ThreadPoolExecutor(4) as pool:
            said = sorted(pool.map(decide, range(4)))
        assert said.count("already_decided") == 3
        (answer,) = (one for one in said if one != "already_decided")
        assert (f"race-{race}" in world.founded()) is (answer == "approved")
    assert len([step for step, _ in world.steps if step != "asked"]) == 4


def test_what_nobody_can_write_down_does_not_happen(world: World) -> None:
    """The journal fails, or the deed does: no answer, nothing carried out, and both can be tried again."""
    seen = world.ask()
    world.broken = True
    with pytest.raises(DatabaseUnavailable):
        world.decide(COUNCIL, seen.request.number, yes(seen))
    with pytest.raises(DatabaseUnavailable):
        world.ask()
    assert (world.stored(1), world.founded(), len(world.approvals.list(ASKER))) == ("open", ["musterstadt"], 1)
    world.broken = False
    impossible = world.ask(Wish("organisation.found", {"code": "impossible"}, "because", 24))
    with pytest.raises(Conflict, match="cannot be founded"):
        world.decide(COUNCIL, impossible.request.number, yes(impossible))
    assert world.stored(impossible.request.number) == "open"
    world.decide(COUNCIL, seen.request.number, yes(seen))
    assert world.founded() == ["musterstadt", "works"]


def test_what_is_no_request_is_refused(world: World) -> None:
    """Another kind, other or too much content, no reason that a line could hold, an end too early or too late."""
    for wish in NO_REQUESTS:
        with pytest.raises(Conflict):
            world.ask(wish)
    assert world.approvals.list(ASKER) == []


def test_who_may_not_ask_does_not_and_nobody_buries_the_deciders(world: World) -> None:
    for actor in (COUNCIL, somebody(1, "asker", Role.AUDITOR, reach=BOUND), somebody(1, "asker")):
        with pytest.raises(ApiProblem):
            world.ask(actor=actor)
    for _ in range(MAX_OPEN):
        world.ask()
    with pytest.raises(Conflict, match="are open"):
        world.ask()
    world.withdraw(ASKER, 1)
    assert world.ask().request.number == MAX_OPEN + 1


def test_lists_show_ones_own_and_what_one_may_decide_newest_first(world: World) -> None:
    """By pages, each once; whoever has no part in it sees none of it, and finds none by its number."""
    numbers = [world.ask().request.number for _ in range(5)]
    for actor in (ASKER, COUNCIL):
        pages = [world.approvals.list(actor, after=after, limit=2) for after in (0, 4, 2)]
        assert [one.request.number for page in pages for one in page] == numbers[::-1]
    for stranger in (somebody(3, "second", Role.AUDITOR), somebody(3, "second", Role.STAFF_COUNCIL, reach=BOUND)):
        assert world.approvals.list(stranger) == []
        with pytest.raises(NotFound):
            world.approvals.one(stranger, 1)


def test_the_table_of_operations_has_what_kinds_ask_for() -> None:
    """Two kinds of one name cannot be; the content's one text does not depend on its order."""
    assert OPERATIONS[KIND.asks].roles
    with pytest.raises(ValueError, match="one name"):
        by_name((KIND, KIND))
    assert canonical({"b": 1, "a": "ü"}) == canonical({"a": "ü", "b": 1}) == '{"a":"ü","b":1}'
