# SPDX-License-Identifier: EUPL-1.2
"""Reviews of grants on both databases: what nobody answers for ends at the deadline, to the millisecond, by itself."""

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from service import chains
from service.conftest import Place
from service.directory import group, open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice import changes
from cardservice.access import setup
from cardservice.access import store as access
from cardservice.access.review import store
from cardservice.access.review.record import STREAM, by_itself
from cardservice.access.review.reminder import Reminder
from cardservice.access.review.rules import DAY_MS, ItemState, Verdict, Wanted
from cardservice.access.review.service import Answer, NewReview, Reviews, Who
from cardservice.access.review.views import Due, ItemView
from cardservice.access.rules import Level, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.cards import service as cards
from cardservice.database import Databases, open_databases, write
from cardservice.errors import CardServiceError, Conflict, DatabaseUnavailable, NotFound
from cardservice.journal.rules import Place as JournalPlace
from cardservice.journal.service import Journal, verify
from cardservice.journal.store import journal_entry

ADMIN = Who("the desk")
KEEP, END, RENEW = Answer(Verdict.KEEP), Answer(Verdict.END), Answer(Verdict.RENEW, reason="needed")
LOGINS = ("anna", "boris", "carla")


class World:
    """A town with a house with a cellar; each of three people passes one door by a grant of their own kind.

    The office (Anna) passes the cellar's door, the works (Boris) whatever is in the house, Carla the gate, herself.
    Carla is of the keepers, who answer for the house; the works answer for the cellar.
    """

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.databases, self.clock = databases, clock
        people = [someone(login) for login in LOGINS]
        groups = [group("office", "anna"), group("works", "boris"), group("keepers", "carla")]
        tell(open_copy(databases.state, clock), *people, *groups)
        zones = [("town", None), ("house", "town"), ("cellar", "house")]
        self.apply(
            zones=[setup.ZoneSetup(code, code, parent) for code, parent in zones],
            point_classes=[setup.PointClassSetup("plain", "Plain")],
            points=[
                setup.PointSetup(code, code, zone, "plain")
                for code, zone in (("gate", "town"), ("hall", "house"), ("vault", "cellar"))
            ],
            rules=[
                setup.RuleSetup(group="office", point="vault"),
                setup.RuleSetup(group="works", zone="house"),
                setup.RuleSetup(login="carla", point="gate"),
                setup.RuleSetup(login="carla", use=setup.Use.PRINTER, effect="block"),
            ],
        )
        numbers = row_numbers(databases.state)
        cards.register(databases.state, [cards.NewCard(1, numbers[one], (one.encode(),)) for one in LOGINS])
        self.city = City(databases.state, clock)
        self.city.build()
        self.reviews = self.desk(databases)
        self.deadline_ms = clock.now_ms() + 30 * DAY_MS

    def desk(self, databases: Databases) -> Reviews:
        self.journal = Journal(chains.secret)
        return Reviews(
            databases.state, self.clock, by_itself(databases.record, self.journal, self.clock), self.city.catch_up
        )

    def apply(self, **parts: object) -> None:
        setup.apply(self.databases.state, 1, setup.AccessSetup(**parts))

    def begin(self, code: str = "spring", **scope: str) -> dict[str, ItemView]:
        self.reviews.begin(NewReview(code, "Spring", self.deadline_ms, **scope), ADMIN)
        return self.items(code)

    def items(self, code: str = "spring", **wanted: object) -> dict[str, ItemView]:
        """Return the items by whom their grants are for."""
        found = self.reviews.items(Wanted(code, **wanted))
        return {item.group or item.login or f"deleted {item.item}": item for item in found}

    def states(self, code: str = "spring") -> dict[str, str]:
        return {name: item.state.value for name, item in self.items(code).items()}

    def say(self, subject: str, answer: Answer, who: Who = ADMIN, code: str = "spring") -> ItemView:
        return self.reviews.answer(code, self.items(code)[subject].item, answer, who)

    def ends(self) -> dict[int, int | None]:
        """Return where each rule ends."""
        rule = access.access_rule.c
        with self.databases.state.connect() as connection:
            rows = connection.execute(sa.select(rule.id, rule.valid_until_ms).order_by(rule.id))
            return {row.id: row.valid_until_ms for row in rows}

    def passing(self, at_ms: int | None = None) -> dict[str, bool]:
        """Catch up, then have each of the three tap at their door at an instant."""
        self.city.catch_up()
        found = {}
        for login, point in zip(LOGINS, ("vault", "hall", "gate"), strict=True):
            tap = Tap(point, login.encode(), Level.CARD)
            decision = decide(self.city.snapshot, tap, self.clock.now_ms() if at_ms is None else at_ms, 0)
            assert decision.reason in {Reason.GRANTED, Reason.NO_GRANT, Reason.OUTSIDE_SCHEDULE}
            found[login] = decision.permit
        return found

    def set_end(self, subject: str, end_ms: int | None, code: str = "spring") -> None:
        """Have a grant end elsewhere, beside the review."""
        rule = access.access_rule
        with write(self.databases.state) as connection:
            mine = rule.c.id == self.items(code)[subject].grant
            connection.execute(sa.update(rule).where(mine).values(valid_until_ms=end_ms))
            changes.append(connection, "access", [0])

    def lines(self) -> list[dict[str, object]]:
        with self.databases.record.connect() as connection:
            rows = connection.execute(sa.select(journal_entry).order_by(journal_entry.c.sequence)).all()
        return [json.loads(row.payload) for row in rows if row.stream == STREAM]


@pytest.fixture
def world(databases: Databases, clock: FakeClock) -> World:
    return World(databases, clock)


def test_what_nobody_answers_for_ends_at_the_deadline_to_the_millisecond(world: World) -> None:
    """The service that runs and one that was built before see the same, with nobody doing anything at that moment."""
    world.begin()
    world.say("works", KEEP)
    everybody, deadline_ms = dict.fromkeys(LOGINS, True), world.deadline_ms
    assert world.passing() == everybody
    assert world.passing(deadline_ms - 1) == everybody
    assert world.passing(deadline_ms) == {"anna": False, "boris": True, "carla": False}
    assert world.passing(deadline_ms + 300 * DAY_MS) == {"anna": False, "boris": True, "carla": False}
    world.clock.pass_ms(30 * DAY_MS - 1)
    assert world.states() == {"office": "open", "works": "kept", "carla": "open"}
    assert world.passing() == everybody
    world.clock.pass_ms(1)
    assert world.states() == {"office": "lapsed", "works": "kept", "carla": "lapsed"}
    assert world.passing() == {"anna": False, "boris": True, "carla": False}


def test_an_answer_keeps_ends_or_moves_a_grant(world: World) -> None:
    """Kept: the old end; kept until: that one; ended: now. A block is not in a review and stays."""
    blocks = {number: end for number, end in world.ends().items() if number == max(world.ends())}
    before_ms = world.clock.now_ms() + 90 * DAY_MS
    with write(world.databases.state) as connection:
        office = access.access_rule.c.point_id.is_not(None) & access.access_rule.c.group_id.is_not(None)
        connection.execute(sa.update(access.access_rule).where(office).values(valid_until_ms=before_ms))
    items = world.begin()
    assert {item.ends_ms for item in items.values()} == {world.deadline_ms}
    assert world.say("office", KEEP).ends_ms == before_ms
    until_ms = world.deadline_ms + 1
    assert world.say("carla", replace(KEEP, until_ms=until_ms)).ends_ms == until_ms
    world.clock.pass_ms(5)
    ended = world.say("works", replace(END, reason="nobody needs it"))
    assert (ended.state, ended.ends_ms, ended.answered_ms) == (ItemState.ENDED, *[world.clock.now_ms()] * 2)
    assert (ended.answered_by, ended.reason) == ("the desk", "nobody needs it")
    assert world.passing() == {"anna": True, "boris": False, "carla": True}
    assert world.passing(until_ms - 1)["carla"]
    assert not world.passing(until_ms)["carla"]
    assert world.passing(before_ms - 1)["anna"]
    assert not world.passing(before_ms)["anna"]
    assert blocks.items() <= world.ends().items()


def test_a_grant_that_ends_before_the_deadline_anyway_ends_then(world: World) -> None:
    """It is in the review, bounded by its own end; to prolong it takes a new end that somebody names."""
    early_ms = world.clock.now_ms() + DAY_MS
    with write(world.databases.state) as connection:
        connection.execute(sa.update(access.access_rule).values(valid_until_ms=early_ms))
    assert {(item.before_ms, item.bound_ms) for item in world.begin().values()} == {(early_ms, early_ms)}
    assert world.say("works", KEEP).ends_ms == early_ms
    assert world.say("carla", replace(KEEP, until_ms=early_ms + 9)).ends_ms == early_ms + 9
    world.reviews.extend("spring", world.deadline_ms + DAY_MS, ADMIN, reason="holidays")
    assert world.items()["office"].ends_ms == early_ms
    assert world.passing(early_ms) == {"anna": False, "boris": False, "carla": True}
    world.clock.pass_ms(DAY_MS)
    with pytest.raises(Conflict, match="renew it"):
        world.say("office", KEEP)
    with pytest.raises(Conflict, match="say until when"):
        world.say("office", RENEW)
    assert world.say("office", replace(RENEW, until_ms=early_ms + DAY_MS)).state is ItemState.RENEWED
    assert world.passing()["anna"]


def test_what_ended_before_is_not_reviewed(world: World) -> None:
    world.begin()
    world.clock.pass_ms(31 * DAY_MS)
    world.deadline_ms = world.clock.now_ms() + 30 * DAY_MS
    with pytest.raises(Conflict, match="no grant to review"):
        world.begin("autumn")


def test_an_answer_is_given_once(world: World) -> None:
    """The same again is fine, whoever says it and whenever; another is refused and changes nothing."""
    world.begin()
    first = world.say("works", KEEP)
    lines, ends = len(world.lines()), world.ends()
    for other in (END, replace(KEEP, until_ms=world.deadline_ms + 1), RENEW):
        with pytest.raises(Conflict, match=r"was answered on .*: keep"):
            world.say("works", other)
    world.clock.pass_ms(40 * DAY_MS)
    assert world.say("works", KEEP, Who("another")) == first
    assert (len(world.lines()), world.ends()) == (lines, ends)


def test_what_lapsed_is_renewed_by_an_act_with_a_reason(world: World) -> None:
    world.begin()
    with pytest.raises(Conflict, match="has not lapsed"):
        world.say("office", RENEW)
    world.clock.pass_ms(30 * DAY_MS)
    for late in (KEEP, END):
        with pytest.raises(Conflict, match="nobody answered in time"):
            world.say("office", late)
    with pytest.raises(Conflict, match="says why"):
        world.say("office", Answer(Verdict.RENEW))
    assert world.passing() == dict.fromkeys(LOGINS, False)
    assert world.say("office", RENEW).ends_ms is None
    assert world.passing() == {"anna": True, "boris": False, "carla": False}
    assert world.lines()[-1]["kind"] == "grant_renewed"


def test_renewing_does_not_bypass_another_review(world: World) -> None:
    """A lapsed grant that somebody prolonged is in the next review: only an answer there keeps it."""
    world.begin()
    world.clock.pass_ms(30 * DAY_MS)
    world.set_end("office", None)
    assert world.states()["office"] == "prolonged"
    world.deadline_ms += 30 * DAY_MS
    assert world.begin("autumn").keys() == {"office"}
    for prolonging in (RENEW, KEEP, replace(KEEP, until_ms=2**52)):
        with pytest.raises(Conflict, match="review autumn waits"):
            world.say("office", prolonging)
    assert world.passing(world.deadline_ms)["anna"] is False
    assert world.say("office", END).state is ItemState.ENDED
    assert world.passing()["anna"] is False


def test_extending_moves_every_unanswered_end(world: World) -> None:
    """Answers stand; the same deadline again changes nothing; an earlier one, or after the end, is refused."""
    world.begin()
    world.say("works", END)
    later_ms = world.deadline_ms + 7 * DAY_MS
    assert world.reviews.extend("spring", later_ms, ADMIN, reason="holidays").deadline_ms == later_ms
    lines = len(world.lines())
    world.reviews.extend("spring", later_ms, ADMIN, reason="holidays")
    assert len(world.lines()) == lines
    assert world.passing(later_ms - 1) == {"anna": True, "boris": False, "carla": True}
    assert world.passing(later_ms) == dict.fromkeys(LOGINS, False)
    for wrong in (world.deadline_ms, 2**53):
        with pytest.raises(Conflict, match="later deadline"):
            world.reviews.extend("spring", wrong, ADMIN, reason="holidays")
    assert world.say("office", KEEP).ends_ms is None
    world.clock.pass_ms(37 * DAY_MS)
    with pytest.raises(Conflict, match="over since"):
        world.reviews.extend("spring", later_ms + DAY_MS, ADMIN, reason="too late")
    with pytest.raises(Conflict, match="over since"):
        world.reviews.abort("spring", ADMIN, reason="too late")


def test_aborting_gives_every_unanswered_grant_its_old_end(world: World) -> None:
    """What an owner ended stays ended, what was kept until a day ends then; nothing more can be said."""
    before = world.ends()
    items = world.begin()
    world.say("works", END)
    until_ms = world.deadline_ms + DAY_MS
    world.say("carla", replace(KEEP, until_ms=until_ms))
    world.reviews.abort("spring", ADMIN, reason="wrong zone")
    ended = {items["works"].grant: world.clock.now_ms(), items["carla"].grant: until_ms}
    assert world.ends() == before | ended
    assert world.states() == {"office": "aborted", "works": "ended", "carla": "kept"}
    for answer in (KEEP, END, RENEW):
        with pytest.raises(Conflict, match="was aborted"):
            world.say("office", answer)
    with pytest.raises(Conflict, match="was aborted"):
        world.reviews.extend("spring", world.deadline_ms + 1, ADMIN, reason="no")
    lines = len(world.lines())
    assert world.reviews.abort("spring", ADMIN, reason="again").aborted_ms == world.clock.now_ms()
    assert len(world.lines()) == lines
    assert world.begin("second").keys() == {"office", "carla"}


def test_an_end_set_beside_the_review_stands(world: World) -> None:
    """Neither extending nor aborting nor keeping overrules what an administrator set meanwhile; the list shows it."""
    world.begin()
    sooner_ms, later_ms = world.deadline_ms - DAY_MS, world.deadline_ms + 99 * DAY_MS
    world.set_end("office", sooner_ms)
    world.set_end("works", later_ms)
    world.reviews.extend("spring", world.deadline_ms + DAY_MS, ADMIN, reason="holidays")
    assert world.states() == {"office": "open", "works": "prolonged", "carla": "open"}
    assert world.items(unanswered=True).keys() == {"office", "works", "carla"}
    assert world.say("office", KEEP).ends_ms == sooner_ms
    world.reviews.abort("spring", ADMIN, reason="wrong zone")
    assert sorted(end for end in world.ends().values() if end is not None) == [sooner_ms, later_ms]


def test_grants_made_after_the_beginning_are_not_in_the_review(world: World) -> None:
    """Not even one that gets the row number of a grant deleted meanwhile."""
    before = world.begin(zone="town")
    rule = access.access_rule
    with write(world.databases.state) as connection:
        connection.execute(sa.delete(rule).where(rule.c.effect == "block"))
        connection.execute(sa.delete(rule).where(rule.c.id == before["carla"].grant))
        changes.append(connection, "access", [0])
    assert not world.passing()["carla"]
    deleted = f"deleted {before['carla'].item}"
    world.apply(rules=[setup.RuleSetup(login="carla", point="gate")])
    if world.databases.state.dialect.name == "sqlite":
        assert max(world.ends()) == before["carla"].grant
    assert world.states() == {"office": "open", "works": "open", deleted: "deleted"}
    with pytest.raises(Conflict, match="was deleted"):
        world.say(deleted, KEEP)
    assert world.passing(world.deadline_ms) == {"anna": False, "boris": False, "carla": True}
    world.reviews.extend("spring", world.deadline_ms + DAY_MS, ADMIN, reason="holidays")
    world.reviews.abort("spring", ADMIN, reason="wrong zone")
    assert {end for number, end in world.ends().items() if number != before["carla"].grant} == {None}


def test_a_review_is_of_a_zone_with_what_is_inside_or_of_one_group(world: World) -> None:
    assert world.begin("cellar", zone="cellar").keys() == {"office"}
    assert world.begin("works", group="works").keys() == {"works"}
    with pytest.raises(Conflict, match="review cellar waits for some"):
        world.begin("house", zone="house")
    world.say("office", KEEP, code="cellar")
    world.say("works", KEEP, code="works")
    assert world.begin("house", zone="house").keys() == {"office", "works"}
    world.reviews.abort("house", ADMIN, reason="x")
    assert world.begin("all").keys() == {"office", "works", "carla"}


def own(world: World, name: str | None, **what: object) -> None:
    world.reviews.set_owner(ADMIN, name, **what)


def test_the_nearest_owner_at_the_beginning_answers(world: World) -> None:
    """Of the grant, of its zone, of the nearest zone around; a group that is gone is none; later owners count later."""
    own(world, "keepers", zone="house")
    assert {name: item.owner for name, item in world.begin("one").items()} == {
        "office": "keepers",
        "works": "keepers",
        "carla": None,
    }
    own(world, "works", zone="cellar")
    own(world, "office", zone="town")
    own(world, "office", grant=world.items("one")["works"].grant)
    assert world.items("one")["office"].owner == "keepers"
    assert set(world.reviews.list()[0].due) == {Due("keepers", 2), Due(None, 1)}
    world.reviews.abort("one", ADMIN, reason="x")
    owners = {name: item.owner for name, item in world.begin("two").items()}
    assert owners == {"office": "works", "works": "office", "carla": "office"}
    assert world.items("two", owner="office").keys() == {"works", "carla"}
    assert world.items("two", nobodys=True) == {}
    world.reviews.abort("two", ADMIN, reason="x")
    tell(open_copy(world.databases.state, world.clock), removed=("works",))
    own(world, None, zone="town")
    owners = {item.grant: item.owner for item in world.begin("three").values()}
    assert sorted(map(str, owners.values())) == ["None", "keepers", "office"]
    for wrong in ({"zone": "nowhere"}, {"grant": 10**6}, {"grant": max(world.ends())}):
        with pytest.raises(NotFound):
            own(world, "office", **wrong)
    for twofold in ({}, {"zone": "town", "grant": 1}):
        with pytest.raises(Conflict, match="a zone or of a grant"):
            own(world, "office", **twofold)


def test_a_member_of_the_owner_answers_and_nobody_else_by_name(world: World) -> None:
    """Not for another owner's grants, not for nobody's, and never for a grant of their own."""
    own(world, "keepers", zone="town")
    own(world, "works", zone="cellar")
    world.begin()
    for login, subject in (("boris", "works"), ("carla", "office"), ("anna", "office")):
        with pytest.raises(Conflict, match="not a member"):
            world.say(subject, KEEP, Who("portal", login))
    with pytest.raises(Conflict, match="grant of their own"):
        world.say("carla", KEEP, Who("portal", "carla"))
    with pytest.raises(NotFound, match="nobody who may answer"):
        world.say("works", KEEP, Who("portal", "nobody"))
    assert world.states() == {"office": "open", "works": "open", "carla": "open"}
    assert world.say("office", KEEP, Who("portal", "boris")).answered_by == "boris"
    assert world.say("works", END, Who("portal", "carla")).answered_by == "carla"


def test_every_act_is_a_change_and_a_line_that_names_nobody(world: World) -> None:
    """Who and why are sealed; the chain verifies."""
    own(world, "works", zone="cellar")
    world.begin(zone="house")
    world.say("office", replace(KEEP, reason="für Frau Krüger"), Who("portal", "boris"))
    world.say("works", END)
    world.reviews.extend("spring", world.deadline_ms + 1, Who("Ute Klein"), reason="Urlaub Krüger")
    world.reviews.abort("spring", Who("Ute Klein"), reason="Urlaub Krüger")
    lines = world.lines()
    assert [line["kind"] for line in lines] == [
        *("owner_set", "review_begun", "grant_kept", "grant_ended", "review_extended", "review_aborted"),
    ]
    begun = {"kind": "review_begun", "review": "spring", "zone": "house", "grants": 2}
    assert lines[1] == begun | {"deadline_ms": world.deadline_ms}
    assert not any(name in json.dumps(lines, ensure_ascii=False) for name in ("boris", "Krüger", "Klein", "portal"))
    with world.databases.record.connect() as connection:
        row = connection.execute(sa.select(journal_entry).where(journal_entry.c.sequence == 3)).one()
        sealed = world.journal.open_sealed(connection, JournalPlace(row.stream, row.epoch, row.sequence))
    assert sealed == {"by": "portal", "login": "boris", "reason": "für Frau Krüger"}
    verify(world.databases.record)


def test_without_its_line_nothing_is_changed(world: World) -> None:
    """A journal that cannot be written: no review begins, no right is prolonged."""
    world.begin("cellar", zone="cellar")

    def full(*_: object) -> None:
        raise DatabaseUnavailable("the disk is full")

    closed = Reviews(world.databases.state, world.clock, full, world.city.catch_up)
    before, item = world.ends(), world.items("cellar")["office"].item
    deeds: list[Callable[[], object]] = [
        lambda: closed.begin(NewReview("rest", "Rest", world.deadline_ms, group="works"), ADMIN),
        lambda: closed.answer("cellar", item, KEEP, ADMIN),
        lambda: closed.extend("cellar", world.deadline_ms + 1, ADMIN, reason="x"),
        lambda: closed.abort("cellar", ADMIN, reason="x"),
    ]
    for deed in deeds:
        with pytest.raises(DatabaseUnavailable):
            deed()
    assert world.ends() == before
    assert [one.code for one in world.reviews.list()] == ["cellar"]
    assert world.states("cellar") == {"office": "open"}


def killed_at(place: Place, statement: int, deed: Callable[[Databases], object]) -> bool:
    """Do it in a process that is killed before its n-th statement; True if it was, False if it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            databases, left = open_databases(place.url), [statement]

            def count(*_: object) -> None:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

            sa.event.listen(databases.state, "before_cursor_execute", count)
            sa.event.listen(databases.state, "commit", count)
            deed(databases)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}
    return status != 0


@pytest.mark.parametrize("act", ["begin", "extend", "abort", "keep"])
def test_killed_between_any_two_steps_there_is_no_half_review(world: World, place: Place, act: str) -> None:
    """Before every statement and before the commit: afterwards all is as it was; at last it is done whole."""
    office = 0
    if act != "begin":
        office = world.begin()["office"].item
    deeds: dict[str, Callable[[Reviews], object]] = {
        "begin": lambda reviews: reviews.begin(NewReview("spring", "Spring", world.deadline_ms), ADMIN),
        "extend": lambda reviews: reviews.extend("spring", world.deadline_ms + DAY_MS, ADMIN, reason="x"),
        "abort": lambda reviews: reviews.abort("spring", ADMIN, reason="x"),
        "keep": lambda reviews: reviews.answer("spring", office, KEEP, ADMIN),
    }

    def stored() -> object:
        with world.databases.state.connect() as connection:
            tables = (store.access_review, store.access_review_item, changes.changes)
            return [connection.execute(sa.select(table)).all() for table in tables], world.ends()

    before, steps = stored(), 1
    while killed_at(place, steps, lambda databases: deeds[act](world.desk(databases))):
        assert stored() == before, steps
        steps += 1
        assert steps < 60
    assert steps > 5
    assert stored() != before
    verify(world.databases.record)


def at_once(*deeds: Callable[[], object]) -> list[object]:
    """Do all of it at the same time; return what each gave or raised."""
    gate, outcomes = threading.Barrier(len(deeds)), [None] * len(deeds)

    def run(number: int) -> None:
        gate.wait(10)
        try:
            outcomes[number] = deeds[number]()
        except CardServiceError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(deeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def test_two_administrators_at_once(world: World) -> None:
    """Of two reviews that overlap one begins; of two different answers one counts; of two same ones both do."""
    other = world.desk(world.databases)
    deeds = [
        lambda: world.reviews.begin(NewReview("one", "One", world.deadline_ms), ADMIN),
        lambda: other.begin(NewReview("two", "Two", world.deadline_ms, zone="house"), ADMIN),
    ]
    outcomes = at_once(*deeds)
    assert sorted(isinstance(one, Conflict) for one in outcomes) == [False, True], outcomes
    ((begun,), winner) = [one.code for one in world.reviews.list()], world.reviews
    office, works = (world.items(begun)[name].item for name in ("office", "works"))
    outcomes = at_once(
        lambda: winner.answer(begun, office, KEEP, Who("one")), lambda: other.answer(begun, office, END, Who("two"))
    )
    assert sorted(isinstance(one, Conflict) for one in outcomes) == [False, True], outcomes
    outcomes = at_once(
        lambda: winner.answer(begun, works, KEEP, Who("one")), lambda: other.answer(begun, works, KEEP, Who("two"))
    )
    assert [one.state for one in outcomes] == [ItemState.KEPT] * 2
    assert len([line for line in world.lines() if line.get("item") == works]) == 1


def test_what_contradicts_is_refused_whole(world: World) -> None:
    """A deadline within a day would shut the city before anybody has read of it."""
    good = NewReview("spring", "Spring", world.deadline_ms)
    now_ms = world.clock.now_ms()
    wrong = [
        replace(good, code="Spring 1"),
        replace(good, name=" "),
        replace(good, deadline_ms=now_ms + DAY_MS - 1),
        replace(good, deadline_ms=2**53),
        replace(good, zone="town", group="works"),
        replace(good, group="keepers"),
    ]
    for one in wrong:
        with pytest.raises(Conflict):
            world.reviews.begin(one, ADMIN)
    for unknown in (replace(good, zone="nowhere"), replace(good, group="nobody")):
        with pytest.raises(NotFound):
            world.reviews.begin(unknown, ADMIN)
    assert (world.reviews.list(), world.lines(), set(world.ends().values())) == ((), [], {None})
    begun = world.reviews.begin(good, ADMIN)
    assert world.reviews.begin(good, ADMIN) == begun
    assert len(world.lines()) == 1
    with pytest.raises(Conflict, match="a review spring already"):
        world.reviews.begin(replace(good, name="Other"), ADMIN)
    for deed in (
        lambda: world.reviews.items(Wanted("none")),
        lambda: world.reviews.abort("none", ADMIN, reason="x"),
        lambda: world.reviews.answer("none", 1, KEEP, ADMIN),
        lambda: world.reviews.answer("spring", 10**6, KEEP, ADMIN),
    ):
        with pytest.raises(NotFound):
            deed()


def test_lists_go_on_where_they_stopped(world: World) -> None:
    world.begin("one", zone="cellar")
    world.begin("two", group="works")
    first = world.reviews.list(limit=1)
    assert [one.code for one in (*first, *world.reviews.list(first[0].number))] == ["one", "two"]
    (item,) = world.reviews.items(Wanted(), limit=1)
    assert [one.review for one in world.reviews.items(Wanted(after=item.item))] == ["two"]


def test_the_reminder_counts_what_is_unanswered(world: World) -> None:
    """Sentences from a week before the end to a week after it, and a gauge; told of by the reviews alone."""
    reminder = Reminder(world.databases.state, world.clock)
    world.begin()
    reminder.refresh()
    assert reminder.sentences() == []
    world.clock.pass_ms(27 * DAY_MS)
    assert reminder.sentences() == [
        "review spring: 3 of 3 grants are unanswered, 3 days left; they end on 2026-04-15T09:00:00+00:00"
    ]
    world.say("office", KEEP)
    world.set_end("works", None)
    reminder.refresh()
    (metric,) = reminder.collect()
    assert [(one.name, one.labels, one.value) for one in metric.samples] == [
        ("cardservice_review_unanswered", {"review": "spring"}, 2)
    ]
    assert "2 of 3 grants are unanswered, 3 days left" in reminder.sentences()[0]
    assert "1 of them were given a later end" in reminder.sentences()[0]
    world.clock.pass_ms(3 * DAY_MS)
    assert "2 of 3 grants were not answered and ended" in reminder.sentences()[0]
    world.clock.pass_ms(8 * DAY_MS)
    assert reminder.sentences() == []
