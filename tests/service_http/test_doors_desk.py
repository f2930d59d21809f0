# SPDX-License-Identifier: EUPL-1.2
"""The doors' pages over HTTP: what is shown to whom and when, one door opened, zones locked down and freed again."""

import re
import time
from collections.abc import Iterator

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from support.door_agent import at_the_doors
from support.doors import DOOR, lines, state
from support.event_stream import streaming
from support.service import AGENT, CALLERS, directory_in_thread
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.access.rules import Use
from cardservice.access.setup import apply
from cardservice.access.setup_parts import AccessSetup, PointSetup
from cardservice.agents.messages import OutputState
from cardservice.database import write
from cardservice.doors.rules import check_options
from cardservice.people.web_sessions import web_session
from city import people

# Anna looks after the doors of the building office, Mehmet after all; Sabine administrates.
ANNA, MEHMET, SABINE = people.ANNA.login, "yilmaz", "krueger"
ROLES = [
    {"role": "facility", "group": "Bauamt", "zones": ["bauamt"]},
    {"role": "facility", "group": "IT"},
    {"role": "administrator", "group": "Bürgerbüro"},
]
FACILITY = CALLERS["facility"][0]
ESCAPE, OTHER = "notausgang.aussen", "serverraum.aussen"
KEY = re.compile(r'name="key" value="([0-9a-f]{32})"')


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with directory_in_thread() as directory:
        made = build(directory, tmp_path_factory.mktemp("doors"), None, **{"": {"roles": ROLES}})
        setup = PointSetup(ESCAPE, "Notausgang", "bauamt", "office", AGENT, "Escape", options={"escape_route": True})
        with made.files.stores() as databases:
            apply(databases.state, 1, AccessSetup(points=[setup]), {Use.DOOR: check_options})
        made.service.wait_health(lambda _: ESCAPE in made.service.service.city.snapshot.points)
        yield made
        made.close()


def page(visitor: Visitor, path: str = "/doors") -> str:
    """Return a page in English."""
    answer = visitor.get(path, headers={"Accept-Language": "en"})
    assert answer.status_code == 200, answer.text
    return answer.text


def row(text: str, door: str) -> str:
    """Return the row of one door, empty if there is none."""
    return text.partition(f'<tr id="door-{door}">')[2].partition("</tr>")[0]


def send(visitor: Visitor, path: str, **fields: str):
    """Send a form of ours, in English."""
    form = {"form_token": visitor.form_token(), **fields}
    return visitor.post(path, data=form, headers={"Accept-Language": "en"})


def let_confirmed_be(city: City, confirmed_ms: int | None) -> None:
    """Let everybody's password have been confirmed then, or never."""
    with city.files.stores() as databases, write(databases.state) as connection:
        connection.execute(sa.update(web_session).values(confirmed_ms=confirmed_ms))


def open_door(visitor: Visitor, door: str = DOOR, reason: str = "Delivery", key: str = ""):
    """Go to the page of a door and send its form."""
    key = key or "".join(KEY.findall(page(visitor, f"/doors/open/{door}"))) or "0" * 32
    return send(visitor, f"/doors/open/{door}", reason=reason, key=key)


def test_each_door_is_shown_as_it_is_and_each_change_at_once(office: City) -> None:
    """Locked, released, open for too long, its agent gone: on the page, and over its stream."""
    mehmet = office.visitor(MEHMET)
    wait_until(lambda: "agent offline" in row(page(mehmet), DOOR))
    with streaming(mehmet, "/doors/changes") as stream, at_the_doors(office) as agent:
        stream.until("parts", f'<a id="open-{DOOR}"')
        agent.say(OutputState(point=DOOR, state="released", led="green", buzzer="ok", at_ms=1))
        assert "released" in row(stream.until("parts", "released").data, DOOR)
        agent.say(state("open", "held_open", 7_000))
        told = stream.until("parts", 'id="alarms"').data
        assert "Bauamt, außen" in told
        assert "open for too long" in told
        wait_until(lambda: "open for too long" in row(page(mehmet), DOOR))
        agent.say(state("closed", "none", 8_000))
        stream.until("parts", "closed")
        agent.stop()
        assert "its agent is not connected" in row(stream.until("parts", "offline").data, DOOR)


def test_nobody_sees_or_opens_a_door_that_is_not_theirs(office: City) -> None:
    """Bound to one zone: its doors alone, on the page, over the stream and by address."""
    anna, sabine = office.visitor(ANNA), office.visitor(SABINE)
    text = page(anna)
    assert row(text, DOOR)
    assert OTHER not in text
    with streaming(anna, "/doors/changes") as stream:
        first = stream.until("parts", 'id="rows"').data
    assert DOOR in first
    assert OTHER not in first
    assert anna.get(f"/doors/open/{OTHER}").status_code == 403
    assert open_door(anna, OTHER, key="a" * 32).json()["code"] == "foreign_point"
    # About all doors: not for somebody who is bound to some.
    assert "/doors/lockdowns" not in text
    assert anna.get("/doors/lockdowns/bauamt").status_code == 403
    assert send(anna, "/doors/lockdowns/bauamt", reason="Alarm").json()["code"] == "foreign_point"
    # An administrator may look.
    assert f"open-{DOOR}" not in page(sabine)
    assert "Your roles may look at doors" in page(sabine, f"/doors/open/{DOOR}")
    assert open_door(sabine, key="b" * 32).status_code == 403


def test_a_door_is_opened_once_however_often_the_form_comes(office: City) -> None:
    """Written down with who and why; the same form again is the same answer; a new page is a new opening."""
    anna, before = office.visitor(ANNA), len(lines(office.service, kind="open_once", point=DOOR))
    with at_the_doors(office) as agent:
        wait_until(lambda: f"open-{DOOR}" in page(anna))
        key = KEY.findall(page(anna, f"/doors/open/{DOOR}"))[0]
        first, again = open_door(anna, key=key), open_door(anna, key=key)
        assert "The door was released." in first.text
        assert "nothing was done twice" in again.text
        assert agent.opened == [DOOR]
        assert "The door was released." in open_door(anna).text
        assert agent.opened == [DOOR, DOOR]
    assert len(lines(office.service, kind="open_once", point=DOOR)) == before + 2


def test_why_a_door_was_not_opened_is_said(office: City) -> None:
    """No reason, its agent away or silent: in words, nothing lost that was typed, and nothing done unknown."""
    anna = office.visitor(ANNA)
    wait_until(lambda: "agent offline" in row(page(anna), DOOR))
    away = open_door(anna)
    assert (away.status_code, "its agent is not connected" in away.text) == (409, True)
    with at_the_doors(office, answers=False) as agent:
        wait_until(lambda: f"open-{DOOR}" in page(anna))
        for reason in ("", "   ", "x" * 201, "one\ntwo"):
            refused = open_door(anna, reason=reason)
            assert (refused.status_code, "Please say why" in refused.text) == (422, True)
        assert agent.opened == []
        silent = open_door(anna)
        assert "Nobody knows whether the door was opened" in silent.text
    for key in ("", "x", "A" * 32):
        answer = send(anna, f"/doors/open/{DOOR}", reason="x", key=key)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_a_zone_is_locked_down_and_freed_again(office: City) -> None:
    """How many doors is said before; escape routes are left out; who and why stand there until somebody ends it."""
    mehmet = office.visitor(MEHMET)
    with at_the_doors(office), streaming(mehmet, "/doors/changes") as stream:
        before = page(mehmet, "/doors/lockdowns/bauamt")
        assert "Lock 2 doors down now" in before
        assert "Escape routes, left out" in before
        assert send(mehmet, "/doors/lockdowns/bauamt", reason="").status_code == 422
        assert "is called so" in send(mehmet, "/doors/lockdowns/bauamt", reason="x", passing="Nobody").text
        assert "locked down" not in row(page(mehmet), DOOR)
        done = send(mehmet, "/doors/lockdowns/bauamt", reason="Drill", passing="IT")
        assert (done.status_code, done.headers["location"]) == (303, "/doors")
        told = stream.until("parts", "Drill").data
        assert f"by {MEHMET}: Drill" in told
        text = page(mehmet)
        assert "cannot be opened: it is locked down" in " ".join(row(text, DOOR).split())
        assert "locked down" not in row(text, ESCAPE)
        assert open_door(mehmet).status_code == 409
        standing = page(mehmet, "/doors/lockdowns/bauamt")
        assert "End it: 2 doors open by card again" in standing
        assert send(mehmet, "/doors/lockdowns/rathaus", reason="Drill").status_code == 303
        assert "End it: 0 doors" in page(mehmet, "/doors/lockdowns/bauamt")
        for zone in ("rathaus", "bauamt"):
            assert send(mehmet, f"/doors/lockdowns/{zone}/end").status_code == 303
        wait_until(lambda: "locked down" not in row(page(mehmet), DOOR))
    assert mehmet.get("/doors/lockdowns/moon").status_code == 404
    assert send(mehmet, "/doors/lockdowns/moon", reason="x").status_code == 404
    assert send(mehmet, "/doors/lockdowns/moon/end").status_code == 404


def test_one_door_is_locked_down_and_freed_again(office: City) -> None:
    """By whoever looks after it, for a reason that is kept: shown at once, at the point too; no other door with it."""
    anna, mehmet = office.visitor(ANNA), office.visitor(MEHMET)
    path, before = f"/doors/locked/{DOOR}", len(lines(office.service, kind="lockdown_begun", point=DOOR))
    with at_the_doors(office), streaming(anna, "/doors/changes") as stream:
        wait_until(lambda: f"open-{DOOR}" in page(anna))
        assert send(anna, path, reason="").status_code == 422
        assert "is called so" in send(anna, path, reason="x", passing="Nobody").text
        assert send(anna, path, reason="Broken glass", passing="IT").status_code == 303
        assert f"by {ANNA}: Broken glass" in stream.until("parts", "Broken glass").data
        text = page(anna)
        assert "it is locked down" in row(text, DOOR)
        assert "may pass: IT" in text
        assert "it is locked down" not in row(page(mehmet), OTHER)
        assert open_door(anna).status_code == 409
        assert "This door is locked down since" in page(mehmet, f"/access/points/{DOOR}")
        # That of the zone ends without it.
        assert send(mehmet, "/doors/lockdowns/bauamt", reason="Drill").status_code == 303
        assert "The door stays shut all the same" in page(anna, path)
        assert "End it: 1 door" in page(mehmet, "/doors/lockdowns/bauamt")
        assert send(mehmet, "/doors/lockdowns/bauamt/end").status_code == 303
        assert "it is locked down" in row(page(anna), DOOR)
        assert send(anna, f"{path}/end").status_code == 303
        wait_until(lambda: "locked down" not in row(page(anna), DOOR))
    assert len(lines(office.service, kind="lockdown_begun", point=DOOR)) == before + 1
    assert lines(office.service, kind="lockdown_ended", point=DOOR)


def test_what_is_no_door_of_theirs_is_not_locked(office: City) -> None:
    """Another's door, an escape route, a door nobody knows: refused, and no line says that it happened."""
    anna, mehmet, sabine = office.visitor(ANNA), office.visitor(MEHMET), office.visitor(SABINE)
    before = len(lines(office.service, kind="lockdown_begun"))
    assert anna.get(f"/doors/locked/{OTHER}").status_code == 403
    assert send(anna, f"/doors/locked/{OTHER}", reason="x").json()["code"] == "foreign_point"
    assert "never locked down" in page(mehmet, f"/doors/locked/{ESCAPE}")
    assert send(mehmet, f"/doors/locked/{ESCAPE}", reason="x").status_code == 422
    assert mehmet.get("/doors/locked/moon").status_code == 404
    assert "Your roles may look at lockdowns" in page(sabine, f"/doors/locked/{DOOR}")
    assert send(sabine, f"/doors/locked/{DOOR}", reason="x").status_code == 403
    assert len(lines(office.service, kind="lockdown_begun")) == before


def test_a_system_locks_its_own_doors_down(office: City) -> None:
    """Over REST as from the desk: said in the list, once however often, and ended again; nothing else is a door."""
    with httpx2.Client(base_url=office.service.url, headers={"Authorization": f"Bearer {FACILITY}"}) as client:
        path = f"/api/v1/doors/{OTHER}/lockdown"
        answers = [client.put(path, json={"reason": "Lost key"}).json() for _ in range(2)]
        assert [one["changed"] for one in answers] == [True, False]
        wait_until(lambda: office.service.service.city.snapshot.points[OTHER].locked_down)
        standing = client.get("/api/v1/doors/lockdowns").json()["lockdowns"]
        assert [(one["zone"], one["door"], one["by"]) for one in standing] == [(None, OTHER, "facility")]
        assert client.put("/api/v1/doors/kantine.kasse/lockdown", json={"reason": "x"}).status_code in {404, 409}
        assert client.put(f"/api/v1/doors/{ESCAPE}/lockdown", json={"reason": "x"}).status_code == 409
        assert [client.delete(path).json()["changed"] for _ in range(2)] == [True, False]
    wait_until(lambda: not office.service.service.city.snapshot.points[OTHER].locked_down)


def test_doors_are_chosen_by_name_zone_and_state(office: City) -> None:
    mehmet = office.visitor(MEHMET)
    assert [bool(row(page(mehmet, "/doors?text=SERVER"), one)) for one in (OTHER, DOOR)] == [True, False]
    # The building office lies in the town hall.
    assert [bool(row(page(mehmet, "/doors?zone=rathaus"), one)) for one in (DOOR, "tiefgarage.aussen")] == [True, False]
    assert "No door fits your choice" in page(mehmet, "/doors?show=open")
    wait_until(lambda: row(page(mehmet, "/doors?show=trouble"), DOOR))
    assert "No door fits" in page(mehmet, "/doors?text=%3Cscript%3E")
    assert "<script>" not in page(mehmet, "/doors?text=%3Cscript%3E").partition("<main")[2]
    assert mehmet.get("/doors?show=everything").status_code == 422


def test_nobody_types_a_reason_that_is_lost_on_the_way_to_the_password(office: City) -> None:
    """Long after the password the pages ask for it before they show a form; and what is sent all the same waits."""
    mehmet, before = office.visitor(MEHMET), len(lines(office.service, kind="open_once"))
    let_confirmed_be(office, None)
    with at_the_doors(office) as agent:
        wait_until(lambda: f"open-{DOOR}" in page(mehmet))
        for path in (f"/doors/open/{DOOR}", "/doors/lockdowns/bauamt"):
            text = page(mehmet, path)
            assert "/confirm?next=" in text
            assert 'name="reason"' not in text
        assert open_door(mehmet, key="c" * 32).status_code in {303, 403}
        assert agent.opened == []
    assert len(lines(office.service, kind="open_once")) == before
    let_confirmed_be(office, time.time_ns() // 1_000_000)
