# SPDX-License-Identifier: EUPL-1.2
"""Webhooks of the whole service: by REST and by the command line, what a door says reaches a receiver."""

import json
from collections.abc import Iterator

import pytest
from service_http.conftest import City, build
from support.command import run_cli
from support.service import directory_in_thread
from support.waiting import wait_until
from support.webhook_receiver import Receiver, receiver

from city import people

ROLES = [{"role": "administrator", "group": "IT"}, {"role": "facility", "group": "Bauamt"}]
ADMINISTRATOR, SOMEBODY_ELSE = "yilmaz", people.ANNA.login
PATH = "/api/v1/webhooks"
SETTINGS = {"allowed_networks": ["127.0.0.0/8"], "plain_http": True}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    folder = tmp_path_factory.mktemp("webhooks")
    with directory_in_thread() as directory:
        made = build(directory, folder, None, webhooks=SETTINGS, **{"": {"roles": ROLES}})
        yield made
        made.close()


@pytest.fixture
def desk() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def ask(city, method, path="", login=ADMINISTRATOR, **options):
    visitor = city.visitor(login)
    headers = {"X-Form-Token": visitor.form_token()} if method != "GET" else {}
    return visitor.request(method, PATH + path, headers=headers, **options)


def test_what_happens_at_a_door_reaches_the_receiver(office, desk):
    """Added by REST; the secret verifies; it is shown once; removed, it is told nothing."""
    added = ask(office, "POST", json={"name": "desk", "url": desk.url, "events": ["door.lockdown_begun"]})
    assert added.status_code == 201, added.text
    secret = added.json()["secret"]
    assert ask(office, "POST", "/desk/test").status_code == 202
    wait_until(lambda: desk.received)
    lockdown = "/api/v1/zones/bauamt/lockdown"
    token = {"X-Form-Token": office.visitor(SOMEBODY_ELSE).form_token()}
    begun = office.visitor(SOMEBODY_ELSE).request("PUT", lockdown, headers=token, json={"reason": "Probe"})
    assert begun.status_code == 200, begun.text
    told = wait_until(lambda: desk.received[1:])[0]
    assert told.signed_with(secret)
    assert {key: json.loads(told.body)[key] for key in ("type", "data")} == {
        "type": "door.lockdown_begun",
        "data": {"zone": "bauamt"},
    }
    shown = ask(office, "GET")
    assert secret not in shown.text
    (view,) = shown.json()["webhooks"]
    assert (view["name"], view["enabled"], view["trouble"]) == ("desk", True, None)
    for path, status in (("/desk/disable", 204), ("/desk/enable", 204), ("/desk/rotate", 200), ("/none/enable", 404)):
        assert ask(office, "POST", path).status_code == status
    assert ask(office, "DELETE", "/desk").status_code == 204
    assert ask(office, "GET").json()["webhooks"] == []
    office.visitor(SOMEBODY_ELSE).request("DELETE", lockdown, headers=token, json={"reason": "Probe"})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "desk", "url": "https://a.example/", "events": ["door.tap"]}, 409),
        ({"name": "desk", "url": "gopher://a.example/", "events": ["card.changed"]}, 409),
        ({"name": "Desk", "url": "https://a.example/", "events": ["card.changed"]}, 422),
        ({"name": "desk", "url": "https://a.example/", "events": []}, 422),
        ({"name": "desk", "url": "https://a.example/"}, 422),
    ],
)
def test_what_cannot_be_a_webhook_is_a_problem(office, body, status):
    told = ask(office, "POST", json=body)
    assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json")


def test_only_administrators_see_or_change_them(office):
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/desk"), ("POST", "/desk/rotate")):
        assert ask(office, method, path, SOMEBODY_ELSE).status_code == 403


def test_the_command_line_does_the_same(office, desk):
    """Added beside the running service, which sends; what fails is said; and a receiver given up is in the health."""
    config = ("--config", str(office.files.config))
    secret = run("add", "hall", desk.url, "card.changed", "agent.away", *config).strip()
    assert secret.startswith("whsec_")
    run("test", "hall", *config)
    wait_until(lambda: desk.received)
    assert desk.received[0].signed_with(secret)
    desk.answer = lambda _: (410, {})
    run("test", "hall", *config)
    degraded = office.service.wait_health(lambda state: any("webhook hall" in one for one in state["degraded"]))
    assert degraded["status"] == "degraded"
    listed = json.loads(run("list", "--json", *config))
    assert "410" in listed[0]["disabled_why"]
    assert [(one["name"], one["enabled"], one["waiting"]) for one in listed] == [("hall", False, 1)]
    assert secret not in json.dumps(listed)
    run("enable", "hall", *config)
    assert run("rotate", "hall", *config).strip() not in {"", secret}
    run("remove", "hall", *config)
    assert run("list", *config) == "nobody is told\n"
    refused = run_cli("webhooks", "add", "hall", "http://8.8.8.8:99999/", "card.changed", *config)
    assert (refused.returncode, refused.stdout) == (65, "")


def run(*arguments: str) -> str:
    done = run_cli("webhooks", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
