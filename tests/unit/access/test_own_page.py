# SPDX-License-Identifier: EUPL-1.2
"""The pages of one's own doors and PCs: what they say in the cases that are rare, and that they hold up nobody."""

import asyncio
import random
import threading
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI
from support.gates import gate_for
from unit.access.test_own import some_point

from cardservice.access.own.service import OwnPoint, OwnView
from cardservice.access.rules import Reason
from cardservice.doors.pages import doors_page
from cardservice.web.gate import Gate
from cardservice.web.pages import Pages
from cardservice.workstations.pages import workstations_page
from cardservice.workstations.rules import MAX_LOGIN_LENGTH

# 2026-03-16T09:00:00Z, ten o'clock in Germany.
MONDAY_MS = 1_773_651_600_000
POINT = some_point(random.Random(1), "p")
NOTHING = OwnView(MONDAY_MS, True, None, (), (), 0)
PATHS = ("/my/doors", "/my/pc")


async def look(view: OwnView, path: str, *, login: str | None = "anna", lang: str = "de") -> str:
    """Return the page of somebody with this view."""

    def of_this_person(person: int) -> OwnView:
        assert person == 7
        return view

    return await fetch(of_this_person, gate_for(7), path, login=login, lang=lang)


async def fetch(view, gate: Gate, path: str, *, login: str | None = "anna", lang: str = "de") -> str:
    app, pages = FastAPI(), Pages()
    app.include_router(doors_page(view, gate, pages))
    app.include_router(workstations_page(view, lambda _: login, gate, pages))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://page") as client:
        answer = await client.get(path, params={"lang": lang})
    assert answer.status_code == 200
    # What stands around it is every page's.
    return answer.text[answer.text.index("<main") :]


@pytest.mark.parametrize("path", PATHS)
async def test_a_name_is_text_and_nothing_else(path: str) -> None:
    """Whatever stands in the store, in either list, and how the moment is written."""
    points = [OwnPoint(replace(POINT, name=f"<b>{n}</b>"), "A & <i>", Reason.OUTSIDE_SCHEDULE) for n in (1, 2)]
    page = await look(replace(NOTHING, open=(points[0],), later=(points[1],)), path, login="<u>")
    assert "&lt;b&gt;1&lt;/b&gt;" in page.partition("<details")[0]
    assert "&lt;b&gt;2&lt;/b&gt;" in page.partition("<details")[2]
    assert page.count("A &amp; &lt;i&gt;") == 2
    assert not any(tag in page for tag in ("<b>", "<i>", "<u>"))
    assert "Stand: 16.03.2026 10:00." in page
    assert "As of 2026-03-16 10:00." in await look(NOTHING, path, lang="en")


@pytest.mark.parametrize(("path", "empty"), [(PATHS[0], "keine Tür"), (PATHS[1], "keinen PC")])
async def test_nothing_open_is_said_and_what_is_left_is_unfolded(path: str, empty: str) -> None:
    """Unfolded only then; and what the page left out is counted."""
    one = OwnPoint(POINT, "Haus", Reason.LOCKED_DOWN)
    nothing = await look(NOTHING, path)
    assert f"Zurzeit {'öffnet' if path == PATHS[0] else 'entsperrt'} Ihre Karte {empty}." in nothing
    assert "<details" not in nothing
    assert "es fehlen:" not in nothing
    assert "<details open>" in await look(replace(NOTHING, later=(one,)), path)
    some = await look(replace(NOTHING, open=(one,), later=(one,), more=12), path)
    assert "<details>" in some
    assert "es fehlen: 12<" in some
    assert empty not in some


@pytest.mark.parametrize("path", PATHS)
async def test_a_card_out_of_use_hides_everything_else(path: str) -> None:
    one = OwnPoint(POINT, "Haus", Reason.LOCKED_DOWN)
    page = await look(replace(NOTHING, out_of_use=Reason.CARD_SUSPENDED, later=(one,)), path)
    assert "vorübergehend gesperrt" in page
    assert "<table" not in page
    assert "Zurzeit" not in page


@pytest.mark.parametrize("login", [None, "", "x" * (MAX_LOGIN_LENGTH + 1)])
async def test_without_a_login_no_pc_is_promised(login: str | None) -> None:
    """The tap would say the same: there is no session to unlock."""
    one = OwnPoint(POINT, "Haus", Reason.GRANTED)
    page = await look(replace(NOTHING, open=(one,)), "/my/pc", login=login)
    assert "Für Sie ist keine Anmeldung am PC hinterlegt." in page
    assert "<table" not in page
    assert "no login for you" in await look(replace(NOTHING, open=(one,)), "/my/pc", login=login, lang="en")
    lost = await look(replace(NOTHING, out_of_use=Reason.CARD_REVOKED), "/my/pc", login=login)
    assert "gesperrt" in lost
    assert "keine Anmeldung" not in lost


@pytest.mark.parametrize("path", PATHS)
async def test_a_store_that_is_slow_holds_up_nobody(path: str) -> None:
    """Whoever looks at their page waits for it beside the event loop."""
    loop, waited = asyncio.get_running_loop(), []

    def slow(_: int) -> OwnView:
        go_on = threading.Event()
        loop.call_soon_threadsafe(go_on.set)
        waited.append(go_on.wait(5))
        return NOTHING

    await fetch(slow, gate_for(1), path)
    assert waited == [True]
