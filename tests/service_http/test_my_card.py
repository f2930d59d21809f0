# SPDX-License-Identifier: EUPL-1.2
"""One's own card: what is stored, who looked, why refused, reporting a loss; and never anything of anybody else."""

import asyncio
import html
from collections.abc import Iterator

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, MakeCity, build
from support.service import AGENT, CALLERS, directory_in_thread

from cardservice import parts
from cardservice.access.rules import Reason
from cardservice.access.sentences import SENTENCES
from cardservice.cards.store import card
from cardservice.clock import SystemClock
from cardservice.database import read, write
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.doors.openings import KEPT_REQUESTS_MS
from cardservice.keeping import LIMITS
from cardservice.mycard.service import Kept, MyCard, Names
from cardservice.people.store import person
from cardservice.people.web_sessions import web_session
from cardservice.printing.service import KEPT_MS
from cardservice.web.i18n import when
from cardservice.web.login_devices import KEPT_S
from cardservice.web.once import KEEP_MS

DOOR, CLOCK = "bauamt.aussen", "zeit.eingang"
ANNA, SABINE, MEHMET = "schmidt", "krueger", "yilmaz"
ASKED_BY = "auditor"


def state_rows(city: City, table: sa.Table) -> list[sa.Row]:
    with city.files.stores() as stores, read(stores.state) as connection:
        return list(connection.execute(sa.select(table).order_by(table.c.id)))


def people(city: City) -> dict[str, int]:
    return {row.login: row.id for row in state_rows(city, person)}


def cards_of(city: City, login: str) -> list[sa.Row]:
    number = people(city)[login]
    return [row for row in state_rows(city, card) if row.person_id == number]


def shown(city: City, login: str, path: str = "/my", lang: str = "de", **params: str) -> str:
    answered = city.visitor(login).get(path, params={"lang": lang, **params})
    assert (answered.status_code, answered.headers["cache-control"]) == (200, "no-store")
    return html.unescape(answered.text)


def explain(city: City, login: str) -> None:
    headers = {"Authorization": f"Bearer {CALLERS[ASKED_BY][0]}"}
    body = {"point": DOOR, "login": login}
    answered = httpx2.post(f"{city.service.url}/api/v1/access/explain", json=body, headers=headers)
    assert answered.status_code == 200, answered.text


async def tap(city: City, agent: str, name: str, point: str) -> str:
    async with city.agent(agent) as there:
        return (await there.tap(city.card(name), point)).reason


@pytest.fixture(scope="module")
def used(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """Anna has booked and was asked about; Sabine was refused at a door."""
    with directory_in_thread() as directory:
        city = build(directory, tmp_path_factory.mktemp("mine"), database_url)
        city.enrol(PLACES_AGENT)
        assert asyncio.run(tap(city, PLACES_AGENT, "anna", CLOCK)) == Reason.GRANTED
        assert asyncio.run(tap(city, AGENT, "sabine", DOOR)) == Reason.NO_GRANT
        explain(city, ANNA)
        city.service.recorded()
        yield city
        city.close()


def test_what_somebody_finds_is_their_own(used: City) -> None:
    """Name, card, booking, who asked: Anna's stand on Anna's page, in both languages."""
    page = shown(used, ANNA)
    (own,) = cards_of(used, ANNA)
    for text in ("Anna Schmidt", own.reference[:8], "in Gebrauch", "Ihr Zugang wurde nachgesehen", ASKED_BY):
        assert text in page
    assert "Es ist keine Ablehnung Ihrer Karte gespeichert." in page
    english = shown(used, ANNA, lang="en")
    assert "Your access was looked up" in english
    assert "Who looked at my data?" in english


def test_a_refusal_is_told_with_the_holders_sentence(used: City) -> None:
    words = SENTENCES[Reason.NO_GRANT]
    assert words.holder_de in shown(used, SABINE)
    assert words.holder_en in shown(used, SABINE, lang="en")
    assert words.holder_de not in shown(used, ANNA)


def test_nobody_reads_what_is_anothers(used: City) -> None:
    """Neither name, card, looks nor refusals of one person stand on the page of any other, in the store or in HTML."""
    mine = MyCard(
        used.service.service._databases,
        Names(used.service.service._keys.secret, used.service.service._journal),
        SystemClock(),
        lambda: None,
        Kept({name: limit.usual for name, limit in LIMITS.items()}, frozenset),
    )
    numbers = people(used)
    records = {login: mine.record(number) for login, number in numbers.items()}
    assert sum(one.uses["timeclock"][1].count for one in records.values()) == 1
    assert records[ANNA].uses["timeclock"][1].count == 1
    assert [login for login, one in records.items() if one.refusals] == [SABINE]
    assert [login for login, one in records.items() if any(look.what == "explained" for look in one.looks)] == [ANNA]
    for login in (ANNA, SABINE, MEHMET):
        page = shown(used, login)
        others = {other: one for other, one in records.items() if other != login}
        found = [one.entry.directory["name"] for one in others.values() if one.entry.directory["name"] in page]
        found += [one.reference for other in others.values() for one in other.cards if one.reference[:8] in page]
        assert found == []


@pytest.mark.parametrize("reference", ["theirs", "0" * 36, "", "' OR 1=1 --"])
def test_anothers_card_is_no_card(used: City, reference: str) -> None:
    """To ask about it and to report it is answered alike, whether it exists or not; nothing changes."""
    if reference == "theirs":
        reference = cards_of(used, SABINE)[0].reference
    visitor, before = used.visitor(MEHMET), state_rows(used, card)
    form = {"form_token": visitor.form_token(), "card": reference, "sure": "1"}
    for answered in (visitor.get("/my/lost", params={"card": reference}), visitor.post("/my/lost", data=form)):
        assert (answered.status_code, answered.json()["detail"]) == (404, "you have no such card")
    assert state_rows(used, card) == before


def test_without_being_sure_nothing_is_blocked(used: City) -> None:
    """And not without the page's token, nor without a password typed a moment ago."""
    visitor, own = used.visitor(MEHMET), cards_of(used, MEHMET)[0]
    token = visitor.form_token()
    form = {"card": own.reference, "sure": "1"}
    assert visitor.post("/my/lost", data={"form_token": token, "card": own.reference}).status_code == 422
    assert visitor.post("/my/lost", data=form).json()["code"] == "form_token"
    assert f'value="{own.reference}"' in visitor.get("/my/lost", params={"card": own.reference}).text
    with used.files.stores() as stores, write(stores.state) as connection:
        mine = web_session.c.person_id == people(used)[MEHMET]
        connection.execute(sa.update(web_session).where(mine).values(confirmed_ms=0))
    answered = visitor.post("/my/lost", data={**form, "form_token": token})
    assert (answered.status_code, answered.json()["code"]) == (403, "confirmation_needed")
    asked = visitor.get("/my/lost", params={"card": own.reference})
    assert (asked.status_code, asked.headers["location"].partition("?")[0]) == (303, "/confirm")
    assert cards_of(used, MEHMET)[0].state == "active"
    # Whoever comes next signs in anew.
    used.visitors.pop(MEHMET).client.close()


def test_a_lost_card_ends_everywhere_at_once(make_city: MakeCity) -> None:
    """Door and time clock refuse it at the next tap; the card is revoked as lost, and reporting it again says so."""
    city = make_city()
    city.enrol(PLACES_AGENT)
    visitor, own = city.visitor(ANNA), cards_of(city, ANNA)[0]
    form = {"form_token": visitor.form_token(), "card": own.reference, "sure": "1"}
    answered = visitor.post("/my/lost", data=form)
    assert (answered.status_code, answered.headers["location"]) == (303, "/my?reported=1")
    for agent, point in ((AGENT, DOOR), (PLACES_AGENT, CLOCK)):
        assert asyncio.run(tap(city, agent, "anna", point)) == Reason.CARD_REVOKED
    now = cards_of(city, ANNA)[0]
    assert (now.state, now.state_reason) == ("revoked", "lost")
    page = shown(city, ANNA, reported="1")
    assert "endgültig gesperrt" in page
    assert "Ihre Karte ist für alles gesperrt." in page
    assert visitor.post("/my/lost", data=form).status_code == 409
    assert "nicht mehr in Gebrauch" in shown(city, ANNA, "/my/lost", card=own.reference)


def test_the_overview_names_ones_roles_and_pages(used: City) -> None:
    page = shown(used, ANNA, "/")
    assert "Beschäftigte" in page
    assert 'href="/my/doors"' in page
    assert 'href="/accounts"' not in page


def test_the_public_pages_say_the_figures_that_the_code_obeys(used: City) -> None:
    """Nobody has to sign in; each figure is the constant or setting by which something is deleted or ends."""
    kept = parts.retention(used.files.settings())
    days_ms = 86_400_000
    assert kept.days == {name: limit.usual for name, limit in LIMITS.items()}
    assert (kept.printing_days, kept.door_request_days) == (KEPT_MS // days_ms, KEPT_REQUESTS_MS // days_ms)
    assert (kept.device_days, kept.answer_hours) == (KEPT_S // 86_400, KEEP_MS // 3_600_000)
    for lang, said in (
        (
            "de",
            (
                *("höchstens 10 Stunden", "ohne Benutzung 30 Minuten", "180 Tage", "48 Stunden"),
                *("7 Tage; an Türen, die Karte und PIN verlangen, 30 Tage", "Buchungen: zwei Jahre"),
                *("Kartenvorgänge ohne Buchung: 62 Tage", "Wer wessen Daten ansah: 730 Tage"),
            ),
        ),
        (
            "en",
            (
                *("10 hours at most", "30 minutes without use", "180 days", "48 hours"),
                *("7 days; at doors that demand card and PIN 30 days", "Sign-ins and changes: 90 days"),
                *("eight years after the end of their year, or 90 days after you left", "Who decided: 730 days"),
            ),
        ),
    ):
        answered = httpx2.get(f"{used.service.url}/privacy", params={"lang": lang})
        assert answered.status_code == 200
        assert [text for text in said if text not in html.unescape(answered.text)] == []
        assert "Stadt Musterstadt" in answered.text
        assert httpx2.get(f"{used.service.url}/accessibility", params={"lang": lang}).status_code == 200


def test_everything_that_is_stored_says_when_it_is_deleted(used: City) -> None:
    """Each item of Anna's page stands with the day that its limit gives; what has no day says what it waits for."""
    page = shown(used, ANNA, lang="en")
    mine = used.service.service._keeper.retention
    rows = {one.name: one for one in mine.standing()}
    booked_ms = rows["time_bookings"].oldest_ms
    assert booked_ms is not None
    assert when(booked_ms + LIMITS["time_bookings"].usual * 86_400_000, "en") in page
    asked_ms = rows["lookups"].oldest_ms
    assert asked_ms is not None
    assert when(asked_ms + LIMITS["lookups"].usual * 86_400_000, "en") in page
    assert "no date is set" not in page
    assert "90 days after you left" in page


def test_what_is_kept_for_longer_is_said_with_its_reason(make_city: MakeCity) -> None:
    """To everybody at /privacy, and to those who watch over it."""
    reason = "Agreed with the staff council on 1 July"
    city = make_city(**{"retention": {"doors": 30}, "retention.reasons": {"doors": reason}})
    page = html.unescape(httpx2.get(f"{city.service.url}/privacy", params={"lang": "en"}).text)
    assert f"Who was at a door: 30 days instead of 7 days. Reason: {reason}" in page
