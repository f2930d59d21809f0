# SPDX-License-Identifier: EUPL-1.2
"""The page of one's own waiting documents, in both languages."""

import httpx2
import pytest
from fastapi import FastAPI
from support.gates import gate_for

from cardservice.printing.pages import waiting_page
from cardservice.printing.ports import HeldJob, SpoolerDown
from cardservice.web.pages import Pages

# 2026-03-16T09:00:00Z, ten o'clock in Germany.
SINCE_MS = 1_773_651_600_000


class Waiting:
    """What waits for Anna, or that the spooler does not answer."""

    def __init__(self) -> None:
        self.jobs: tuple[HeldJob, ...] | None = (HeldJob(1, "Vermerk <geheim>", "anna", SINCE_MS),)

    async def held(self, owner: str) -> tuple[HeldJob, ...]:
        if self.jobs is None:
            raise SpoolerDown
        return tuple(job for job in self.jobs if job.owner == owner)


@pytest.fixture
def spooler() -> Waiting:
    return Waiting()


@pytest.fixture
async def page(spooler):
    def owner_of(person: int) -> str | None:
        return {1: "anna"}.get(person)

    app = FastAPI()
    app.include_router(waiting_page(spooler, owner_of, gate_for(1), Pages("cardservice.printing")))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://page") as client:
        yield client


async def test_ones_documents_are_listed_with_their_time_in_germany(page):
    """The browser's language, unless another was chosen; a title is text and nothing else."""
    german = (await page.get("/my/printing", headers={"Accept-Language": "de-DE"})).text
    assert "Vermerk &lt;geheim&gt;" in german
    assert "16.03. 10:00" in german
    assert '<a href="?lang=en" hreflang="en" lang="en">English</a>' in german
    english = (await page.get("/my/printing", headers={"Accept-Language": "en-GB,de"})).text
    assert "03-16 10:00" in english
    assert '<a href="?lang=de" hreflang="de" lang="de">Deutsch</a>' in english
    chosen = await page.get("/my/printing", params={"lang": "de"}, headers={"Accept-Language": "en"})
    assert '<html lang="de">' in chosen.text


async def test_nothing_waiting_and_no_answer_are_told_apart(page, spooler):
    spooler.jobs = ()
    assert "Es wartet nichts." in (await page.get("/my/printing")).text
    spooler.jobs = None
    assert "Das Drucksystem antwortet nicht." in (await page.get("/my/printing")).text
