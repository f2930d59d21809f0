# SPDX-License-Identifier: EUPL-1.2
"""`cardservice db backup` and `db restore` around a real service: what comes back, and what must not."""

import json

import pytest
import sqlalchemy as sa
from service_http.conftest import City, MakeCity
from support.command import run_cli
from support.scripted_agent import report
from support.signing_in import Visitor

from cardservice.agents.service import Agents
from cardservice.canteen.service import check
from cardservice.clock import SystemClock
from cardservice.database import require_head
from cardservice.journal.service import verify
from cardservice.journal.store import journal_epoch
from city import people

ANNA, DOOR = people.ANNA.login, "bauamt.aussen"


def newest_epoch(city: City) -> int:
    with city.files.stores() as databases, databases.record.connect() as connection:
        return connection.execute(sa.select(sa.func.max(journal_epoch.c.epoch))).scalar_one()


@pytest.fixture
def city(make_city: MakeCity) -> City:
    """On SQLite: what differs on PostgreSQL is tried without a city."""
    return make_city()


async def test_a_restored_service_begins_anew(city: City, tmp_path) -> None:
    """Its ledger and journal are whole, its epoch is new, old sessions are over, and a card opens its door.

    Before that: it is backed up while it serves, and no restore happens while it runs.
    """
    config = ("--config", str(city.files.config))
    visitor = Visitor(city.service.url).sign_in(ANNA)
    async with city.agent() as agent:
        assert (await agent.tap(city.card("anna"), DOOR)).permit
        taken = run_cli("db", "backup", str(tmp_path / "backup"), "--json", *config)
        assert taken.returncode == 0, taken.stderr
        assert taken.stderr == "", "no bar where nobody looks"
        document = json.loads(taken.stdout)
        assert set(document["revisions"]) == {"state", "record"}
        assert all((tmp_path / "backup" / file["name"]).stat().st_size == file["bytes"] for file in document["files"])
        city.files.lock("eigener-rechner")
        refused = run_cli("db", "restore", str(tmp_path / "backup"), *config)
        assert (refused.returncode, refused.stdout) == (74, "")
        assert "end it first" in refused.stderr
        assert (await agent.tap(city.card("anna"), DOOR)).permit
    epoch = newest_epoch(city)
    city.service.stop()
    done = run_cli("db", "restore", str(tmp_path / "backup"), "--json", *config)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["taken_at"] == document["taken_at"]
    with city.files.stores() as databases:
        require_head(databases)
        assert verify(databases.record)
        check(databases.record)
        assert not any(one.locked for one in Agents(databases.state, SystemClock()).list())
    city.service.start()
    city.service.wait_health(lambda state: state.get("status") == "ready")
    assert newest_epoch(city) > epoch
    with Visitor(city.service.url) as again:
        again.cookies = visitor.cookies
        assert again.get("/my/doors").status_code == 401
        again.sign_in(ANNA)
    visitor.client.close()
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        assert decision.permit
        assert (await agent.upload(report(decision, DOOR))).type == "event.ack"


def test_what_cannot_be_done_is_said(tmp_path) -> None:
    """In one sentence, with an exit code of its own."""
    (tmp_path / "settings.toml").write_text(f'[database]\nurl = "sqlite:///{tmp_path}/stores"\n')
    config = ("--config", str(tmp_path / "settings.toml"))
    nowhere = run_cli("db", "restore", str(tmp_path / "none"), *config)
    assert (nowhere.returncode, "no backup is there" in nowhere.stderr) == (66, True)
    empty = run_cli("db", "backup", str(tmp_path / "new"), *config)
    assert (empty.returncode, "there is no such store" in empty.stderr) == (66, True)
    there = run_cli("db", "backup", str(tmp_path), *config)
    assert (there.returncode, "something is there already" in there.stderr) == (65, True)
