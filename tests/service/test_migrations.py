# SPDX-License-Identifier: EUPL-1.2
"""Migrations on both databases: from nothing to the newest revision, there and back, equal to the tables in code."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from service.conftest import Place
from service.directory import open_copy, someone, tell
from service.fake_clock import FakeClock
from sqlalchemy.engine import Engine

import cardservice.access.review.store
import cardservice.access.store
import cardservice.agents.store
import cardservice.approvals.store
import cardservice.canteen.store
import cardservice.cards.bulk.store
import cardservice.cards.keys.store
import cardservice.cards.pin.store
import cardservice.cards.pki.store
import cardservice.cards.store
import cardservice.doors.store
import cardservice.journal.store
import cardservice.ledger.store
import cardservice.people.web_sessions
import cardservice.printing.store
import cardservice.retention.store
import cardservice.timeclock.store
import cardservice.web.accounts.store
import cardservice.web.once
import cardservice.webhooks.store  # noqa: F401  # their tables are part of the metadata that is compared
from cardservice import changes
from cardservice.database import (
    RECORD,
    STATE,
    STORES,
    Databases,
    StoreName,
    _config,
    open_databases,
    require_head,
    require_writable,
    revisions,
    upgrade,
    write,
)
from cardservice.errors import MigrationMissing
from cardservice.people.rules import NO_KNOWN_END_MS

METADATA = {"state": STATE, "record": RECORD}


@pytest.fixture
def nothing(empty_place: Place) -> Databases:
    opened = open_databases(empty_place.url)
    yield opened
    opened.close()


def differences(databases: Databases) -> list[object]:
    found: list[object] = []
    for store, metadata in METADATA.items():
        with getattr(databases, store).connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            found += compare_metadata(context, metadata)
    return found


def tables(engine: Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def test_from_nothing_to_the_newest_revision(nothing: Databases) -> None:
    upgrade(nothing)
    require_head(nothing)
    require_writable(nothing)
    assert tables(nothing.state) == set(STATE.tables) | {"alembic_version"}
    assert tables(nothing.record) == set(RECORD.tables) | {"alembic_version"}


def test_the_tables_in_code_are_the_tables_in_the_database(databases: Databases) -> None:
    """Columns, types, nullability, indexes, unique and foreign keys; nothing was changed without a migration."""
    assert differences(databases) == []


def test_a_table_without_its_migration_would_be_noticed(databases: Databases) -> None:
    """The comparison bites."""
    with write(databases.state) as connection:
        connection.execute(sa.text("DROP TABLE key_closing"))
        connection.execute(sa.text("ALTER TABLE zone ADD COLUMN colour VARCHAR(20)"))
    assert len(differences(databases)) >= 2


@pytest.mark.parametrize("store", STORES)
def test_names_and_checks_are_the_same_too(databases: Databases, store: StoreName) -> None:
    """What the comparison above does not see: primary keys and check constraints, by name."""
    inspector = sa.inspect(getattr(databases, store))
    for name, table in METADATA[store].tables.items():
        checks = {one.name for one in table.constraints if isinstance(one, sa.CheckConstraint)}
        assert {one["name"] for one in inspector.get_check_constraints(name)} == checks
        assert inspector.get_pk_constraint(name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_upgrading_twice_is_harmless(databases: Databases, clock: FakeClock) -> None:
    tell(open_copy(databases.state, clock), someone("anna"))
    upgrade(databases)
    require_head(databases)
    assert open_copy(databases.state, clock).known_dns() == {"anna": "uid=anna"}


@pytest.mark.parametrize("store", STORES)
def test_the_newest_revision_is_the_last_of_the_files(store: StoreName) -> None:
    """What is asked of a store is found by the names of files; it is what the files themselves say."""
    scripts = ScriptDirectory.from_config(_config(store))
    assert revisions(store) == sorted(script.revision for script in scripts.walk_revisions())
    assert revisions(store)[-1] == scripts.get_current_head()


@pytest.mark.parametrize("store", STORES)
def test_every_revision_leads_back_and_forth(databases: Databases, store: StoreName) -> None:
    """Down one revision at a time to nothing, up again one at a time: the same tables as before."""
    engine: Engine = getattr(databases, store)
    config = _config(store)
    revisions = list(ScriptDirectory.from_config(config).walk_revisions())
    assert revisions
    for direction in (*("-1",) * len(revisions), *("+1",) * len(revisions)):
        with write(engine) as connection:
            config.attributes["connection"] = connection
            (command.downgrade if direction == "-1" else command.upgrade)(config, direction)
        if direction == "-1":
            with pytest.raises(MigrationMissing):
                require_head(databases)
    require_head(databases)
    assert differences(databases) == []


def test_who_was_locked_out_before_an_end_was_known_stays_so_until_the_directory_is_read(
    databases: Databases, clock: FakeClock
) -> None:
    """And back: whoever is locked out, whenever that ends, was locked out."""
    tell(open_copy(databases.state, clock), someone("anna"), someone("bert", locked_until_ms=1))

    def locked(column: str) -> list[tuple[str, int | bool | None]]:
        with databases.state.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(f"SELECT login, {column} FROM person ORDER BY 1"))]

    _move(databases, "s0006")
    assert locked("locked_out") == [("anna", False), ("bert", True)]
    _move(databases, "s0007")
    assert locked("locked_until_ms") == [("anna", None), ("bert", NO_KNOWN_END_MS)]
    _move(databases, "head")


def _move(databases: Databases, revision: str) -> None:
    config = _config("state")
    with write(databases.state) as connection:
        config.attributes["connection"] = connection
        (command.downgrade if revision == "s0006" else command.upgrade)(config, revision)


def test_after_the_last_downgrade_nothing_is_left(databases: Databases) -> None:
    for store in STORES:
        engine: Engine = getattr(databases, store)
        config = _config(store)
        with write(engine) as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "base")
        assert tables(engine) == {"alembic_version"}


def test_an_empty_place_is_refused_and_left_empty(nothing: Databases, empty_place: Place) -> None:
    with pytest.raises(MigrationMissing, match=r"revision none \(empty\).*run 'cardservice db upgrade'"):
        require_head(nothing)
    if empty_place.kind == "sqlite":
        assert not Path(empty_place.url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("revision", ["0000", "zzzz"])
def test_an_older_or_newer_database_is_refused(databases: Databases, store: StoreName, revision: str) -> None:
    with write(getattr(databases, store)) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
    with pytest.raises(MigrationMissing, match=f"is at revision {revision}, this program needs [sr]0"):
        require_head(databases)


def test_neither_store_sees_the_other(databases: Databases) -> None:
    """No statement can reach across by accident."""
    for engine, foreign in ((databases.state, "journal_entry"), (databases.record, "person")):
        with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match=foreign):
            connection.execute(sa.text(f"SELECT * FROM {foreign}"))


def test_revisions_are_never_used_again(databases: Databases) -> None:
    """A follower that has seen revision 3 must not miss what comes after the log was emptied."""
    with write(databases.state) as connection:
        changes.append(connection, "access", [0, 0, 0])
    with write(databases.state) as connection:
        connection.execute(sa.delete(changes.changes))
        changes.append(connection, "access", [0])
        assert changes.latest(connection) == 4
