# SPDX-License-Identifier: EUPL-1.2
"""Both kinds of database for the same tests: each test gets one of its own, migrated once and then copied."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from service.fake_clock import FakeClock
from support.postgres import PostgresServer

from cardservice.database import Databases, open_databases, upgrade

KINDS = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    name = postgres_server.new_database()
    databases = open_databases(postgres_server.url(name))
    upgrade(databases)
    databases.close()
    return name


@pytest.fixture(scope="session")
def migrated_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("migrated")
    databases = open_databases(f"sqlite:///{directory}")
    upgrade(databases)
    databases.close()
    return directory


@dataclass(frozen=True, slots=True)
class Place:
    """Where a test's database is."""

    kind: str
    url: str


@pytest.fixture(params=KINDS)
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place in which nothing is yet."""
    if request.param == "sqlite":
        yield Place("sqlite", f"sqlite:///{tmp_path / 'stores'}")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.new_database()
    yield Place("postgres", server.url(name))
    server.drop_database(name)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A migrated place."""
    if request.param == "sqlite":
        directory = tmp_path / "stores"
        shutil.copytree(request.getfixturevalue("migrated_files"), directory)
        yield Place("sqlite", f"sqlite:///{directory}")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.new_database(request.getfixturevalue("migrated_template"))
    yield Place("postgres", server.url(name))
    server.drop_database(name)


@pytest.fixture
def databases(place: Place) -> Iterator[Databases]:
    """Both stores of a migrated place."""
    opened = open_databases(place.url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
