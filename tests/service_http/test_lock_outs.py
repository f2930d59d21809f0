# SPDX-License-Identifier: EUPL-1.2
"""Somebody is locked out in a real OpenLDAP after wrong passwords: what their card does at a PC and at a door."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import ldap3
import pytest
import sqlalchemy as sa
from e2e.whole_city import add_people
from service_http.conftest import City, build
from support.service import CALLERS, CityFiles, DirectoryAddress
from support.slapd import READER_DN, READER_PASSWORD, SUFFIX, Slapd
from support.waiting import wait_until

from cardservice.database import read
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.people.store import person

pytestmark = pytest.mark.slapd

POLICY = f"cn=policy,{SUFFIX}"
UTE, CARD = "berger", "ute"
UTE_DN = f"uid={UTE},ou=people,{SUFFIX}"
PASSWORD = "Sommerregen-4711"
PC, DOOR = "pc.bauamt", "besuchereingang.aussen"
LOCK_OUT_S = 3_600


class LockingDirectory:
    """A slapd with the city's people, who are locked out after three wrong passwords."""

    def __init__(self, slapd: Slapd) -> None:
        self.slapd = slapd
        people_base, groups_base = (f"ou={branch},{SUFFIX}" for branch in ("people", "groups"))
        self.address = DirectoryAddress(
            slapd.url, slapd.ca_file, READER_DN, people_base, groups_base, password=READER_PASSWORD
        )

    def lock_out(self, city: City) -> None:
        """Have somebody type wrong passwords, and wait until the service knows."""
        for _ in range(3):
            connection = ldap3.Connection(ldap3.Server(self.slapd.plain_url), UTE_DN, "wrong")
            assert not connection.bind()
            connection.unbind()
        wait_until(lambda: locked_until_ms(city.files) is not None)

    def unlock(self, city: City) -> None:
        """Have an administrator end it."""
        with self.slapd.admin() as admin:
            admin.modify(UTE_DN, {"pwdAccountLockedTime": [(ldap3.MODIFY_REPLACE, [])]})
        wait_until(lambda: locked_until_ms(city.files) is None)


def locked_until_ms(files: CityFiles) -> int | None:
    with files.stores() as databases, read(databases.state) as connection:
        return connection.execute(sa.select(person.c.locked_until_ms).where(person.c.login == UTE)).scalar_one()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[LockingDirectory]:
    rules = {"pwdAttribute": "userPassword", "pwdLockout": "TRUE", "pwdMaxFailure": "3", "pwdLockoutDuration": "3600"}
    policy = (POLICY, {"objectClass": ["device", "pwdPolicy"], "cn": "policy", **rules})
    slapd = Slapd(tmp_path / "slapd", [policy]).start()
    add_people(slapd)
    with slapd.admin() as admin:
        values = {"userPassword": PASSWORD, "pwdPolicySubentry": POLICY}
        admin.modify(UTE_DN, {name: [(ldap3.MODIFY_REPLACE, [value])] for name, value in values.items()})
    yield LockingDirectory(slapd)
    slapd.stop()


@pytest.fixture
def city(directory: LockingDirectory, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[City]:
    changes = {"directory": {"lock_out_s": LOCK_OUT_S}, **getattr(request, "param", {})}
    made = build(directory, tmp_path / "city", **changes)
    made.enrol(PLACES_AGENT)
    yield made
    made.service.stop()


async def taps(city: City) -> dict[str, str]:
    """Hold the card to the PC's reader and to the door's; return what each was answered."""
    async with city.agent() as doors, city.agent(PLACES_AGENT) as places:
        return {
            PC: (await places.tap(city.card(CARD), PC)).reason,
            DOOR: (await doors.tap(city.card(CARD), DOOR)).reason,
        }


async def test_a_lock_out_stops_the_pc_and_no_door(city: City, directory: LockingDirectory) -> None:
    """Until it ends or an administrator ends it; whoever asks why is told until when, and where it does not count."""
    assert await taps(city) == {PC: "granted", DOOR: "granted"}
    began_ms = time.time_ns() // 1_000_000
    await asyncio.to_thread(directory.lock_out, city)
    assert await taps(city) == {PC: "person_locked_out", DOOR: "granted"}
    at_the_pc, at_the_door = (
        await asyncio.to_thread(explained, city, PC),
        await asyncio.to_thread(explained, city, DOOR),
    )
    (finding,) = at_the_pc["findings"]
    assert (at_the_pc["refusal"], finding["said"]) == ("person_locked_out", "locked_out_until")
    assert abs(finding["facts"]["locked_until_ms"] - began_ms - LOCK_OUT_S * 1_000) < 10_000
    said = [finding["said"] for finding in at_the_door["findings"]]
    assert (at_the_door["refusal"], said) == (None, ["locked_out_until", "lock_out_passes"])
    await asyncio.to_thread(directory.unlock, city)
    assert await taps(city) == {PC: "granted", DOOR: "granted"}


@pytest.mark.parametrize("city", [{"access": {"lock_out_stops": ["door"]}}], indirect=True)
async def test_the_settings_say_which_uses_a_lock_out_stops(city: City, directory: LockingDirectory) -> None:
    await asyncio.to_thread(directory.lock_out, city)
    assert await taps(city) == {PC: "granted", DOOR: "person_locked_out"}


def explained(city: City, point: str) -> dict[str, object]:
    """Return the step about lock-outs of an explanation."""
    headers = {"Authorization": f"Bearer {CALLERS['auditor'][0]}"}
    body = {"point": point, "login": UTE}
    answer = httpx2.post(f"{city.service.url}/api/v1/access/explain", json=body, headers=headers, timeout=20)
    (found,) = [step for step in answer.json()["answers"][0]["steps"] if step["question"] == "lock_out"]
    return found
