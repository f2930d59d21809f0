# SPDX-License-Identifier: EUPL-1.2
"""Taps as they happen, over HTTP: who sees which, never who it was, and what ends a stream."""

import asyncio
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from support.canaries import found_in, identifiers, personal
from support.event_stream import streaming
from support.service import AGENT, CALLERS, LIVE_TOKEN, directory_in_thread
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.access.rules import Use
from cardservice.access.setup import apply
from cardservice.access.setup_parts import AccessSetup, PointClassSetup, PointSetup, RuleSetup
from cardservice.database import read, write
from cardservice.people.web_sessions import web_session
from cardservice.server import SHUTDOWN_S
from city import people
from city.people import group_dn

# Anna looks after the doors of the building office, Mehmet after all; Sabine audits, Jonas is at the help desk.
ANNA, MEHMET, SABINE, JONAS, TOMASZ = people.ANNA.login, "yilmaz", "krueger", "weber", "nowak"
ROLES = [
    {"role": "facility", "group": "Bauamt", "zones": ["bauamt"]},
    {"role": "facility", "group": "IT"},
    {"role": "auditor", "group": "Bürgerbüro"},
    {"role": "helpdesk", "group": "Gäste anderer Behörden"},
]
OFFICE, SERVERS, CLOCK = "bauamt.aussen", "serverraum.aussen", "zeiterfassung"
COUNTED, KEPT_CLOCK = "gezaehlt.aussen", "stempel.eins"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with directory_in_thread() as directory:
        made = build(directory, tmp_path_factory.mktemp("live"), None, **{"": {"roles": ROLES}})
        add_points(made)
        yield made
        made.close()


def add_points(city: City) -> None:
    """A door that only counts, and a time clock whose class keeps everything."""
    usual = {"tap_budget_ms": 10_000, "answer_budget_ms": 2_000}
    setup = AccessSetup(
        point_classes=[
            PointClassSetup("counting", "Zählt", journal_mode="counts", **usual),
            PointClassSetup("clocks", "Uhren", journal_mode="full", **usual),
        ],
        points=[
            PointSetup(COUNTED, "Drehkreuz", "bauamt", "counting", AGENT, "Counted"),
            PointSetup(KEPT_CLOCK, "Uhr", "rathaus", "clocks", AGENT, "Clock", use=Use.TIMECLOCK),
        ],
        rules=[RuleSetup(group="Bauamt", point=COUNTED), RuleSetup(group="Rathaus", point=KEPT_CLOCK)],
    )
    with city.files.stores() as databases:
        apply(databases.state, 1, setup)
    city.service.wait_health(lambda _: KEPT_CLOCK in city.service.service.city.snapshot.points)


def forget_visitors(city: City) -> None:
    """Close every browser: their sessions or their service are no more."""
    for visitor in city.visitors.values():
        visitor.client.close()
    city.visitors.clear()


def taps(city: City, *wanted: tuple[str, str]) -> list[bool]:
    """Hold these cards to these points, one after the other; return what was permitted."""

    async def work() -> list[bool]:
        async with city.agent() as agent:
            return [(await agent.tap(city.card(card), point)).permit for card, point in wanted]

    return asyncio.run(work())


def shown(visitor: Visitor, query: str = "") -> str:
    """Return the rows of somebody's page, in English."""
    answer = visitor.get(f"/live?{query}", headers={"Accept-Language": "en"})
    assert answer.status_code == 200, answer.text
    return answer.text.partition("<tbody")[2].partition("</tbody>")[0]


def test_a_page_shows_no_more_than_the_record_keeps(office: City) -> None:
    """Refusals of ordinary points, everything of those that keep everything, nothing of those that count."""
    before = shown(office.visitor(MEHMET))
    assert taps(office, ("anna", OFFICE), ("anna", COUNTED), ("anna", SERVERS), ("sabine", COUNTED)) == [
        True,
        True,
        False,
        False,
    ]
    assert taps(office, ("mehmet", SERVERS)) == [True]
    rows = shown(office.visitor(MEHMET))
    new = {point: rows.count(point) - before.count(point) for point in (OFFICE, COUNTED, SERVERS)}
    assert new == {OFFICE: 0, COUNTED: 0, SERVERS: 2}
    assert "No grant names this person or one of their groups." in rows
    assert ">permitted<" in rows


def test_nobody_is_named_and_no_card(office: City) -> None:
    """Whoever looks: no name, login, address or number of anybody, on the page or over its stream."""
    cards = [(name, SERVERS) for name in office.files.cards() if not name.startswith("blank")]
    newest = office.service.service._live_taps.newest
    with streaming(office.visitor(SABINE), "/live/rows?after=") as stream:
        taps(office, *cards[:6])
        wait_until(lambda: office.service.service._live_taps.newest > newest)
        told = stream.until("rows", SERVERS).data
    for login in (SABINE, MEHMET):
        page = shown(office.visitor(login))
        assert SERVERS in page
        assert found_in(page + told, personal() | identifiers()) == set()


def test_a_role_sees_its_use_within_its_reach_and_nothing_else(office: City) -> None:
    """Both ways: doors of one zone, doors of all, every use; of what is another's, not one row."""
    assert taps(office, ("sabine", OFFICE), ("sabine", SERVERS), ("sabine", KEPT_CLOCK)) == [False, False, True]
    anna, mehmet, sabine = (shown(office.visitor(login)) for login in (ANNA, MEHMET, SABINE))
    assert [OFFICE in anna, SERVERS in anna, KEPT_CLOCK in anna] == [True, False, False]
    assert [OFFICE in mehmet, SERVERS in mehmet, KEPT_CLOCK in mehmet] == [True, True, False]
    assert [OFFICE in sabine, SERVERS in sabine, KEPT_CLOCK in sabine] == [True, True, True]
    assert office.visitor("berger").get("/live").status_code == 403
    assert office.visitor(JONAS).get("/live/rows").status_code == 403
    # What somebody asks for widens nothing.
    assert SERVERS not in shown(office.visitor(ANNA), "zone=technik")
    assert KEPT_CLOCK not in shown(office.visitor(MEHMET), "use=timeclock")


def test_a_stream_is_bound_as_its_page_is(office: City) -> None:
    """A row of another's zone never comes: the first that does is one's own, tapped after it."""
    with streaming(office.visitor(ANNA), "/live/rows?after=" + seen_by(office)) as stream:
        taps(office, ("sabine", SERVERS), ("sabine", OFFICE))
        told = stream.until("rows")
    assert OFFICE in told.data
    assert SERVERS not in told.data


def seen_by(office: City) -> str:
    """Return the number of the newest row there is."""
    live = office.service.service._live_taps
    return f"{live.life}-{live.newest}"


def test_rows_are_chosen_by_use_outcome_and_zone(office: City) -> None:
    taps(office, ("sabine", OFFICE), ("sabine", KEPT_CLOCK), ("mehmet", SERVERS))
    sabine = office.visitor(SABINE)
    assert OFFICE not in shown(sabine, "use=timeclock")
    assert KEPT_CLOCK in shown(sabine, "use=timeclock")
    assert ">refused<" not in shown(sabine, "outcome=permitted")
    assert ">permitted<" not in shown(sabine, "outcome=refused")
    # The building office lies in the town hall.
    inside = shown(sabine, "zone=bauamt")
    assert OFFICE in inside
    assert SERVERS not in inside
    assert OFFICE in shown(sabine, "zone=rathaus")
    for wrong in ("use=everything", "zone=%3Cscript%3E", "outcome=perhaps"):
        assert sabine.get(f"/live?{wrong}").status_code == 422


def test_whoever_comes_back_sees_nothing_twice_and_misses_nothing(office: City) -> None:
    """By the number of the newest row; one of an earlier life of the service counts for nothing."""
    sabine, before = office.visitor(SABINE), seen_by(office)
    taps(office, ("sabine", OFFICE), ("sabine", SERVERS))
    with streaming(sabine, f"/live/rows?after={before}") as stream:
        first = stream.until("rows", SERVERS)
    taps(office, ("sabine", OFFICE))
    with streaming(sabine, f"/live/rows?after={before}", **{"Last-Event-ID": first.number}) as stream:
        again = stream.until("rows")
    assert (again.data.count("<tr"), again.number) == (1, seen_by(office))
    with streaming(sabine, "/live/rows", **{"Last-Event-ID": "00000000-99999"}) as stream:
        assert stream.until("rows").data.count("<tr") > 2
    with streaming(sabine, "/live/rows?after=drop%20table") as stream:
        assert stream.until("rows").data.count("<tr") > 2


@pytest.mark.parametrize("way", ["signs out", "leaves", "loses the role"])
def test_a_stream_ends_within_seconds_of_its_session_or_right(
    office: City, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is told that it is over, and nothing comes after that."""
    if way != "leaves":
        # As quick as it is for whoever leaves is often enough.
        monkeypatch.setattr("cardservice.web.streams.CHECK_S", 0.2)
    tomasz, dn = Visitor(office.service.url).sign_in(TOMASZ), f"uid={TOMASZ},{people.PEOPLE}"
    editor = office.directory.editor
    undo = None
    with streaming(tomasz, f"/live/rows?after={seen_by(office)}") as stream:
        if way == "signs out":
            tomasz.post("/logout", data={"form_token": tomasz.form_token()})
        elif way == "leaves":
            office.directory.set_disabled(TOMASZ, disabled=True)
            undo = lambda: office.directory.set_disabled(TOMASZ, disabled=False)  # noqa: E731
        else:
            editor.set_member(group_dn("Bauamt"), dn, member=False)
            undo = lambda: editor.set_member(group_dn("Bauamt"), dn, member=True)  # noqa: E731
        try:
            assert [told.name for told in stream.to_the_end() if told.name != "beat"] == ["over"]
        finally:
            if undo is not None:
                undo()
    tomasz.client.close()


def test_watching_does_not_keep_a_session_up(office: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody touches the page: the session ends when it has been idle for its time, and the stream with it."""
    monkeypatch.setattr("cardservice.web.streams.CHECK_S", 0.1)
    monkeypatch.setattr("cardservice.web.streams.BEAT_S", 0.5)
    watcher = Visitor(office.service.url).sign_in(SABINE)
    with streaming(watcher, f"/live/rows?after={seen_by(office)}") as stream:
        with office.files.stores() as databases, write(databases.state) as connection:
            idle = web_session.c.seen_ms - 29 * 60_000
            connection.execute(sa.update(web_session).values(seen_ms=idle))
            newest = connection.execute(sa.select(sa.func.max(web_session.c.seen_ms))).scalar_one()
        # Looked at more than once by now.
        assert stream.next().name == "beat"
        with office.files.stores() as databases, read(databases.state) as connection:
            assert connection.execute(sa.select(sa.func.max(web_session.c.seen_ms))).scalar_one() == newest
        with office.files.stores() as databases, write(databases.state) as connection:
            connection.execute(sa.update(web_session).values(seen_ms=web_session.c.seen_ms - 60_000))
        assert stream.until("over")
    watcher.client.close()
    # All sessions have ended.
    forget_visitors(office)


def test_a_person_has_so_many_streams_and_everybody_so_many_together(
    office: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is told so and let go; what is open is measured; a place that becomes free is free."""
    sabine, mehmet, service = office.visitor(SABINE), office.visitor(MEHMET), office.service
    path = f"/live/rows?after={seen_by(office)}"
    wait_until(lambda: open_streams(office) == 0)
    monkeypatch.setattr("cardservice.web.streams.MAX_OF_ONE", 2)
    monkeypatch.setattr("cardservice.web.streams.MAX_STREAMS", 3)
    token = {"Authorization": f"Bearer {LIVE_TOKEN}"}
    with streaming(sabine, path), streaming(sabine, path):
        wait_until(lambda: open_streams(office) == 2)
        with streaming(sabine, path) as third:
            assert [told.name for told in third.to_the_end()] == ["full"]
        with streaming(mehmet, path):
            wait_until(lambda: open_streams(office) == 3)
            assert service.get("/api/v1/live", **token)[0] == 503
            with streaming(mehmet, path) as fourth:
                assert [told.name for told in fourth.to_the_end()] == ["full"]
        wait_until(lambda: open_streams(office) == 2)
        with service.watching():
            pass
    wait_until(lambda: open_streams(office) == 0)


def open_streams(office: City) -> float:
    """Return what `/metrics` says."""
    page = office.service.get("/metrics")[1]
    (line,) = [line for line in page.splitlines() if line.startswith("cardservice_live_streams ")]
    return float(line.split()[1])


@pytest.mark.parametrize(
    ("token", "status"),
    [(None, 401), ("wrong", 401), (f"{LIVE_TOKEN}x", 401), (CALLERS["panel"][0], 403)],
)
def test_the_feed_is_for_accounts_with_its_scope(office: City, token: str | None, status: int) -> None:
    """Nobody, nobody's token, another scope: refused; and a person has no business there whatever their role."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answer = httpx2.get(f"{office.service.url}/api/v1/live", headers=headers)
    assert answer.status_code == status
    assert LIVE_TOKEN not in answer.text
    assert office.visitor(SABINE).get("/api/v1/live").status_code in {401, 403}


def test_an_account_bound_to_points_sees_those_alone(office: City, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Taps, outputs and doors of its points; of an agent, which has others too, nothing."""
    service = office.service
    token = tmp_path_factory.mktemp("token") / "bound.token"
    token.write_text("bound-canary-1\n")
    token.chmod(0o600)
    service.stop()
    callers = office.files._sections[""]["callers"]
    bound = {"name": "bound", "token_file": str(token), "uses": ["live"], "points": [OFFICE]}
    office.files.configure({"": {"callers": [*callers, bound]}})
    service.start()
    forget_visitors(office)
    service.wait_health(lambda state: state.get("status") == "ready")
    with httpx2.Client(base_url=service.url, timeout=20) as client:
        headers = {"Authorization": "Bearer bound-canary-1"}
        with client.stream("GET", "/api/v1/live", headers=headers) as response:
            assert response.status_code == 200
            taps(office, ("sabine", SERVERS), ("sabine", OFFICE))
            lines = (line for line in response.iter_lines() if line.startswith("data: "))
            first = next(lines)
    assert OFFICE in first
    assert SERVERS not in first


def test_a_service_that_stops_lets_whoever_watches_go_first(office: City) -> None:
    """Streams of pages and of programs end at once and hold nothing up; nobody is told to be signed out."""
    sabine = office.visitor(SABINE)
    with streaming(sabine, f"/live/rows?after={seen_by(office)}") as page, office.service.watching() as feed:
        stopping = threading.Thread(target=office.service.stop)
        began_s = time.monotonic()
        stopping.start()
        assert "over" not in [told.name for told in page.to_the_end()]
        feed.read()
        # Whatever still runs after that long is cut off.
        assert time.monotonic() - began_s < SHUTDOWN_S - 1
        stopping.join()
    office.service.start()
    forget_visitors(office)
