# SPDX-License-Identifier: EUPL-1.2
"""Somebody changes department in a real OpenLDAP server: the old department's door opens until the window ends."""

import threading
from collections.abc import Iterator
from pathlib import Path

import ldap3
import pytest
from contracts.directory_source import replace as write
from service.directory import open_copy, row_numbers
from service.fake_clock import FakeClock
from support.slapd import READER_DN, SUFFIX, Slapd, group, person
from support.waiting import wait_until

from cardservice.access import setup
from cardservice.access.explain.rules import Said
from cardservice.access.explain.service import Explainer, Inquiry
from cardservice.access.rules import HouseRules, Level, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.cards.service import NewCard, register
from cardservice.database import Databases
from cardservice.people.directories import Directories
from cardservice.people.movers.rules import DAY_MS, MoverRule
from cardservice.people.movers.service import list_movers
from cardservice.people.rules import normalise_dn
from integrations.ldap import LdapSettings, LdapSource
from integrations.ldap.settings import Timing

pytestmark = [pytest.mark.slapd, pytest.mark.parametrize("place", ["sqlite"], indirect=True)]

GROUPS = f"ou=groups,{SUFFIX}"
DEPARTMENTS = f"ou=departments,{GROUPS}"
ANNA = f"uid=anna,ou=people,{SUFFIX}"
KEY = b"\x01card of anna"


def department(name: str, *members: str) -> tuple[str, dict[str, str | list[str]]]:
    """A group of OpenLDAP is never empty: the service's own account is in it, which is nobody."""
    return f"cn={name},{DEPARTMENTS}", {"objectClass": "groupOfNames", "cn": name, "member": [READER_DN, *members]}


ENTRIES = [
    person("anna"),
    (DEPARTMENTS, {"objectClass": "organizationalUnit", "ou": "departments"}),
    department("bau", ANNA),
    department("amt"),
    group("keys", [f"cn=bau,{DEPARTMENTS}"]),
]


class Town:
    """The service's directory side and its city; who is in `keys`, as `bau` is, may pass the door."""

    def __init__(self, databases: Databases, clock: FakeClock, slapd: Slapd) -> None:
        self.state, self.clock, self.slapd = databases.state, clock, slapd
        self.city = City(databases.state, clock)
        self._stop = threading.Event()

    def start(self) -> None:
        """Follow the directory, as the service does at its start."""
        settings = LdapSettings(
            servers=(self.slapd.url,),
            bind_dn=self.slapd.bind_dn,
            password=lambda: self.slapd.password,
            people_base=f"ou=people,{SUFFIX}",
            groups_base=GROUPS,
            ca_file=self.slapd.ca_file,
            timing=Timing(beat_s=0.05, dead_s=0.5, answer_s=1),
        )
        self.city.build()
        rule = MoverRule(normalise_dn(DEPARTMENTS), 14 * DAY_MS)
        copy = open_copy(self.state, self.clock, movers=rule, publish=self.city.catch_up)
        self._every = Directories([copy])
        self._stop.clear()
        self._thread = threading.Thread(target=LdapSource(settings).run, args=(copy, self._stop), daemon=True)
        self._every.start()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        self._every.stop()

    def furnish(self) -> None:
        """Make the door and Anna's card, once the directory was read."""
        wait_until(self.is_followed)
        access = setup.AccessSetup(
            zones=[setup.ZoneSetup("room", "Room")],
            point_classes=[setup.PointClassSetup("plain", "Plain")],
            points=[setup.PointSetup("door", "Door", "room", "plain")],
            rules=[setup.RuleSetup(group="keys", point="door")],
        )
        setup.apply(self.state, 1, access)
        (number,) = row_numbers(self.state).values()
        register(self.state, [NewCard(1, number, (KEY,))])
        self.city.catch_up()

    def is_followed(self) -> bool:
        """Whether the directory was read, and a proof has come since the start."""
        (copy,) = self._every.copies
        return copy.status().connected

    def tap(self) -> Reason:
        return decide(self.city.snapshot, Tap("door", KEY, Level.CARD), self.clock.now_ms(), 0).reason

    def edit(self, bau: list[str], amt: list[str]) -> None:
        with self.slapd.admin() as admin:
            admin.modify(f"cn=amt,{DEPARTMENTS}", {"member": [(ldap3.MODIFY_REPLACE, [READER_DN, *amt])]})
            write(admin, f"cn=bau,{DEPARTMENTS}", member=[READER_DN, *bau])

    def explained(self) -> list[dict]:
        """What the explanation says of windows."""
        explainer = Explainer(self.state, self.clock, lambda _: 0, HouseRules())
        (answer,) = explainer.explain(Inquiry("door", login="anna")).answers
        findings = [finding for step in answer.steps for finding in step.findings]
        return [dict(one.facts) for one in findings if one.said is Said.STAYS_IN_GROUP]


@pytest.fixture
def town(databases: Databases, clock: FakeClock, tmp_path: Path) -> Iterator[Town]:
    slapd = Slapd(tmp_path / "slapd", ENTRIES).start()
    made = Town(databases, clock, slapd)
    made.start()
    try:
        made.furnish()
        yield made
    finally:
        made.stop()
        slapd.stop()


def test_the_old_departments_door_opens_until_the_window_ends(town: Town) -> None:
    """Over a restart, and while the directory hangs; `access explain` says why and until when."""
    assert (town.tap(), town.explained()) == (Reason.GRANTED, [])
    left_ms = town.clock.now_ms()
    town.edit(bau=[], amt=[ANNA])
    wait_until(lambda: list_movers(town.state))
    assert (town.tap(), town.explained()) == (
        Reason.GRANTED,
        [{"group": "bau", "until_ms": left_ms + 14 * DAY_MS}],
    )
    town.clock.pass_ms(14 * DAY_MS - 1)
    town.stop()
    town.start()
    wait_until(town.is_followed)
    assert town.tap() is Reason.GRANTED
    town.slapd.pause()
    town.clock.pass_ms(1)
    wait_until(lambda: town.tap() is Reason.NO_GRANT)
    assert (list_movers(town.state), town.explained()) == ([], [])
    town.slapd.resume()


def test_who_leaves_and_is_in_no_other_department_is_refused_at_once(town: Town) -> None:
    """Joining one within the window opens the old one's door again; coming back needs no window."""
    town.edit(bau=[], amt=[])
    wait_until(lambda: town.tap() is Reason.NO_GRANT)
    town.clock.pass_ms(3 * DAY_MS)
    town.edit(bau=[], amt=[ANNA])
    wait_until(lambda: town.tap() is Reason.GRANTED)
    town.edit(bau=[ANNA], amt=[])
    wait_until(lambda: [one.group for one in list_movers(town.state)] == ["amt"])
    wait_until(lambda: town.tap() is Reason.GRANTED)  # what is stored is published a moment later
    assert town.explained() == [{"group": "amt", "until_ms": list_end(town)}]


def list_end(town: Town) -> int:
    (mover,) = list_movers(town.state)
    return mover.window.until_ms
