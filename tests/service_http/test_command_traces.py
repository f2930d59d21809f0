# SPDX-License-Identifier: EUPL-1.2
"""A change by the command line leaves a line in the audit before it is made, beside the running service."""

import json
import os
import pwd
from typing import Any

import pytest
import sqlalchemy as sa
from service_http.conftest import City, MakeCity
from support.command import run_cli

from cardservice.cards.store import card
from cardservice.database import read
from cardservice.journal.audit import STREAM
from cardservice.journal.rules import Place
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry

REASON = "Ticket 4711, Frau Krüger"


def lines(city: City) -> list[sa.Row[Any]]:
    rows = [row for row in city.files.rows(journal_entry) if row.stream == STREAM]
    return sorted(rows, key=lambda row: (row.epoch, row.sequence))


def sealed(city: City, row: sa.Row[Any]) -> Any:
    with city.files.stores() as stores, stores.record.connect() as connection:
        verify(stores.record)
        return city.service.service._journal.open_sealed(connection, Place(STREAM, row.epoch, row.sequence))


def run(city: City, *arguments: str) -> int:
    return run_cli(*arguments, "--config", str(city.files.config)).returncode


def test_what_is_changed_by_the_command_line_is_on_record(make_city: MakeCity) -> None:
    """Which operation, openly; who runs it and why, sealed. The service goes on writing, and every chain verifies."""
    city = make_city()
    with city.files.stores() as stores, read(stores.state) as connection:
        reference = connection.execute(sa.select(card.c.reference).order_by(card.c.id)).scalars().first()
    before = len(lines(city))
    said = {
        "accounts.add": ("accounts", "add", "till-9", "--scope", "canteen", "--reason", REASON, "--by", "Mehmet"),
        "cards.change": ("cards", "set-state", str(reference), "suspended", "missing"),
        "agents.lock": ("agents", "lock", "rathaus"),
    }
    assert [run(city, *command) for command in said.values()] == [0] * len(said)
    found = lines(city)[before:]
    payloads = [json.loads(row.payload) for row in found]
    assert [one["operation"] for one in payloads] == list(said)
    assert {(one["kind"], one["by"]) for one in payloads} == {("asked", "command line")}
    assert len({one["request"] for one in payloads}) == len(said)
    user = pwd.getpwuid(os.getuid()).pw_name
    first = sealed(city, found[0])
    assert (first["os_user"], first["named"], first["reason"]) == (user, "Mehmet", REASON)
    assert not any("Krüger" in row.payload or "Mehmet" in row.payload for row in found)
    # What only looks leaves none.
    assert run(city, "cards", "list") == 0
    assert len(lines(city)) == before + len(said)
    visitor = city.visitor("schmidt")
    visitor.post("/my/lost", data={"form_token": visitor.form_token(), "card": "none", "sure": "1"})
    city.service.recorded()
    newest = max(city.files.rows(journal_entry), key=lambda row: row.at_ms)
    assert newest.epoch not in {row.epoch for row in found}
    with city.files.stores() as stores:
        verify(stores.record)


@pytest.mark.parametrize("missing", ["keys.json", "keys.secret"])
def test_what_cannot_be_written_down_is_not_done(make_city: MakeCity, missing: str) -> None:
    """Without the key store nothing can be sealed: the command says so and changes nothing."""
    city = make_city()
    with city.files.stores() as stores, read(stores.state) as connection:
        before = connection.execute(sa.select(card.c.reference, card.c.state)).all()
    (city.files.folder / missing).rename(city.files.folder / "away")
    assert run(city, "cards", "set-state", before[0].reference, "suspended", "missing") != 0
    with city.files.stores() as stores, read(stores.state) as connection:
        assert connection.execute(sa.select(card.c.reference, card.c.state)).all() == before
    (city.files.folder / "away").rename(city.files.folder / missing)
