# SPDX-License-Identifier: EUPL-1.2
"""The rig's PostgreSQL: what is missing is one sentence, and nothing is left behind."""

import os
import tempfile
from pathlib import Path

import psycopg
import pytest

import rig.postgres
import rig.program
from rig.errors import PostgresFailedError, PostgresUnavailableError
from rig.postgres import running_server


def test_without_the_package_it_is_one_sentence(tmp_path, monkeypatch):
    """It is looked for before anything else: the package brings the account as well, which root would need."""
    monkeypatch.setattr(rig.postgres, "PROGRAMS", tmp_path)
    monkeypatch.setattr(rig.program, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(rig.postgres, "USER", "nobody-of-this-name")
    with pytest.raises(PostgresUnavailableError, match=r"^PostgreSQL's server is not installed \(Debian: "):
        running_server("").__enter__()


def test_root_without_the_account_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "15" / "bin").mkdir(parents=True)
    monkeypatch.setattr(rig.postgres, "PROGRAMS", tmp_path)
    monkeypatch.setattr(rig.postgres, "USER", "nobody-of-this-name")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PostgresUnavailableError, match="there is no account"):
        running_server("").__enter__()


@pytest.mark.postgres
def test_it_takes_its_settings_and_leaves_nothing():
    with running_server("fsync = off\nmax_connections = 17") as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("17",)
    assert not server.directory.exists()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(server.url())


@pytest.mark.postgres
def test_a_server_that_does_not_start_says_why_and_leaves_nothing(monkeypatch):
    """The error carries the server's own words."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        # The server's own account must get in.
        Path(folder).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with (
            pytest.raises(PostgresFailedError, match=r"(?s)pg_ctl failed: .*no_such_setting"),
            running_server("no_such_setting = 1"),
        ):
            raise AssertionError("it started")
        assert list(Path(folder).iterdir()) == []
