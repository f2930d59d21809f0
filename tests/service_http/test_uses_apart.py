# SPDX-License-Identifier: EUPL-1.2
"""The five uses are never linked, not by tables, queries, streams, routes or numbers; a planted link is caught."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from support.scripted_agent import LIMIT_S, CardInHand
from support.service import CALLER_POINTS, CALLERS, TOP_UPS

from cardservice.access.rules import Reason, Use
from cardservice.cards.store import credential
from cardservice.database import RECORD, read, write
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.journal.store import journal_entry, journal_subject, journal_subject_key
from cardservice.pseudonyms import pseudonym_of
from cardservice.timeclock.store import timeclock_booking
from cardservice.use_guard import UsesLinked, uses_of
from city import people, seed

# What belongs to no use: the journal keeps one stream for each, agents' events say which reader and nothing else.
SHARED = {
    *("journal_entry", "journal_head", "journal_epoch", "journal_count", "journal_subject", "journal_subject_key"),
    *("agent_event", "event_gap", "alembic_version"),
    # What is over in any of them is erased; who left is nobody's use.
    *("retention_pass", "retention_clock", "departure"),
}
PREFIXES = {
    "canteen": ("canteen_", "ledger_"),
    "timeclock": ("timeclock_",),
    "printer": ("print_",),
    "door": ("door_",),
    "workstation": ("workstation_",),
}
REVIEWS = tuple(f"/api/v1/access/{part}" for part in ("reviews", "zones", "grants"))
# What only people do, and what one account for the access model does.
ACCOUNTS_OF = dict.fromkeys(("accounts", "webhooks", "agents", "taps", "approvals"), "nobody")
ACCOUNTS_OF |= dict.fromkeys(("audit", "retention", "keys"), "nobody")
ACCOUNTS_OF |= dict.fromkeys(("zones", "points", "point-classes", "schedules", "special-days", "grants"), "model")
BEGIN_WITH = {TOP_UPS: "payroll"} | dict.fromkeys(REVIEWS, "review")
BEGIN_WITH |= {f"/api/v1/{part}": "cards" for part in ("card-stock", "card-batches", "people/{person}/lost", "encod")}
BEGIN_WITH |= dict.fromkeys(("/api/v1/certificates", "/api/v1/badges", "/api/v1/old-numbers"), "cards")
BEGIN_WITH |= {"/api/v1/people/{person}/pin": "nobody"}
# Shorter texts are words; longer ones could tell somebody apart.
TELLING = 12
# One's own pages, each of one use.
OWN_PAGES = {
    "/my/canteen": Use.CANTEEN,
    "/my/doors": Use.DOOR,
    "/my/pc": Use.WORKSTATION,
    "/my/printing": Use.PRINTER,
    "/my/time": Use.TIMECLOCK,
    "/my/time.csv": Use.TIMECLOCK,
}
# The question before a card is blocked, and the one PIN, both for every use at once; they name no point.
ABOUT_ALL = {"/my/lost", "/my/pin"}
# Facts that say where the directory copy came from, the same for everybody at that moment.
COMMON_FACTS = {"directory"}


def test_every_table_says_whose_it_is():
    """A table of the record is one use's, named after it, or one of the few that are shared by design."""
    owners = uses_of(RECORD)
    unowned = set(RECORD.tables) - set(owners)
    assert unowned <= SHARED
    for table, use in owners.items():
        assert table.startswith(PREFIXES[use]), table


def test_a_planted_query_over_two_uses_is_not_run(city):
    """Whoever writes it, however it is spelt: the driver never sees it."""
    statements = (
        "SELECT * FROM timeclock_booking, canteen_payment",
        "INSERT INTO timeclock_booking (pseudonym) SELECT wallet FROM canteen_payment",
        'SELECT 1 FROM "print_release" WHERE pseudonym IN (SELECT owner FROM "ledger_account")',
    )
    with city.files.stores() as databases:
        for statement in statements:
            with pytest.raises(UsesLinked, match="never linked"), read(databases.record) as connection:
                connection.execute(sa.text(statement))
        with read(databases.record) as connection:
            connection.execute(sa.text("SELECT count(*) FROM timeclock_booking")).scalar()


def test_each_use_knows_a_card_by_its_own_number_and_a_person_by_its_own_name(city):
    """No number on a card and no pseudonym in the store is the same in two uses."""
    numbers = [seed.number("anna", use) for use in seed.USES]
    assert len(set(numbers)) == len(numbers)
    with city.files.stores() as databases, read(databases.state) as connection:
        keys = [bytes(row.key) for row in connection.execute(sa.select(credential.c.key))]
    assert len(set(keys)) == len(keys)
    secrets = {use: city.service.service._pseudonyms(use.value)() for use in Use}
    assert len(set(secrets.values())) == len(Use)
    assert len({pseudonym_of(secret, 1) for secret in secrets.values()}) == len(Use)


def use_of(method: str, path: str) -> str:
    """Which use a route belongs to, as a caller's settings name it."""
    if (method, path) == ("post", "/api/v1/taps"):
        return "tap"
    if path.startswith("/api/v1/outsider"):
        return "people" if method == "get" else "nobody"
    for beginning, use in BEGIN_WITH.items():
        if path.startswith(beginning):
            return use
    if path.endswith("/lockdown"):
        return "door"
    place = "cards" if path.endswith("}/cards") else path.split("/")[3]
    return {"doors": "door", "directories": "directory"}.get(place) or ACCOUNTS_OF.get(place, place)


def routes(city) -> list[tuple[str, str, str]]:
    """Return method, path and use of every route for callers."""
    described = json.loads(city.service.get("/openapi.json")[1])["paths"]
    found = [
        (method, path, use_of(method, path))
        for path, methods in described.items()
        if path.startswith("/api/v1/")
        for method in methods
    ]
    ours = {"canteen", "payroll", "door", "directory", "access", "review", "tap", "live"}
    ours |= {"people", "cards", "model", "nobody"}
    assert {use for _, _, use in found} == ours
    return found


def answered(city, method: str, path: str, token: str | None) -> tuple[int, str]:
    """Return status and code of an empty request."""
    filled = {"terminal": "kantine.kasse-1", "payment": "0" * 32, "door": "bauamt.aussen", "zone": "rathaus"}
    filled |= {"code": "none", "verdict": "keep"}
    named = defaultdict(lambda: "1", filled)
    headers = {"Idempotency-Key": "k" * 16} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    response = httpx2.request(method, city.service.url + path.format_map(named), json={}, headers=headers)
    return response.status_code, response.json()["code"]


@pytest.mark.timeout(300)
def test_every_route_is_one_uses_own(city):
    """No token of one use opens a route of another: it learns that, and not even whether its request was complete."""
    for method, path, use in routes(city):
        for name, (token, uses) in CALLERS.items():
            if use not in uses:
                assert answered(city, method, path, token) == (403, "foreign_use"), (name, method, path)


def test_no_route_answers_without_a_token(city):
    """Whoever has none is told nothing but that; a wrong one is none."""
    for method, path, _ in routes(city):
        for token in (None, "wrong"):
            assert answered(city, method, path, token) == (401, "not_authenticated"), (method, path)


def test_a_caller_with_points_of_its_own_sees_and_opens_no_other_door(city):
    """Its list and its events are its own door's; a foreign door, and a lockdown of whole zones, are not its to ask."""
    (own,) = CALLER_POINTS["annexe"]
    headers = {"Authorization": f"Bearer {CALLERS['annexe'][0]}", "Idempotency-Key": "k" * 16}
    with httpx2.Client(base_url=city.service.url, headers=headers) as annexe:
        assert [door["code"] for door in annexe.get("/api/v1/doors").json()["doors"]] == [own]
        for method, path in (
            ("POST", "/api/v1/doors/serverraum.aussen/open"),
            ("PUT", "/api/v1/zones/bauamt/lockdown"),
            ("DELETE", "/api/v1/zones/bauamt/lockdown"),
        ):
            refused = annexe.request(method, path, json={"reason": "Probe"})
            assert (refused.status_code, refused.json()["code"]) == (403, "foreign_point"), path
        # Its own door is asked, and away.
        assert annexe.post(f"/api/v1/doors/{own}/open", json={"reason": "Probe"}).status_code != 403


def test_every_page_of_ones_own_is_one_uses_own(city):
    """Somebody who may use every place reads on each page of that use's points alone; no caller's token opens one."""
    paths = set(json.loads(city.service.get("/openapi.json")[1])["paths"])
    described = sorted(path for path in paths - ABOUT_ALL if path.startswith("/my/"))
    assert paths >= ABOUT_ALL
    # Without a print system there is no page of it.
    assert set(described) == OWN_PAGES.keys() - {"/my/printing"}
    points = city.service.service.city.snapshot.points.values()
    with httpx2.Client(base_url=city.service.url, timeout=15) as client:
        for path in described:
            page = city.visitor(people.ANNA.login).get(path)
            assert page.status_code == 200
            named = {point.use for point in points if point.name in page.text or point.code in page.text}
            assert named <= {OWN_PAGES[path]}, path
            for token, _ in CALLERS.values():
                refused = client.get(path, headers={"Authorization": f"Bearer {token}"})
                assert (refused.status_code, refused.json()["code"]) == (403, "foreign_use")


def person_columns(tables: Iterable[sa.Table]) -> dict[str, set[str]]:
    """Return use -> its columns that hold a person's number, which is the same in every use."""
    found: dict[str, set[str]] = {}
    for table in tables:
        numbers = {f"{table.name}.{one.name}" for one in table.columns if _is_persons_number(one)}
        if "use" in table.info and numbers:
            found.setdefault(table.info["use"], set()).update(numbers)
    return found


def _is_persons_number(column: sa.Column[Any]) -> bool:
    return "person" in column.name and isinstance(column.type, sa.Integer)


def test_no_use_knows_people_by_the_number_all_uses_share():
    """The record of a use has pseudonyms only; a planted column with a person's number is found."""
    assert person_columns(RECORD.tables.values()) == {}
    planted = sa.Table("door_visitor", sa.MetaData(), sa.Column("person_id", sa.BigInteger), info={"use": "door"})
    assert person_columns([planted]) == {"door": {"door_visitor.person_id"}}


async def one_day(city) -> None:
    """One person taps at a door, a time clock, in the canteen, at a printer and at a PC."""
    city.enrol(PLACES_AGENT)
    async with city.agent() as doors:
        assert (await doors.tap(city.card("anna"), "serverraum.aussen")).reason == "no_grant"
    async with city.agent(PLACES_AGENT) as places:
        assert (await places.tap(city.card("anna"), "zeit.eingang")).answer.done
        assert (await places.tap(city.card("anna"), "kantine.kasse-1")).answer.code == "balance"
    assert (await asyncio.to_thread(city.service.top_up, "10017", 100)).status_code == 200
    # Who may print or open a PC leaves no line here; a refusal does.
    await asyncio.to_thread(city.directory.set_disabled, "schmidt", disabled=True)
    async with city.agent(PLACES_AGENT) as places, asyncio.timeout(LIMIT_S):
        reason = ""
        while reason != "person_disabled":
            await places.send(places.present("pc.bauamt"))
            reason = (await places.converse(CardInHand(city.card("anna"), "contact"))).reason
        assert (await places.tap(city.card("anna"), "druck.flur")).reason == "person_disabled"
    city.service.recorded()


def told_by_use(connection: sa.Connection) -> dict[str, set[str]]:
    """Return every telling value that the record holds, by use."""
    found: dict[str, set[str]] = {}
    for name, use in uses_of(RECORD).items():
        for row in connection.execute(sa.select(RECORD.tables[name])):
            found.setdefault(use, set()).update(telling(row))
    for table in (journal_entry, journal_subject, journal_subject_key):
        for row in connection.execute(sa.select(table)):
            found.setdefault(row.stream, set()).update(telling(row))
    return found


def telling(row: sa.Row[Any]) -> Iterator[str]:
    for name, value in row._mapping.items():
        if name in {"stream", "terminal", "point", "caller", "queue", "printer"}:
            continue
        if name == "payload":
            payload = {key: fact for key, fact in json.loads(value).items() if key not in COMMON_FACTS}
            facts = {fact for fact in payload.values() if isinstance(fact, str) and len(fact) >= TELLING}
            yield from facts - set(Reason)
        elif isinstance(value, bytes) and any(value):
            yield value.hex()
        elif isinstance(value, str) and len(value) >= TELLING:
            yield value


def links(told: dict[str, set[str]]) -> set[str]:
    """Return the values that two uses share."""
    uses = sorted(told)
    return {value for i, one in enumerate(uses) for other in uses[i + 1 :] for value in told[one] & told[other]}


async def test_after_a_day_nothing_in_the_record_links_two_uses(make_city):
    """The same person everywhere, and no value in common; a planted shared identifier is found."""
    city = make_city()
    await one_day(city)
    with city.files.stores() as databases:
        with read(databases.record) as connection:
            told = told_by_use(connection)
            wallet = connection.execute(sa.text("SELECT owner FROM ledger_account WHERE kind = 'wallet'")).scalar()
        assert all(told.get(use) for use in Use), sorted(told)
        assert links(told) == set()
        with write(databases.record) as connection:
            connection.execute(sa.update(timeclock_booking).values(pseudonym=wallet))
        with read(databases.record) as connection:
            assert links(told_by_use(connection)) == {wallet}
