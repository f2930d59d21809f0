# SPDX-License-Identifier: EUPL-1.2
"""Random cities asked in several processes: most of them in files, every fifth in PostgreSQL."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.interrogation import Record, interrogate
from simulation.place import scratch
from support.postgres import PostgresServer

from cardservice.database import open_databases, upgrade

EVERY_NTH_IN_POSTGRES = 5


@dataclass(frozen=True, slots=True)
class Templates:
    """Migrated stores of both kinds, to be copied for each city."""

    files: Path
    server_directory: Path
    server_port: int
    database: str

    def record_of(self, seed: int, states: int, moments: int) -> Record:
        """Ask the city of a seed, in a store of its own."""
        if seed % EVERY_NTH_IN_POSTGRES:
            with tempfile.TemporaryDirectory(dir=scratch()) as folder:
                shutil.copytree(self.files, folder, dirs_exist_ok=True)
                return _asked(f"sqlite:///{folder}", seed, states, moments)
        server, name = PostgresServer(self.server_directory, self.server_port), f"city{seed}"
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self.database}" STRATEGY FILE_COPY')
        try:
            return _asked(server.url(name), seed, states, moments)
        finally:
            server.drop_database(name)


def _asked(url: str, seed: int, states: int, moments: int) -> Record:
    databases = open_databases(url)
    record = interrogate(databases.state, seed, states, moments)
    databases.close()
    return record


def migrated(folder: Path, server: PostgresServer) -> Templates:
    """Migrate a store of each kind."""
    name = server.new_database()
    for url in (f"sqlite:///{folder}", server.url(name)):
        databases = open_databases(url)
        upgrade(databases)
        databases.close()
    return Templates(folder, server.directory, server.port, name)


def ask_in_processes(templates: Templates, seeds: Sequence[int], states: int, moments: int) -> Record:
    """Ask the cities of all seeds, in as many processes as the machine has cores."""
    found = Record()
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for record in pool.starmap(templates.record_of, [(seed, states, moments) for seed in seeds], chunksize=1):
            found.take(record)
    return found
