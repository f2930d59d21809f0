# SPDX-License-Identifier: EUPL-1.2
"""The month as page and as file, in the language that was chosen or that the browser asks for."""

import httpx2
import pytest
from fastapi import FastAPI
from support.gates import gate_for
from unit.timeclock.book import at
from unit.timeclock.terminal import ANNA, book, permitted, secret

from cardservice.timeclock.pages import time_pages
from cardservice.timeclock.place import TimeClock
from cardservice.timeclock.service import TimeSheets
from cardservice.web.pages import Pages


@pytest.fixture
async def pages(databases, clock):
    """Anna's, who came at eight."""
    clock.wall_ms = at("2026-03-16 12:00")
    book(databases.record, TimeClock(secret, clock), permitted("2026-03-16 08:00"))
    app = FastAPI()
    sheets = TimeSheets(databases.record, secret, clock)
    app.include_router(time_pages(sheets, gate_for(ANNA), Pages("cardservice.timeclock")))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://page") as client:
        yield client


async def test_the_file_is_in_the_language_of_the_page(pages):
    """English where the browser prefers it, as the page is; a choice counts more than the browser."""
    english = await pages.get("/my/time.csv", headers={"Accept-Language": "en-GB,de"})
    assert english.text.startswith("Working day;")
    assert english.headers["content-disposition"] == 'attachment; filename="times-2026-03.csv"'
    for options in ({}, {"params": {"lang": "de"}, "headers": {"Accept-Language": "en"}}):
        german = await pages.get("/my/time.csv", **options)
        assert german.text.removeprefix("\ufeff").startswith("Arbeitstag;")
        assert german.headers["content-disposition"] == 'attachment; filename="zeiten-2026-03.csv"'


async def test_the_page_leads_to_other_months_the_file_and_the_other_language(pages):
    """The month that is shown stays so in the other language."""
    month = (await pages.get("/my/time", params={"month": "2026-02"}, headers={"Accept-Language": "en"})).text
    assert "<title>My times February 2026 · One card</title>" in month
    assert "<h1>My times: February 2026</h1>" in month
    assert '<nav class="own" aria-label="Months">' in month
    for link in (
        '<a href="?month=2026-01&amp;lang=en">Month before</a>',
        '<a href="?month=2026-03&amp;lang=en">Month after</a>',
        '<a href="/my/time.csv?month=2026-02&amp;lang=en" download>Download as CSV</a>',
        '<a href="?month=2026-02&amp;lang=de" hreflang="de" lang="de">Deutsch</a>',
    ):
        assert link in month
