# SPDX-License-Identifier: EUPL-1.2
"""Retention in the running service: its page and its route, its figures for Prometheus, and the command line."""

import html
import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from service_http.conftest import MakeCity
from support.command import run_cli
from support.office import login_of, running_office
from support.service import CityFiles, ServiceThread
from support.signing_in import Visitor

from cardservice.database import read
from cardservice.journal.service import Entry, verify
from cardservice.journal.store import journal_entry
from cardservice.keeping import DAY_MS, LIMITS
from cardservice.retention import keeper
from cardservice.retention.rules import FIXED
from cardservice.web.operations import Role

PATH = "/api/v1/retention"
Office = tuple[ServiceThread, CityFiles]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Its thread erases nothing by itself meanwhile: each test says when."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper, "FIRST_S", 3_600.0)
        with running_office(tmp_path_factory.mktemp("kept")) as running:
            yield running


def write_old_line(office: Office, days: float) -> None:
    """Write a line about somebody who was refused at a door so long ago."""
    service = office[0].service
    entry = Entry("door", service._clock.now_ms() - int(days * DAY_MS), {"kind": "tap", "point": "x"}, 1, {"person": 1})
    service.recorder.submit(lambda connection: service._journal.append(connection, entry)).result(20)


def limits(office: Office) -> dict[str, dict[str, object]]:
    with Visitor(office[0].url).sign_in(login_of(Role.DATA_PROTECTION)) as visitor:
        answered = visitor.get(PATH)
    assert answered.status_code == 200, answered.text
    return {one["limit"]: one for one in answered.json()["limits"]}


def said(files: CityFiles, *arguments: str) -> str:
    """Return what a command prints that succeeds."""
    done = run_cli("retention", *arguments, "--config", str(files.config))
    assert done.returncode == 0, done.stderr
    return done.stdout


def metrics(office: Office) -> dict[str, float]:
    lines = office[0].get("/metrics")[1].splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith("cardservice_retention"))
    return {name: float(value) for name, _, value in found}


def test_what_is_overdue_is_seen_by_everybody_who_watches_and_then_gone(office: Office) -> None:
    """A line nine days old: late on the page, at the route, in health and figures; erased by the next run."""
    running = office[0].service._keeper
    # What other tests have left.
    assert running.look()
    write_old_line(office, 9)
    late = limits(office)["doors"]
    assert (late["days"], late["late"]) == (LIMITS["doors"].usual, True)
    with Visitor(office[0].url).sign_in(login_of(Role.STAFF_COUNCIL)) as visitor:
        page = html.unescape(visitor.get("/retention", params={"lang": "de"}).text)
    assert "48 Stunden überfällig" in page
    assert "seit mehr als einem Tag" in page
    running._standings = tuple(running.retention.standing())
    assert metrics(office)['cardservice_retention_overdue_seconds{limit="doors"}'] > 86_400
    assert any("doors should have been erased 48 hours ago" in one for one in office[0].health()["degraded"])
    assert running.look()
    assert limits(office)["doors"]["oldest_ms"] is None
    assert limits(office)["doors"]["last_erased"] == 1
    shown = metrics(office)
    assert {name for name in shown if "overdue" in name} == {
        f'cardservice_retention_overdue_seconds{{limit="{name}"}}' for name in (*LIMITS, *FIXED)
    }
    assert shown["cardservice_retention_halted"] == 0
    assert not any("retention" in one for one in office[0].health()["degraded"])
    verify(office[0].service._databases.record)


def test_the_page_says_of_each_limit_how_old_its_oldest_is(office: Office) -> None:
    """In both languages, for whoever watches; with the day on which it goes."""
    assert office[0].service._keeper.look()
    with Visitor(office[0].url).sign_in(login_of(Role.AUDITOR)) as visitor:
        pages = {lang: html.unescape(visitor.get("/retention", params={"lang": lang}).text) for lang in ("de", "en")}
    assert pages["en"].count('<th scope="row">') == len(LIMITS) + len(FIXED)
    assert "Nothing is overdue. Erasing ran last at" in pages["en"]
    assert "Nichts ist überfällig." in pages["de"]
    assert "Sign-ins, and who asked for which change" in pages["en"]
    assert "7 Tage" in pages["de"]


def test_a_clock_in_doubt_is_told_to_whoever_watches(office: Office) -> None:
    service = office[0].service
    retention = service._keeper.retention
    assert service._keeper.look()
    anchor = retention._anchor
    assert anchor is not None
    retention._anchor = anchor._replace(wall_ms=anchor.wall_ms - 30 * DAY_MS)
    assert service._keeper.look()
    with Visitor(office[0].url).sign_in(login_of(Role.DATA_PROTECTION)) as visitor:
        page = html.unescape(visitor.get("/retention", params={"lang": "en"}).text)
    assert "At the moment nothing is erased" in page
    assert metrics(office)["cardservice_retention_halted"] == 1
    assert any("confirm-clock" in one for one in office[0].health()["degraded"])
    assert "confirmed: it is" in said(office[1], "confirm-clock")
    assert service._keeper.look()
    assert metrics(office)["cardservice_retention_halted"] == 0


def test_the_command_line_says_how_it_stands_and_what_would_go(office: Office) -> None:
    """Beside the running service; to erase is that one's own."""
    write_old_line(office, 8)
    status = json.loads(said(office[1], "status", "--json"))
    assert {one["limit"] for one in status["limits"]} == {*LIMITS, *FIXED}
    assert "doors: 7 days; oldest" in said(office[1], "status")
    would = json.loads(said(office[1], "run", "--dry-run", "--json"))
    assert (would["erased"]["doors"], would["dry_run"]) == (1, True)
    refused = run_cli("retention", "run", "--config", str(office[1].config))
    assert refused.returncode != 0
    assert "another 'cardservice serve'" in refused.stderr
    assert limits(office)["doors"]["oldest_ms"] is not None


def test_the_command_line_erases_where_no_service_runs(make_city: MakeCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_S", 3_600.0)
    city = make_city()
    write_old_line((city.service, city.files), 8)
    city.service.stop()
    assert "doors: 1 erased" in said(city.files, "run")
    with city.files.stores() as stores:
        with read(stores.record) as connection:
            doors = sa.select(sa.func.count()).where(journal_entry.c.stream == "door")
            assert connection.execute(doors.where(journal_entry.c.sealed.is_not(None))).scalar_one() == 0
        verify(stores.record)
    city.service.start()
