# SPDX-License-Identifier: EUPL-1.2
"""People outside the directory in the stores: what is refused, what the next tap sees, and what is left in the end."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa
from service.directory import group, open_all, row_numbers, someone, tell
from service.facts import DAY_MS
from service.fake_clock import FakeClock
from support.waiting import wait_until

from cardservice import changes
from cardservice.access import setup
from cardservice.access.explain.rules import Said
from cardservice.access.explain.service import Explainer, Inquiry
from cardservice.access.plan.service import Plans
from cardservice.access.plan.text import write_model
from cardservice.access.rules import HouseRules, Level, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.cards.rules import desfire_credential
from cardservice.cards.service import NewCard, register
from cardservice.clock import UNKNOWN_AGE_MS
from cardservice.database import Databases, read, write
from cardservice.errors import Conflict, NotFound
from cardservice.people.directories import Directories
from cardservice.people.holds.service import list_holds
from cardservice.people.live import LivePeople
from cardservice.people.lookup import groups_called, person_by_stable_id
from cardservice.people.outsiders.book import OutsiderBook
from cardservice.people.outsiders.rules import Bounds, Kind, State
from cardservice.people.outsiders.service import (
    NameTaken,
    Outsiders,
    OwnSponsor,
    SponsorUnfit,
    TimeUnfit,
    Who,
    Wish,
    erase_ended,
)
from cardservice.people.outsiders.store import outsider
from cardservice.people.outsiders.upkeep import Upkeep
from cardservice.people.outsiders.views import OutsidersWanted, OutsiderView, Which
from cardservice.people.overview import stored_age_ms
from cardservice.people.rules import OUTSIDE, DirectoryPerson, Sponsored
from cardservice.people.store import directory_group, load_groups, load_people, person, store_copy
from cardservice.web.once import Asked
from cardservice.web.reach import EVERYWHERE, Reach

KEY = desfire_credential("door", b"erika's card")
CLERK = Who("clerk")
EVERY = (EVERYWHERE,)
BOUNDS = Bounds(max_days=30, erase_days=90)
ACCESS = setup.AccessSetup(
    zones=[setup.ZoneSetup("hall", "Hall")],
    point_classes=[setup.PointClassSetup("plain", "Plain", freshness_ms=60_000)],
    points=[setup.PointSetup("door", "Door", "hall", "plain")],
    rules=[setup.RuleSetup(group="roofers", point="door")],
)


@dataclass
class Town:
    """Anna of the building office answers for Erika, who repairs roofs; roofers may pass the door."""

    databases: Databases
    clock: FakeClock
    directories: Directories = field(init=False)
    published: int = 0

    def __post_init__(self) -> None:
        self.book = OutsiderBook(self.databases.state)
        copies = open_all(self.databases.state, self.clock, "city").copies
        self.directories = Directories(copies, self.book)
        (self.copy,) = copies
        tell(self.copy, someone("anna", department="Bau"), someone("bert", department="IT"), group("office", "anna"))
        self.city = City(self.databases.state, self.clock, self._changed)
        self.city.build()
        self.desk = Outsiders(self.databases.state, self.clock, BOUNDS, self.city.catch_up)
        self.roofers = int(self.desk.add_group("roofers")["group"])
        setup.apply(self.databases.state, 1, ACCESS)
        self.erika = int(self.desk.add(self.wish(), CLERK)["person"])
        register(self.databases.state, [NewCard(1, self.erika, (KEY,))])
        self.city.catch_up()

    def _changed(self, kinds: frozenset[changes.ChangeKind]) -> None:
        if "outsider" in kinds:
            self.book.refresh()

    def number(self, login: str) -> int:
        return row_numbers(self.databases.state)[login]

    def wish(self, **changed: Any) -> Wish:
        until_ms = self.clock.now_ms() + 10 * DAY_MS
        usual = Wish("Erika Muster", self.number("anna"), until_ms, "roof", groups=frozenset({self.roofers}))
        return replace(usual, **changed)

    def view(self) -> OutsiderView:
        return self.desk.one(self.erika, EVERY)

    def tap(self, age_ms: int | None = None) -> Reason:
        """What the door answers now; the age is the one that counts for her."""
        self.city.catch_up()
        age_ms = self.directories.age_ms_of(self.erika) if age_ms is None else age_ms
        return decide(self.city.snapshot, Tap("door", KEY, Level.CARD), self.clock.now_ms(), age_ms).reason

    def listed(self, which: Which, *reaches: Reach) -> list[int]:
        return [one.person for one in self.desk.list(OutsidersWanted(which), reaches or EVERY)]


@pytest.fixture
def town(databases: Databases, clock: FakeClock) -> Town:
    return Town(databases, clock)


def test_somebody_is_added_and_passes_by_their_group_until_the_very_end(town: Town) -> None:
    """The last millisecond before the end opens the door, the end itself does not; the end is told with its reason."""
    assert town.tap() is Reason.GRANTED
    view = town.view()
    assert (view.name, view.state, view.sponsor.login, view.department) == (
        "Erika Muster",
        State.CURRENT,
        "anna",
        "Bau",
    )
    assert [one.name for one in view.groups] == ["roofers"]
    town.clock.pass_ms(10 * DAY_MS - 1)
    assert town.tap() is Reason.GRANTED
    town.clock.pass_ms(1)
    assert (town.tap(), town.view().state) == (Reason.PERSON_EXPIRED, State.ENDED)


def test_who_has_not_begun_yet_is_refused_until_then(town: Town) -> None:
    town.desk.change(town.erika, town.wish(from_ms=town.clock.now_ms() + 5), CLERK)
    assert (town.tap(), town.view().state) == (Reason.PERSON_NOT_YET_VALID, State.NOT_YET)
    town.clock.pass_ms(5)
    assert town.tap() is Reason.GRANTED


GONE: dict[str, Callable[[Town], None]] = {
    "left": lambda town: tell(town.copy, removed=("anna",)),
    "disabled": lambda town: tell(town.copy, someone("anna", department="Bau", enabled=False)),
    "expired": lambda town: tell(town.copy, someone("anna", department="Bau", valid_until_ms=town.clock.now_ms())),
    "early": lambda town: tell(town.copy, someone("anna", department="Bau", valid_from_ms=town.clock.now_ms() + 1)),
}


@pytest.mark.parametrize("how", GONE)
def test_without_a_sponsor_nobody_passes_until_they_are_back_or_another_takes_over(town: Town, how: str) -> None:
    """One step of the change log, whatever took the sponsor away; the list of who needs another one says so."""
    GONE[how](town)
    assert (town.tap(), town.view().state) == (Reason.NO_SPONSOR, State.NO_SPONSOR)
    assert town.listed(Which.NO_SPONSOR) == [town.erika]
    tell(town.copy, someone("anna", department="Bau"))
    assert (town.tap(), town.listed(Which.NO_SPONSOR)) == (Reason.GRANTED, [])
    GONE[how](town)
    assert town.tap() is Reason.NO_SPONSOR
    town.desk.change(town.erika, town.wish(sponsor=town.number("bert")), CLERK)
    assert (town.tap(), town.view().sponsor.login) == (Reason.GRANTED, "bert")
    # She belongs where whoever answers for her does.
    assert town.view().department == "IT"


def test_a_sponsor_s_own_end_counts_to_the_millisecond(town: Town) -> None:
    """Compared at the tap like everybody's: nothing has to happen at that instant."""
    tell(town.copy, someone("anna", valid_until_ms=town.clock.now_ms() + 100))
    town.clock.pass_ms(99)
    assert town.tap() is Reason.GRANTED
    town.clock.pass_ms(1)
    assert town.tap() is Reason.NO_SPONSOR


def test_a_sponsor_who_typed_wrong_passwords_still_answers(town: Town) -> None:
    """Anybody can have somebody locked out."""
    tell(town.copy, someone("anna", locked_until_ms=town.clock.now_ms() + DAY_MS))
    assert town.tap() is Reason.GRANTED


def test_followed_step_by_step_it_equals_the_city_compiled_anew(town: Town) -> None:
    for how in ("disabled", "left"):
        GONE[how](town)
        town.tap()
        anew = City(town.databases.state, town.clock)
        anew.build()
        assert anew.snapshot.content_hash() == town.city.snapshot.content_hash()


def test_a_directory_that_hangs_makes_nobody_stale_whom_the_service_keeps(town: Town) -> None:
    """For people of the directory the age of its copy counts, for her what the service knows itself: always fresh."""
    town.clock.pass_ms(DAY_MS)
    anna = town.number("anna")
    assert town.directories.age_ms_of(anna) == UNKNOWN_AGE_MS
    assert town.directories.age_ms_of(town.erika) == 0
    assert town.tap() is Reason.GRANTED
    assert town.tap(UNKNOWN_AGE_MS) is Reason.DIRECTORY_STALE
    state, now_ms = town.databases.state, town.clock.now_ms()
    assert stored_age_ms(state, ("city",), town.erika, now_ms) == 0
    assert stored_age_ms(state, ("city",), anna, now_ms) is None
    with write(state) as connection:
        store_copy(connection, "city", verified_at_ms=now_ms - 7)
    assert stored_age_ms(state, ("city",), anna, now_ms) == 7


def test_whoever_cannot_answer_is_refused_as_sponsor(town: Town) -> None:
    """Gone, disabled, expired, unknown, outside the directory, out of reach, or whoever acts themselves."""
    tell(town.copy, someone("dora", enabled=False), someone("emil"), someone("fina", valid_until_ms=1))
    tell(town.copy, removed=("emil",))
    before = town.view()
    for sponsor in (*map(town.number, ("dora", "emil", "fina")), 999_999, town.erika):
        with pytest.raises(SponsorUnfit):
            town.desk.add(town.wish(sponsor=sponsor), CLERK)
        with pytest.raises(SponsorUnfit):
            town.desk.change(town.erika, town.wish(sponsor=sponsor), CLERK)
    anna = town.number("anna")
    with pytest.raises(OwnSponsor):
        town.desk.add(town.wish(), Who("anna", anna))
    with pytest.raises(OwnSponsor):
        town.desk.change(town.erika, town.wish(until_ms=before.until_ms + DAY_MS), Who("anna", anna))
    it = Who("it", None, (Reach(units=frozenset({"IT"})),))
    with pytest.raises(SponsorUnfit):
        town.desk.add(town.wish(), it)
    with pytest.raises(NotFound):
        town.desk.change(town.erika, town.wish(), it)
    assert town.view() == before
    assert [one.login for one in town.desk.sponsors("a", CLERK, 10)] == ["anna"]
    assert town.desk.sponsors("anna", Who("anna", anna), 10) == ()
    assert town.desk.sponsors("anna", it, 10) == ()


def test_an_end_is_set_by_hand_and_never_further_off_than_the_settings_allow(town: Town) -> None:
    """30 days from whenever somebody extends; what stands is not touched by another change."""
    now_ms = town.clock.now_ms()
    for until_ms in (now_ms, now_ms - 1, now_ms + 30 * DAY_MS + 1):
        with pytest.raises(TimeUnfit):
            town.desk.add(town.wish(until_ms=until_ms), CLERK)
        with pytest.raises(TimeUnfit):
            town.desk.change(town.erika, town.wish(until_ms=until_ms), CLERK)
    town.clock.pass_ms(20 * DAY_MS)
    assert town.view().state is State.ENDED
    later_ms = town.clock.now_ms() + 30 * DAY_MS
    town.desk.change(town.erika, town.wish(until_ms=later_ms), CLERK)
    assert (town.tap(), town.view().until_ms, town.view().from_ms) == (Reason.GRANTED, later_ms, now_ms)


def test_an_end_now_is_an_end_at_once_and_once(town: Town) -> None:
    """The next tap is refused; the same request again, and another one after it, leave the instant as it is."""
    asked = Asked("person:1", "k" * 8, "outsiders.end", {})
    first = town.desk.end(town.erika, CLERK, "done", asked)
    assert (town.tap(), first["state"]) == (Reason.PERSON_EXPIRED, "ended")
    ended_ms = town.clock.now_ms()
    town.clock.pass_ms(1_000)
    assert town.desk.end(town.erika, CLERK, "done", asked) == first
    assert town.desk.end(town.erika, CLERK, "again")["until_ms"] == ended_ms
    early = int(town.desk.add(town.wish(name="Otto", from_ms=town.clock.now_ms() + 5), CLERK)["person"])
    never = town.desk.end(early, CLERK, "does not come")
    assert never["from_ms"] == never["until_ms"] == town.clock.now_ms()


def test_adding_once_for_each_request(town: Town) -> None:
    asked = Asked("person:1", "k" * 8, "outsiders.add", {})
    numbers = {town.desk.add(town.wish(name="Otto"), CLERK, asked)["person"] for _ in range(2)}
    assert len(numbers) == 1
    assert town.listed(Which.HERE) == [town.erika, *numbers]


def test_lists_are_about_those_within_reach_and_by_their_end(town: Town) -> None:
    """By the organisation and department of whoever answers; who ends within 30 days, has ended, or is called so."""
    now_ms = town.clock.now_ms()
    far = Outsiders(town.databases.state, town.clock)
    otto = int(far.add(town.wish(name="Otto", until_ms=now_ms + 31 * DAY_MS, company="Dach AG"), CLERK)["person"])
    assert town.listed(Which.HERE) == [town.erika, otto]
    assert town.listed(Which.SOON) == [town.erika]
    assert town.listed(Which.HERE, Reach(units=frozenset({"IT"}))) == []
    assert town.listed(Which.HERE, Reach(units=frozenset({"Bau"}))) == [town.erika, otto]
    assert town.listed(Which.HERE, Reach(organisations=frozenset({"elsewhere"}))) == []
    assert town.listed(Which.HERE, Reach(zones=frozenset({"hall"}))) == []
    town.desk.end(otto, CLERK, "done")
    assert (town.listed(Which.ENDED), town.listed(Which.HERE)) == ([otto], [town.erika])
    assert town.listed(Which.ALL) == [town.erika, otto]
    for text, found in (("MUSTER", [town.erika]), ("dach", [otto]), ("%", [])):
        wanted = OutsidersWanted(Which.ALL, text)
        assert [one.person for one in town.desk.list(wanted, EVERY)] == found, text
    assert [one.person for one in town.desk.of_sponsor(town.number("anna"))] == [town.erika]
    assert town.desk.of_sponsor(town.number("bert")) == ()
    assert [one.person for one in town.desk.list(OutsidersWanted(Which.ALL), EVERY, town.erika, 1)] == [otto]


def test_groups_of_the_service_s_own_are_for_outsiders_alone(town: Town) -> None:
    """Their names are no other group's, a directory's group takes nobody in, and no role comes of one."""
    for taken in ("roofers", "office"):
        with pytest.raises(NameTaken):
            town.desk.add_group(taken)
    with read(town.databases.state) as connection:
        office = load_groups(connection, "city")["office"]
        mine = load_groups(connection, OUTSIDE)
    with pytest.raises(NotFound):
        town.desk.change(town.erika, town.wish(groups=frozenset({office.row})), CLERK)
    assert [one.entry.member_dns for one in mine.values()] == [frozenset({f"outside={erika_id(town)}"})]
    assert groups_called(town.databases.state, {"roofers"}, set(mine)) == []
    assert [one.row for one in groups_called(town.databases.state, {"office"}, set())] == [office.row]
    with pytest.raises(Conflict, match="1 people"):
        town.desk.remove_group(town.roofers)
    town.desk.change(town.erika, town.wish(groups=frozenset()), CLERK)
    assert town.tap() is Reason.NO_GRANT
    town.desk.remove_group(town.roofers)
    assert town.desk.groups() == ()
    assert town.desk.add_group("roofers")["group"] != town.roofers


def erika_id(town: Town) -> str:
    with read(town.databases.state) as connection:
        found: str = connection.execute(sa.select(person.c.stable_id).where(person.c.id == town.erika)).scalar_one()
    return found


def test_nobody_outside_the_directory_can_sign_in(town: Town) -> None:
    """No login, no password, and a provider that names their id names nobody."""
    assert person_by_stable_id(town.databases.state, erika_id(town)) is None
    assert person_by_stable_id(town.databases.state, "anna") == town.number("anna")
    assert town.directories.login_of(town.erika) is None


def test_a_directory_never_takes_them_away_and_its_guard_does_not_count_them(town: Town, clock: FakeClock) -> None:
    """A whole reading that names none of them, a restart, a mass removal: they stay, and the sums are without them."""
    before = [load(town) for _ in range(1)]
    known = set(town.copy.known_dns())
    tell(town.copy, someone("anna", department="Bau"), cookie="c2", complete=True, removed=("bert",))
    assert town.copy.status().people == 1
    assert set(town.copy.known_dns()) == known - {"bert"}
    for name in range(30):
        town.desk.add(town.wish(name=f"guest {name}"), CLERK)
    assert town.copy.status().people == 1
    again = open_all(town.databases.state, clock, "city").copies[0]
    tell(again, someone("anna", department="Bau"), cookie="c3", complete=True)
    assert [load(town)] == before
    many = [someone(f"p{number}") for number in range(40)]
    tell(again, *many)
    tell(again, removed=tuple(f"p{number}" for number in range(22)))
    (hold,) = list_holds(town.databases.state)
    assert (hold.lost, again.status().people) == (22, 41)
    assert town.tap() is Reason.GRANTED


def load(town: Town) -> Any:
    with read(town.databases.state) as connection:
        return {
            stable_id: one
            for stable_id, one in load_people(connection, OUTSIDE).items()
            if "guest" not in one.entry.name
        }


def test_a_name_is_erased_so_many_days_after_the_end_and_the_number_stays(town: Town) -> None:
    """Not a millisecond earlier; once; card, time and sponsor stand, nothing can be changed any more."""
    town.desk.change(town.erika, town.wish(mail="erika@dach.example", company="Dach AG"), CLERK)
    end_ms = town.view().until_ms
    town.clock.pass_ms(end_ms - town.clock.now_ms() + 90 * DAY_MS - 1)
    assert erase(town) == 0
    town.clock.pass_ms(1)
    assert (erase(town), erase(town)) == (1, 0)
    view = town.view()
    assert (view.name, view.mail, view.company, view.reason, view.groups) == ("", None, None, "", ())
    assert (view.person, view.until_ms, view.state) == (town.erika, end_ms, State.ERASED)
    assert town.tap() is Reason.PERSON_LEFT
    assert town.listed(Which.ENDED) == []
    assert town.listed(Which.ALL) == [town.erika]
    for act in (
        lambda: town.desk.change(town.erika, town.wish(), CLERK),
        lambda: town.desk.end(town.erika, CLERK, "late"),
    ):
        with pytest.raises(Conflict):
            act()
    kept = everything(town)
    assert not [word for word in ("Erika", "Muster", "dach.example", "Dach AG") if word in kept]


def erase(town: Town) -> int:
    return erase_ended(town.databases.state, town.clock.now_ms(), BOUNDS)


def everything(town: Town) -> str:
    """Every value of the rows about her."""
    with read(town.databases.state) as connection:
        rows = [connection.execute(sa.select(table)).all() for table in (person, outsider, directory_group)]
    return str(rows)


def test_more_than_one_transaction_erases_are_erased(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardservice.people.outsiders.service.ERASED_AT_ONCE", 2)
    for name in range(4):
        town.desk.add(town.wish(name=f"guest {name}"), CLERK)
    town.clock.pass_ms(200 * DAY_MS)
    assert (erase(town), town.listed(Which.ENDED)) == (5, [])


def test_an_explanation_names_who_answers_and_asks_no_directory(town: Town) -> None:
    """In order, gone, and at the end; every step comes to what the door answers."""
    seen = explained(town)
    assert (seen[Said.OUTSIDER_IN_ORDER]["name"], seen[Said.SPONSOR_ANSWERS]["login"]) == ("Erika Muster", "anna")
    assert Said.KEPT_HERE in seen
    assert Said.HOLDER_IN_ORDER not in seen
    for how, said in (("disabled", Said.SPONSOR_DISABLED), ("left", Said.SPONSOR_LEFT)):
        GONE[how](town)
        assert said in explained(town)
    tell(town.copy, someone("anna", valid_until_ms=town.clock.now_ms()))
    assert explained(town)[Said.ENDED]["whose"] == "sponsor"
    town.clock.pass_ms(10 * DAY_MS)
    assert explained(town)[Said.ENDED]["whose"] in {"sponsor", "outsider"}
    town.clock.pass_ms(200 * DAY_MS)
    erase(town)
    assert Said.OUTSIDER_ENDED in explained(town)


def explained(town: Town) -> dict[Said, Any]:
    """What the explanation found; its steps must come to the answer of a tap."""
    explainer = Explainer(town.databases.state, town.clock, town.directories.age_ms_of, HouseRules())
    with read(town.databases.state) as connection:
        card = connection.execute(sa.text("SELECT reference FROM card")).scalar_one()
    (answer,) = explainer.explain(Inquiry("door", card=card)).answers
    assert answer.reason is town.tap()
    assert next((step.refusal for step in answer.steps if step.refusal), Reason.GRANTED) is answer.reason
    return {finding.said: finding.facts for step in answer.steps for finding in step.findings}


def test_what_if_names_them_among_their_group(town: Town) -> None:
    """Without the grant to the group of the service's own, whoever is in it loses the door; she has no login."""
    plans = Plans(town.databases.state, town.clock, {})
    outlook = plans.what_if(write_model(replace(ACCESS, rules=[])).encode(), listed=5)
    assert [(one.point, one.name, one.login) for one in outlook.listed] == [("door", "Erika Muster", None)]


class AskedLive:
    """A directory that shows one person, and notes who was asked about."""

    def __init__(self, shown: DirectoryPerson | None) -> None:
        self.shown = shown
        self.asked: list[str] = []

    def read(self, stable_id: str, limit_s: float) -> DirectoryPerson | None:
        assert limit_s > 0
        self.asked.append(stable_id)
        return self.shown

    def close(self) -> None:
        """Nothing is open."""


async def test_where_the_directory_itself_is_asked_it_is_asked_for_the_sponsor(town: Town) -> None:
    """Of her what the service keeps, of Anna what the directory shows now; of the erased nothing."""
    anna = someone("anna")
    reader = AskedLive(anna)
    live = LivePeople(town.databases.state, {"city": reader})
    try:
        found = await live.person(town.erika)
        assert isinstance(found, Sponsored)
        assert (found.name, found.valid_until_ms, found.sponsor) == ("Erika Muster", town.view().until_ms, anna)
        assert reader.asked == ["anna"]
        assert await live.person(town.number("anna")) is anna
        town.clock.pass_ms(200 * DAY_MS)
        erase(town)
        assert await live.person(town.erika) is None
        assert reader.asked == ["anna", "anna"]
    finally:
        live.close()


def test_the_running_service_erases_names_by_itself(town: Town) -> None:
    """At its start, without anybody asking; who is kept here is known by then."""
    town.clock.pass_ms(200 * DAY_MS)
    upkeep = Upkeep(town.databases.state, town.clock, BOUNDS)
    upkeep.start()
    try:
        assert upkeep.book.rows == {town.erika}
        wait_until(lambda: town.view().state is State.ERASED)
    finally:
        upkeep.stop()


def test_kinds_are_shown_and_decide_nothing(town: Town) -> None:
    for kind in Kind:
        town.desk.change(town.erika, town.wish(kind=kind), CLERK)
        assert (town.view().kind, town.tap()) == (kind, Reason.GRANTED)
