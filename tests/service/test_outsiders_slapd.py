# SPDX-License-Identifier: EUPL-1.2
"""Whoever answers for an outsider leaves a real OpenLDAP server: the very next tap is refused, until they are back."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.directory_source import LOCKED_FOR_GOOD
from contracts.directory_source import replace as write
from service.directory import open_copy, row_numbers
from service.fake_clock import FakeClock
from support.slapd import SUFFIX, Slapd, person
from support.waiting import wait_until

from cardservice.access import setup
from cardservice.access.rules import Level, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.cards.rules import desfire_credential
from cardservice.cards.service import NewCard, register
from cardservice.database import Databases, read
from cardservice.people.directories import Directories
from cardservice.people.outsiders.book import OutsiderBook
from cardservice.people.outsiders.rules import DAY_MS
from cardservice.people.outsiders.service import Outsiders, Who, Wish
from cardservice.people.overview import ask_for_reading, overviews
from cardservice.people.rules import OUTSIDE
from cardservice.people.store import load_people
from integrations.ldap import LdapSettings, LdapSource
from integrations.ldap.settings import Timing

pytestmark = [pytest.mark.slapd, pytest.mark.parametrize("place", ["sqlite"], indirect=True)]

PEOPLE = f"ou=people,{SUFFIX}"
ANNA = f"uid=anna,{PEOPLE}"
AWAY = f"ou=away,{SUFFIX}"
KEY = desfire_credential("door", b"erika's card")
CLERK = Who("clerk")


class Town:
    """Anna, in the directory, answers for Erika, who is in none and may pass the door by a group."""

    def __init__(self, databases: Databases, clock: FakeClock, slapd: Slapd) -> None:
        self.state, self.clock, self.slapd = databases.state, clock, slapd
        self.city = City(databases.state, clock)
        self.city.build()
        settings = LdapSettings(
            servers=(slapd.url,),
            bind_dn=slapd.bind_dn,
            password=lambda: slapd.password,
            people_base=PEOPLE,
            groups_base=f"ou=groups,{SUFFIX}",
            ca_file=slapd.ca_file,
            timing=Timing(beat_s=0.05, dead_s=0.5, answer_s=1),
        )
        self.copy = open_copy(databases.state, clock, publish=self.city.catch_up)
        self.book = OutsiderBook(databases.state)
        self.directories = Directories([self.copy], self.book)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=LdapSource(settings).run, args=(self.copy, self._stop), daemon=True)
        self._thread.start()
        wait_until(lambda: self.copy.status().connected)
        self.desk = Outsiders(databases.state, clock, publish=self.city.catch_up)
        group = int(self.desk.add_group("roofers")["group"])
        access = setup.AccessSetup(
            zones=[setup.ZoneSetup("room", "Room")],
            point_classes=[setup.PointClassSetup("plain", "Plain", freshness_ms=60_000)],
            points=[setup.PointSetup("door", "Door", "room", "plain")],
            rules=[setup.RuleSetup(group="roofers", point="door")],
        )
        setup.apply(databases.state, 1, access)
        self.numbers = row_numbers(databases.state)
        uuids = {self.copy.login_of(number): number for number in self.numbers.values()}
        self.anna, self.bert = uuids["anna"], uuids["bert"]
        until_ms = clock.now_ms() + 10 * DAY_MS
        self.wish = Wish("Erika Muster", self.anna, until_ms, "roof", groups=frozenset({group}))
        self.erika = int(self.desk.add(self.wish, CLERK)["person"])
        self.book.refresh()
        register(databases.state, [NewCard(1, self.erika, (KEY,))])
        self.city.catch_up()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)

    def tap(self) -> Reason:
        age_ms = self.directories.age_ms_of(self.erika)
        return decide(self.city.snapshot, Tap("door", KEY, Level.CARD), self.clock.now_ms(), age_ms).reason


@pytest.fixture
def town(databases: Databases, clock: FakeClock, tmp_path: Path) -> Iterator[Town]:
    entries = [person("anna"), person("bert"), (AWAY, {"objectClass": "organizationalUnit", "ou": "away"})]
    slapd = Slapd(tmp_path / "slapd", entries).start()
    made = Town(databases, clock, slapd)
    try:
        yield made
    finally:
        made.stop()
        slapd.stop()


def test_the_outsider_is_refused_while_nobody_of_the_directory_answers(town: Town) -> None:
    """Disabled and enabled, moved away and back, deleted for good: until a colleague takes over."""
    assert town.tap() is Reason.GRANTED
    with town.slapd.admin() as admin:
        write(admin, ANNA, pwdAccountLockedTime=LOCKED_FOR_GOOD)
        wait_until(lambda: town.tap() is Reason.NO_SPONSOR)
        write(admin, ANNA, pwdAccountLockedTime=[])
        wait_until(lambda: town.tap() is Reason.GRANTED)
        admin.modify_dn(ANNA, "uid=anna", new_superior=AWAY)
        wait_until(lambda: town.tap() is Reason.NO_SPONSOR)
        admin.modify_dn(f"uid=anna,{AWAY}", "uid=anna", new_superior=PEOPLE)
        wait_until(lambda: town.tap() is Reason.GRANTED)
        admin.delete(ANNA)
        wait_until(lambda: town.tap() is Reason.NO_SPONSOR)
    town.desk.change(town.erika, replace(town.wish, sponsor=town.bert), CLERK)
    assert town.tap() is Reason.GRANTED


def test_reading_everything_anew_takes_nobody_away_whom_it_does_not_name(town: Town) -> None:
    """The server is asked for all it has, and has nothing of her: she stays, and passes."""
    town.clock.pass_ms(1_000)
    asked_ms = town.clock.now_ms()
    ask_for_reading(town.state, ("city",), asked_ms)
    town.copy.look()
    wait_until(lambda: (overviews(town.state, ("city",), asked_ms)[0].read_ms or 0) >= asked_ms)
    assert town.copy.status().people == 2
    assert row_numbers(town.state) == town.numbers | {known_as(town): town.erika}
    assert town.tap() is Reason.GRANTED


def known_as(town: Town) -> str:
    with read(town.state) as connection:
        (stable_id,) = load_people(connection, OUTSIDE)
    return stable_id
