# SPDX-License-Identifier: EUPL-1.2
"""Backups on both databases: of one moment under load, put back whole or not at all, refused where they do not fit."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest
from service.backup_load import Load, add_newcomer, named_in_record, newcomers, recorded
from service.conftest import Place
from service.fake_clock import FakeClock
from support.postgres import PostgresServer
from support.waiting import wait_until

from cardservice.backup import manifest as manifests
from cardservice.backup.manifest import describe, read_manifest, write_manifest
from cardservice.backup.service import back_up, restore
from cardservice.claim import claim
from cardservice.database import Databases, open_databases, require_head
from cardservice.errors import (
    BackupBroken,
    Conflict,
    DatabaseUnavailable,
    MigrationMissing,
    NotFound,
)
from cardservice.journal.service import verify
from cardservice.ledger.service import check

BACKUPS = 3


def silent(_more: int, _total: int | None) -> None:
    """Nobody watches."""


@pytest.fixture
def copy_of(place: Place, clock: FakeClock, tmp_path: Path) -> Callable[[str], Path]:
    """Takes a backup of the place, and returns where it is."""

    def take(name: str) -> Path:
        back_up(place.url, tmp_path / name, clock, silent)
        return tmp_path / name

    return take


@contextmanager
def elsewhere(place: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Another place of the same kind, in which nothing is."""
    if place.kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'elsewhere' / os.urandom(4).hex()}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.new_database()
    try:
        yield server.url(name)
    finally:
        server.drop_database(name)


@contextmanager
def stores_at(url: str) -> Iterator[Databases]:
    with closing(open_databases(url)) as databases:
        yield databases


def test_what_is_copied_under_load_adds_up(place, copy_of, clock, request, tmp_path) -> None:
    """Each backup holds all that was on disk when it began and is whole; its record names nobody its state lacks."""
    before = []
    with Load(place.url) as load:
        for number in range(BACKUPS):
            wait_until(lambda enough=10 * (number + 1): load.acknowledged >= enough or load.failures)
            before.append(load.acknowledged)
            copy_of(f"backup{number}")
    assert load.failures == []
    held = []
    for number in range(BACKUPS):
        with elsewhere(place, request, tmp_path) as url:
            restore(url, tmp_path / f"backup{number}", clock, silent)
            with stores_at(url) as databases:
                require_head(databases)
                assert check(databases.record).transfers == sum(chain.entries for chain in verify(databases.record))
                assert named_in_record(databases) <= newcomers(databases)
                held.append(recorded(databases))
    assert all(at_least <= found for at_least, found in zip(before, held, strict=True))
    assert held == sorted(held)
    assert held[-1] <= load.acknowledged


def test_both_stores_are_of_the_moment_it_began(place, clock, request, tmp_path) -> None:
    """Whatever is written while it copies is not in it, however often; and it ends."""
    with stores_at(place.url) as databases:
        add_newcomer(databases, "early")
        written = []

        def meanwhile(_more: int, _total: int | None) -> None:
            written.append(f"late-{len(written)}")
            add_newcomer(databases, written[-1])

        back_up(place.url, tmp_path / "backup", clock, meanwhile)
        assert newcomers(databases) == {"early", *written}
    with elsewhere(place, request, tmp_path) as url:
        restore(url, tmp_path / "backup", clock, silent)
        with stores_at(url) as databases:
            assert newcomers(databases) == {"early"}


def test_what_was_there_is_kept(place, copy_of, clock) -> None:
    """The restore of a wrong backup is not the end of what was right."""
    with stores_at(place.url) as databases:
        add_newcomer(databases, "old")
    backup = copy_of("backup")
    with stores_at(place.url) as databases:
        add_newcomer(databases, "new")
    restored = restore(place.url, backup, clock, silent)
    with stores_at(place.url) as databases:
        assert newcomers(databases) == {"old"}
        if place.kind == "postgres":
            with databases.state.connect() as connection:
                (kept,) = (name for name in restored.kept if "state" in name)
                found = connection.exec_driver_sql(f"SELECT code FROM {kept}.agent ORDER BY code").scalars()
                assert list(found) == ["new", "old"]
            return
    folder = Path(place.url.removeprefix("sqlite:///"))
    for name in restored.kept:
        shutil.move(name, folder / Path(name).name.replace(".before_20260316_090000", ""))
    with stores_at(place.url) as databases:
        assert newcomers(databases) == {"new", "old"}


def test_a_running_service_is_left_alone(place, copy_of, clock) -> None:
    backup = copy_of("backup")
    with stores_at(place.url) as databases:
        give_back = claim(databases)
        add_newcomer(databases, "mine")
        with pytest.raises(DatabaseUnavailable, match="end it first"):
            restore(place.url, backup, clock, silent)
        assert newcomers(databases) == {"mine"}
        give_back()


def test_nothing_is_overwritten(place, copy_of, clock, tmp_path) -> None:
    backup = copy_of("backup")
    files = {file: file.read_bytes() for file in backup.iterdir()}
    with pytest.raises(Conflict, match="there already"):
        back_up(place.url, backup, clock, silent)
    assert {file: file.read_bytes() for file in backup.iterdir()} == files
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * len(files)


def test_a_backup_that_fails_leaves_nothing(empty_place, clock, tmp_path) -> None:
    """There is nothing to copy; and no folder looks like a backup afterwards."""
    (tmp_path / "stores").mkdir(exist_ok=True)
    with pytest.raises((NotFound, BackupBroken)):
        back_up(empty_place.url, tmp_path / "backup", clock, silent)
    assert [file.name for file in tmp_path.iterdir()] == ["stores"]
    with pytest.raises(BackupBroken, match="No such file"):
        back_up(empty_place.url, tmp_path / "nowhere" / "backup", clock, silent)


def rewritten(folder: Path, **changes: object) -> None:
    found = json.loads((folder / manifests.NAME).read_text())
    (folder / manifests.NAME).write_text(json.dumps({**found, **changes}))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def first_file(folder: Path) -> Path:
    return folder / read_manifest(folder).files[0].name


NEWER = {"state": "s9999", "record": "r0001"}
DAMAGES = {
    "a flipped bit": (lambda folder: flip(first_file(folder)), BackupBroken, "its checksum is not"),
    "cut short": (lambda folder: os.truncate(first_file(folder), 100), BackupBroken, "its checksum is not"),
    "a file is missing": (lambda folder: first_file(folder).unlink(), BackupBroken, "No such file"),
    "no manifest": (lambda folder: (folder / manifests.NAME).unlink(), NotFound, "no backup is there"),
    "rubbish": (lambda folder: (folder / manifests.NAME).write_text("{"), BackupBroken, "understands"),
    "of tomorrow": (lambda folder: rewritten(folder, format=2), BackupBroken, "a newer program"),
    "elsewhere": (
        lambda folder: rewritten(folder, files=[{"name": "../../etc/passwd", "bytes": 1, "sha256": "0" * 64}]),
        BackupBroken,
        "understands",
    ),
    "newer revision": (lambda folder: rewritten(folder, revisions=NEWER), MigrationMissing, "does not know"),
    "older revision": (
        lambda folder: rewritten(folder, revisions={"state": "s0001", "record": "r0001"}),
        BackupBroken,
        "not what its manifest says",
    ),
}


# What is checked before either engine has a part in it is tried on one of them.
ON_POSTGRES = ("a flipped bit", "older revision")


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        *(("sqlite", damage) for damage in DAMAGES),
        *(pytest.param("postgres", damage, marks=pytest.mark.postgres) for damage in ON_POSTGRES),
    ],
    indirect=["place"],
)
def test_what_does_not_fit_is_refused_before_anything_is_touched(place, copy_of, clock, damage) -> None:
    spoil, error, said = DAMAGES[damage]
    backup = copy_of("backup")
    with stores_at(place.url) as databases:
        add_newcomer(databases, "mine")
    spoil(backup)
    with pytest.raises(error, match=said):
        restore(place.url, backup, clock, silent)
    with stores_at(place.url) as databases:
        require_head(databases)
        assert newcomers(databases) == {"mine"}


def test_a_backup_of_the_other_kind_is_refused(place, copy_of, clock) -> None:
    backup = copy_of("backup")
    rewritten(backup, engine="sqlite" if place.kind == "postgres" else "postgresql")
    with pytest.raises(Conflict, match="it is a backup of"):
        restore(place.url, backup, clock, silent)


@pytest.mark.parametrize("renames", range(7))
def test_wherever_a_restore_is_cut_off_it_is_run_again(migrated_files, clock, tmp_path, monkeypatch, renames) -> None:
    """In between either all is as it was, or a store is missing and nothing serves: never one old and one new."""
    url = f"sqlite:///{shutil.copytree(migrated_files, tmp_path / 'stores')}"
    with stores_at(url) as databases:
        add_newcomer(databases, "old")
    back_up(url, tmp_path / "backup", clock, silent)
    with stores_at(url) as databases:
        add_newcomer(databases, "new")
    done, rename = [], Path.rename

    def until(path: Path, target: Path) -> Path:
        if len(done) == renames:
            raise OSError(5, "the power went")
        done.append(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", until)
    cut_off = pytest.raises(DatabaseUnavailable, match="run the restore again") if renames < 4 else nullcontext()
    with cut_off:
        restore(url, tmp_path / "backup", clock, silent)
    monkeypatch.undo()
    with stores_at(url) as databases:
        if renames == 0:
            assert newcomers(databases) == {"old", "new"}
        elif renames < 4:
            with pytest.raises(MigrationMissing):
                require_head(databases)
    clock.pass_ms(1_000)
    restore(url, tmp_path / "backup", clock, silent)
    with stores_at(url) as databases:
        require_head(databases)
        assert newcomers(databases) == {"old"}


def damaged_within(folder: Path) -> None:
    """A dump whose contents are broken although its checksum is right."""
    (name,) = (file.name for file in read_manifest(folder).files)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) - 40])
    found = read_manifest(folder)
    write_manifest(folder, found.model_copy(update={"files": (describe(folder / name, silent),)}))


@pytest.mark.postgres
def test_a_dump_that_breaks_half_way_leaves_the_former_schemas(
    postgres_server, migrated_template, clock, tmp_path
) -> None:
    name = postgres_server.new_database(migrated_template)
    url = postgres_server.url(name)
    with stores_at(url) as databases:
        add_newcomer(databases, "mine")
    back_up(url, tmp_path / "backup", clock, silent)
    damaged_within(tmp_path / "backup")
    with pytest.raises(BackupBroken):
        restore(url, tmp_path / "backup", clock, silent)
    with stores_at(url) as databases:
        require_head(databases)
        assert newcomers(databases) == {"mine"}
    postgres_server.drop_database(name)
