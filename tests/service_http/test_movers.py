# SPDX-License-Identifier: EUPL-1.2
"""Windows of movers behind the running service: shown and ended over the API and on the command line; settings."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from service.directory import effective_groups
from support.command import run_cli
from support.service import CityFiles, DirectoryThread, ServiceThread, directory_in_thread
from support.waiting import wait_until

from city import people

TOKEN = "movers-admin-canary-55c0"
DAY_MS = 86_400_000


@dataclass
class Hall:
    """A city whose groups are departments; `move` takes Anna from Bauamt to IT."""

    directory: DirectoryThread
    files: CityFiles
    service: ServiceThread

    def member(self, group: str, *, member: bool, login: str = people.ANNA.login) -> None:
        dn = f"uid={login},{people.PEOPLE}"
        self.directory.editor.set_member(f"cn={group},{people.GROUPS}", dn, member=member)

    def move(self, login: str = people.ANNA.login) -> None:
        self.member("IT", member=True, login=login)
        self.member("Bauamt", member=False, login=login)
        wait_until(lambda: any(one["login"] == login for one in self.listed()))

    def api(self, method: str, path: str = "", token: str = TOKEN, **options: object) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.request(method, f"{self.service.url}/api/v1/directory/movers{path}", headers=headers, **options)

    def cli(self, *arguments: str):
        return run_cli("directory", "movers", *arguments, "--config", str(self.files.config))

    def listed(self) -> list[dict]:
        return json.loads(self.cli("--json").stdout)

    def groups(self) -> set[str]:
        with self.files.stores() as databases:
            return effective_groups(databases.state)[people.ANNA.login]


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with directory_in_thread() as directory:
        movers = {"mover_groups": people.GROUPS.upper(), "mover_overlap_days": 14}
        files = CityFiles(tmp_path / "city", directory.address, changes={"directory": movers})
        token = files.folder / "directory.token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        caller = {"name": "identity", "token_file": str(token), "uses": ["directory"]}
        files.configure({"": {"callers": [*files._sections[""]["callers"], caller]}})
        files.upgrade()
        service = ServiceThread(files)
        service.start()
        try:
            service.wait_health(lambda state: state.get("status") == "ready")
            yield Hall(directory, files, service)
        finally:
            if service.url:
                service.stop()


def test_a_window_is_shown_everywhere_and_ended_over_the_api(hall: Hall) -> None:
    """Numbers over HTTP, names on the command line; ended once, and carried out before the answer."""
    assert hall.cli().stdout == "nobody left a department and counts in it\n"
    hall.move()
    assert hall.groups() == {"Bauamt", "IT", "Rathaus"}
    answer = hall.api("GET")
    (window,) = answer.json()["windows"]
    assert answer.json()["cursor"] is None
    assert (window["directory"], window["counts"], window["ended_by"]) == ("city", True, None)
    assert window["until_ms"] - window["left_ms"] == 14 * DAY_MS
    assert "schmidt" not in answer.text.lower()
    assert "bauamt" not in answer.text.lower()
    assert 'cardservice_directory_movers{directory="city"} 1.0' in hall.service.get("/metrics")[1]
    status = run_cli("directory", "status", "--config", str(hall.files.config)).stdout
    assert "  movers  1 windows count (cardservice directory movers)" in status.splitlines()
    assert f"window {window['window']}: Anna Schmidt (schmidt) left “Bauamt” at " in hall.cli().stdout
    assert hall.api("POST", "/999/end").json()["detail"] == "there is no window 999, or it is over"
    ended = hall.api("POST", f"/{window['window']}/end")
    assert (ended.status_code, ended.json()["window"], ended.json()["ended_by"]) == (200, window["window"], "identity")
    assert (hall.groups(), hall.api("GET").json()["windows"]) == ({"IT", "Rathaus"}, [])
    again = hall.api("POST", f"/{window['window']}/end")
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    assert 'cardservice_directory_movers{directory="city"} 0.0' in hall.service.get("/metrics")[1]


def test_a_window_survives_a_restart_and_is_ended_on_the_command_line(hall: Hall) -> None:
    """A running service follows within a second; one that does not run when it is started."""
    hall.move()
    hall.move("nowak")
    hall.service.stop()
    numbers = {one["login"]: one["number"] for one in hall.listed()}
    ended = hall.cli("end", str(numbers["schmidt"]))
    assert ended.stdout == f"window {numbers['schmidt']} is ended; the running service applies it within a second\n"
    assert "Bauamt" in hall.groups()
    twice = hall.cli("end", str(numbers["schmidt"]))
    assert (twice.returncode, twice.stdout) == (65, "")
    assert "was ended by the command line" in twice.stderr
    hall.service.start()
    assert hall.groups() == {"IT", "Rathaus"}
    assert hall.cli("end", str(numbers["nowak"])).returncode == 0
    wait_until(lambda: hall.listed() == [])
    missing = hall.cli("end", "999")
    assert (missing.returncode, missing.stdout) == (66, "")
    assert "there is no window 999, or it is over" in missing.stderr


def test_windows_are_listed_in_pages(hall: Hall) -> None:
    hall.move()
    hall.move("nowak")
    first = hall.api("GET", "?limit=1").json()
    assert first["cursor"] == str(first["windows"][0]["window"])
    rest = hall.api("GET", f"?limit=5&after={first['cursor']}").json()
    assert (len(rest["windows"]), rest["cursor"]) == (1, None)
    for wrong in ("?limit=0", "?limit=1001", "?after=x", "?after=-1"):
        assert hall.api("GET", wrong).status_code == 422


def test_only_a_caller_of_this_use_ends_windows(hall: Hall) -> None:
    for method, path in (("GET", ""), ("POST", "/1/end")):
        assert hall.api(method, path, token="nobody-s").status_code == 401
        assert hall.api(method, path, token="facility-canary-c6a2").json()["code"] == "foreign_use"
    assert hall.api("POST", "/0/end").status_code == 422


def test_without_the_settings_what_was_stored_ends_with_the_next_start(hall: Hall) -> None:
    hall.move()
    hall.service.stop()
    hall.files.configure({"directory": {"mover_groups": "", "mover_overlap_days": ""}})
    hall.service.start()
    assert (hall.groups(), hall.listed()) == ({"IT", "Rathaus"}, [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mover_groups": "ou=groups,dc=x"}, "directory.mover_groups and directory.mover_overlap_days: set both or ne"),
        ({"mover_overlap_days": 14}, "directory.mover_groups and directory.mover_overlap_days: set both or neither"),
        ({"mover_groups": "groups", "mover_overlap_days": 14}, "directory.mover_groups: not a DN: a part of a DN has"),
        (
            {"mover_groups": people.PEOPLE, "mover_overlap_days": 14},
            f"directory.mover_groups: no group is read there; directory.groups_base is {people.GROUPS}",
        ),
        ({"mover_groups": people.GROUPS, "mover_overlap_days": 0}, "directory.mover_overlap_days: Input should be gr"),
        ({"mover_groups": people.GROUPS, "mover_overlap_days": 91}, "directory.mover_overlap_days: Input should be le"),
    ],
)
def test_settings_that_cannot_work_are_told(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    """By the check as by the start."""
    with directory_in_thread() as directory:
        files = CityFiles(tmp_path / "city", directory.address, changes={"directory": changes})
        for command in (("settings", "check"), ("serve",)):
            refused = run_cli(*command, "--config", str(files.config))
            assert refused.returncode == 78
            assert message in refused.stderr
