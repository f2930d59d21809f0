# SPDX-License-Identifier: EUPL-1.2
"""The five uses are never linked, not by tables, queries, streams, routes or numbers; a planted link is caught."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from support.service import CALLERS

from cardservice.access.rules import Use
from cardservice.cards.store import credential
from cardservice.database import RECORD, read, write
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.journal.store import journal_entry, journal_subject, journal_subject_key
from cardservice.pseudonyms import pseudonym_of
from cardservice.timeclock.store import timeclock_booking
from cardservice.use_guard import UsesLinked, uses_of
from city import seed

# What belongs to no use: the journal keeps one stream for each, agents' events say which reader and nothing else.
SHARED = {
    *("journal_entry", "journal_head", "journal_epoch", "journal_count", "journal_subject", "journal_subject_key"),
    *("agent_event", "event_gap", "alembic_version"),
}
PREFIXES = {
    "canteen": ("canteen_", "ledger_"),
    "timeclock": ("timeclock_",),
    "printer": ("print_",),
    "door": ("door_",),
    "workstation": ("workstation_",),
}
# Shorter texts are words; longer ones could tell somebody apart.
TELLING = 12
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


def test_every_route_is_one_uses_own(city):
    """No token of one use opens a route of another; routes without a use tell nothing about people."""
    described = json.loads(city.service.get("/openapi.json")[1])["paths"]
    routes = {path: list(methods) for path, methods in described.items() if path.startswith("/api/v1/")}
    del routes["/api/v1/live"]
    assert {path.split("/")[3] for path in routes} == {"canteen", "doors", "zones"}
    filled = {"terminal": "kantine.kasse-1", "payment": "0" * 32, "door": "bauamt.aussen", "zone": "rathaus"}
    own = {"canteen": {"till-1", "payroll"}, "doors": {"facility"}, "zones": {"facility"}}
    with httpx2.Client(base_url=city.service.url) as client:
        for path, methods in routes.items():
            for name, (token, _) in CALLERS.items():
                if name in own[path.split("/")[3]]:
                    continue
                for method in methods:
                    response = client.request(
                        method,
                        path.format(**filled),
                        json={},
                        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k" * 16},
                    )
                    assert (response.status_code, response.json()["code"]) in {(403, "foreign_use"), (422, "invalid")}
                    assert response.status_code == 403 or "loc" not in response.text


async def one_day(city) -> None:
    """One person taps at a door, a time clock and in the canteen."""
    city.enrol(PLACES_AGENT)
    async with city.agent() as doors:
        assert (await doors.tap(city.card("anna"), "serverraum.aussen")).reason == "no_grant"
    async with city.agent(PLACES_AGENT) as places:
        assert (await places.tap(city.card("anna"), "zeit.eingang")).answer.done
        assert (await places.tap(city.card("anna"), "kantine.kasse-1")).answer.code == "balance"
        # A refusal writes a line for this use, too.
        assert (await places.tap(city.card("tomasz"), "druck.flur")).reason == "card_revoked"
    async with httpx2.AsyncClient(base_url=city.service.url) as client:
        headers = {"Authorization": f"Bearer {CALLERS['payroll'][0]}", "Idempotency-Key": "one-day-top-up"}
        body = {"personnel_number": "10017", "amount_cents": 100, "source": "payroll"}
        assert (await client.post("/api/v1/canteen/top-ups", json=body, headers=headers)).status_code == 200
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
            yield from (fact for fact in payload.values() if isinstance(fact, str) and len(fact) >= TELLING)
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
        assert {"canteen", "door", "timeclock", "printer"} <= set(told)
        assert all(told[use] for use in ("canteen", "door", "timeclock", "printer"))
        assert links(told) == set()
        with write(databases.record) as connection:
            connection.execute(sa.update(timeclock_booking).values(pseudonym=wallet))
        with read(databases.record) as connection:
            assert links(told_by_use(connection)) == {wallet}
