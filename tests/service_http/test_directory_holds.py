# SPDX-License-Identifier: EUPL-1.2
"""Many people disabled at once in a real directory: held, shown everywhere, decided over the API or the command line.

And several directories that feed one service.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import ldap3
import pytest
from support.command import run_cli
from support.service import (
    ADMIN_PASSWORD,
    SERVICE_PASSWORD,
    CityFiles,
    DirectoryThread,
    ServiceThread,
)
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.clock import SystemClock
from cardservice.people.overview import Overview, overviews
from city import people
from directorysim.server import DirectoryServer
from integrations.ldap.tls import CheckedTls

MANY = 30
BELIEVED = 20
LOCKED_FOR_GOOD = "000001010000Z"
TOKEN = "directory-admin-canary-19e4"
WORKS = "dc=werke,dc=example"


def clerk(number: int, suffix: str = people.SUFFIX) -> tuple[str, dict[str, list[str]]]:
    values = {"uid": [f"clerk{number}"], "cn": [f"Clerk {number}"], "sn": [str(number)]}
    secret = {"userPassword": [people.password_of(f"clerk{number}")]}
    return f"uid=clerk{number},ou=people,{suffix}", {"objectClass": ["inetOrgPerson"]} | values | secret


def works() -> list[tuple[str, dict[str, list[str]]]]:
    """A second directory: the same accounts to read with, one person, one group."""
    dn, person = clerk(99, WORKS)
    return [
        (WORKS, {"objectClass": ["dcObject", "organization"], "dc": ["werke"], "o": ["Stadtwerke"]}),
        (f"ou=people,{WORKS}", {"objectClass": ["organizationalUnit"], "ou": ["people"]}),
        (f"ou=groups,{WORKS}", {"objectClass": ["organizationalUnit"], "ou": ["groups"]}),
        (
            f"cn=cardservice,{WORKS}",
            {
                "objectClass": ["organizationalRole", "simpleSecurityObject"],
                "cn": ["cardservice"],
                "userPassword": [SERVICE_PASSWORD],
            },
        ),
        (dn, person),
        (f"cn=Werk,ou=groups,{WORKS}", {"objectClass": ["groupOfNames"], "cn": ["Werk"], "member": [dn]}),
    ]


@contextmanager
def directory(suffix: str, entries: list[tuple[str, dict[str, list[str]]]]) -> Iterator[DirectoryThread]:
    server = DirectoryServer(suffix, entries, admin_dn=f"cn=admin,{suffix}", admin_password=ADMIN_PASSWORD)
    with server.run_in_thread() as switches:
        yield DirectoryThread(switches)


@dataclass
class Crowd:
    """A city with thirty more people; a step lasts until the next proof, which is far away."""

    directory: DirectoryThread
    files: CityFiles
    service: ServiceThread

    def set_disabled(self, numbers: range, *, disabled: bool) -> None:
        """Disable clerks one after another, as a script of an administrator does, or enable them."""
        address = self.directory.address
        host, _, port = address.url.removeprefix("ldaps://").partition(":")
        tls = CheckedTls(host, address.ca_file)
        server = ldap3.Server(host, port=int(port), use_ssl=True, tls=tls, get_info=ldap3.NONE)
        login = {"user": people.ADMIN_DN, "password": ADMIN_PASSWORD, "raise_exceptions": True, "check_names": False}
        values = [LOCKED_FOR_GOOD] if disabled else []
        with ldap3.Connection(server, auto_referrals=False, **login) as connection:
            for number in numbers:
                connection.modify(clerk(number)[0], {"pwdAccountLockedTime": [(ldap3.MODIFY_REPLACE, values)]})

    def wait_held(self, held: int) -> dict:
        return self.service.wait_health(lambda state: state["directories"][0]["held_removals"] == held)

    def api(self, method: str, path: str = "", token: str = TOKEN, **options: object) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.request(method, f"{self.service.url}/api/v1/directory/holds{path}", headers=headers, **options)

    def cli(self, *arguments: str):
        return run_cli("directory", *arguments, "--config", str(self.files.config))

    def overview(self) -> Overview:
        """What another program reads of the directory."""
        with self.files.stores() as databases:
            (found,) = overviews(databases.state, ["city"], SystemClock().now_ms())
        return found

    def the_hold(self) -> dict:
        (hold,) = self.api("GET").json()["holds"]
        return hold


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    entries = [*people.entries(SERVICE_PASSWORD), *(clerk(number) for number in range(MANY))]
    with directory(people.SUFFIX, entries) as one:
        files = CityFiles(tmp_path / "city", one.address, changes={"directory": {"beat_s": 60}})
        allow(files)
        files.upgrade()
        service = ServiceThread(files)
        service.start()
        try:
            service.wait_health(lambda state: state.get("status") == "ready")
            yield Crowd(one, files, service)
        finally:
            if service.url:
                service.stop()


def allow(files: CityFiles) -> None:
    """Let one caller decide on holds."""
    token = files.folder / "directory.token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    caller = {"name": "identity", "token_file": str(token), "uses": ["directory"]}
    files.configure({"": {"callers": [*files._sections[""]["callers"], caller]}})


def test_a_hold_is_shown_everywhere_and_confirmed_over_the_api(crowd: Crowd) -> None:
    """Health, metrics, API, command line; decided once; carried out at once, for whom it is still so."""
    crowd.set_disabled(range(MANY), disabled=True)
    state = crowd.wait_held(MANY - BELIEVED)
    hold = crowd.the_hold()
    assert state["status"] == "degraded"
    (sentence,) = state["degraded"]
    assert f"disables {MANY - BELIEVED} people; too many to believe" in sentence
    assert f"hold {hold['hold']} (cardservice directory holds)" in sentence
    metrics = crowd.service.get("/metrics")[1]
    assert f'cardservice_directory_removals_held{{directory="city"}} {MANY - BELIEVED}.0' in metrics
    assert (hold["directory"], hold["state"], hold["lost"], hold["disabled"]) == ("city", "open", 0, MANY - BELIEVED)
    assert hold["server"] == crowd.directory.address.url
    assert hold["cookie"]
    listed = crowd.cli("holds", "--people", "--json")
    (document,) = json.loads(listed.stdout)
    held = {one["login"] for one in document["people"]}
    assert len(held) == MANY - BELIEVED
    back = int(min(held).removeprefix("clerk"))
    crowd.set_disabled(range(back, back + 1), disabled=False)
    crowd.wait_held(MANY - BELIEVED - 1)
    assert crowd.api("POST", "/99/confirm", json={}).status_code == 404
    decided = crowd.api("POST", f"/{hold['hold']}/confirm", json={})
    assert (decided.status_code, decided.json()["decided_by"]) == (200, "identity")
    assert crowd.service.health()["directories"][0]["held_removals"] == 0
    again = crowd.api("POST", f"/{hold['hold']}/reject")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert "was confirmed by identity at" in again.json()["detail"]
    assert crowd.api("GET").json() == {"holds": []}
    assert crowd.overview().disabled == 1 + MANY - 1


def test_a_hold_is_rejected_on_the_command_line_and_survives_a_restart(crowd: Crowd) -> None:
    """The running service hears of it from the tables; once rejected, nobody is alarmed, before and after a restart."""
    crowd.set_disabled(range(MANY), disabled=True)
    crowd.wait_held(MANY - BELIEVED)
    number = crowd.the_hold()["hold"]
    crowd.service.stop()
    crowd.service.start()
    crowd.wait_held(MANY - BELIEVED)
    assert crowd.the_hold()["hold"] == number
    said = crowd.cli("reject", str(number))
    assert said.stdout == f"hold {number} is rejected: {MANY - BELIEVED} people stay as they were\n"
    crowd.service.wait_health(lambda state: state["status"] == "ready")
    refused = crowd.cli("confirm", str(number))
    assert (refused.returncode, refused.stdout) == (65, "")
    assert "was rejected by the command line" in refused.stderr
    crowd.service.stop()
    crowd.service.start()
    crowd.service.wait_health(lambda state: state["status"] == "ready")
    listed = crowd.cli("holds").stdout
    assert "rejected by the command line: they stay as they were" in listed
    assert "Clerk" not in listed
    confirmed = crowd.cli("confirm", str(number), "--although-rejected")
    assert confirmed.returncode == 0, confirmed.stderr
    wait_until(lambda: crowd.overview().disabled == 1 + MANY)
    assert crowd.api("GET").json() == {"holds": []}


def test_a_hold_is_over_when_the_directory_takes_it_back(crowd: Crowd) -> None:
    crowd.set_disabled(range(MANY), disabled=True)
    crowd.wait_held(MANY - BELIEVED)
    number = crowd.the_hold()["hold"]
    crowd.set_disabled(range(MANY), disabled=False)
    crowd.service.wait_health(lambda state: state["status"] == "ready")
    late = crowd.api("POST", f"/{number}/confirm", json={})
    assert (late.status_code, "took it back by itself" in late.json()["detail"]) == (409, True)


def test_only_a_caller_of_this_use_decides(crowd: Crowd) -> None:
    for method, path in (("GET", ""), ("POST", "/1/confirm"), ("POST", "/1/reject")):
        assert crowd.api(method, path, token="nobody-s", json={}).status_code == 401
        assert crowd.api(method, path, token="facility-canary-c6a2", json={}).json()["code"] == "foreign_use"
    assert crowd.api("POST", "/0/confirm", json={}).status_code == 422
    assert crowd.api("POST", "/1/confirm", json={"although_rejected": 1}).status_code == 422


def test_the_status_is_told_beside_the_running_service(crowd: Crowd) -> None:
    """What is followed and how current it is; a request to read everything anew is noted; a wrong name is named."""
    text = crowd.cli("status").stdout
    assert text.startswith("directory city: followed, proved current ")
    assert f"server  {crowd.directory.address.url}, mode syncrepl" in text
    assert crowd.overview().asked_ms is None
    assert "was asked to read city anew" in crowd.cli("sync").stdout
    (after,) = json.loads(crowd.cli("status", "--json").stdout)
    assert (after["people"], after["groups"], after["holds"]) == (8 + MANY, 5, [])
    assert after["asked_ms"] >= after["since_ms"]
    assert after["read_ms"] is not None
    wrong = crowd.cli("sync", "town")
    assert (wrong.returncode, wrong.stdout) == (78, "")
    assert "there is no directory 'town' in the settings; there are city" in wrong.stderr


def test_two_directories_feed_one_service(tmp_path: Path) -> None:
    """Both are followed, measured and asked for passwords; health tells of both, and which one is in trouble."""
    entries = people.entries(SERVICE_PASSWORD)
    with directory(people.SUFFIX, entries) as town, directory(WORKS, works()) as other:
        files = CityFiles(tmp_path / "city", town.address)
        one = files._sections.pop("directory") | {"name": "town"}
        two = one | {
            "name": "works",
            "servers": [other.address.url],
            "ca_file": str(other.address.ca_file),
            "bind_dn": f"cn=cardservice,{WORKS}",
            "people_base": f"ou=people,{WORKS}",
            "groups_base": f"ou=groups,{WORKS}",
        }
        files.configure({"": {"directories": [one, two]}})
        files.upgrade()
        service = ServiceThread(files)
        service.start()
        try:
            service.wait_health(lambda state: state.get("status") == "ready")
            metrics = service.get("/metrics")[1]
            assert 'cardservice_directory_people{directory="town"} 8.0' in metrics
            assert 'cardservice_directory_people{directory="works"} 1.0' in metrics
            for login in (people.ANNA.login, "clerk99"):
                with Visitor(service.url) as visitor:
                    assert visitor.try_to_sign_in(login, "wrong").status_code == 403
                    assert visitor.sign_in(login).get("/my/doors").status_code == 200
            other.switches.pause()
            state = service.wait_health(lambda state: state["degraded"])
            followed = [(one["directory"], one["connected"], one["people"]) for one in state["directories"]]
            assert followed == [("town", True, 8), ("works", False, 1)]
            (sentence,) = state["degraded"]
            assert sentence.startswith("directory works: not followed since")
            other.switches.resume()
            service.wait_health(lambda state: state["status"] == "ready")
            told = run_cli("directory", "status", "--config", str(files.config)).stdout
            assert re.findall(r"(?m)^directory (\w+): followed", told) == ["town", "works"]
        finally:
            service.stop()
