# SPDX-License-Identifier: EUPL-1.2
"""The units: systemd finds nothing wrong with them, little is open to them, and the programs say what they wait for."""

import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from support.command import CARDSERVICE, python_environment
from support.service import CityFiles, ServiceProcess, directory_in_thread
from support.supervised import Listener

from cardservice.supervisor import ALIVE, READY, STOPPING
from readers.identity import Identity
from rig.tls_files import make_tls_files

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
LIMIT_S = 30
# What is left is what they are for: the network, UNIX sockets, a file system.
MOST_EXPOSURE = 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system that holds the units, systemd's own, and the programs that ours start."""
    folder = tmp_path_factory.mktemp("root")
    own = folder / "etc/systemd/system"
    own.mkdir(parents=True)
    shutil.copytree("/usr/lib/systemd/system", folder / "usr/lib/systemd/system", symlinks=True)
    for unit in (*SERVICES, *UNITS.glob("*.timer")):
        (own / unit.name).write_bytes(unit.read_bytes())
    for program in ("opt/cardservice/bin/cardservice", "bin/sh", "usr/bin/find"):
        (folder / program).parent.mkdir(parents=True, exist_ok=True)
        (folder / program).write_text("#!/bin/sh\n")
        (folder / program).chmod(0o755)
    return folder


def analyzed(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ("systemd-analyze", f"--root={root}", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.systemd
@pytest.mark.parametrize("unit", [*SERVICES, *UNITS.glob("*.timer")], ids=lambda unit: unit.name)
def test_systemd_accepts_it(root: Path, unit: Path) -> None:
    done = analyzed(root, "verify", unit.name)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.systemd
def test_a_mistake_in_a_unit_is_noticed(root: Path) -> None:
    wrong = root / "etc/systemd/system/wrong.service"
    wrong.write_text((UNITS / "cardservice.service").read_text().replace("NoNewPrivileges", "NoNewPrivilege"))
    done = analyzed(root, "verify", wrong.name)
    wrong.unlink()
    assert "NoNewPrivilege" in done.stderr


@pytest.mark.systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_little_is_open_to_it(root: Path, unit: Path) -> None:
    """By systemd's own measure, from 0 (nothing) to 100."""
    done = analyzed(root, "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", unit.name)
    assert done.returncode == 0, done.stdout[-300:]


def settings_of(unit: Path) -> dict[str, str]:
    lines = (line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("unit", [UNITS / "cardservice.service", UNITS / "cardservice-agent.service"], ids=str)
def test_it_is_watched_and_started_again(unit: Path) -> None:
    """Ready when it says so, dead when it is silent, in a folder of its own, unable to become more than it is."""
    found = settings_of(unit)
    assert (found["Type"], found["Restart"], found["NoNewPrivileges"], found["ProtectSystem"]) == (
        *("notify", "on-failure", "yes", "strict"),
    )
    assert int(found["WatchdogSec"]) >= 10
    assert found["StateDirectory"] == unit.stem


@pytest.fixture
def listener() -> Iterator[Listener]:
    with tempfile.TemporaryDirectory(prefix="notify-") as folder, Listener(Path(folder)) as listening:
        yield listening


def test_the_service_says_when_it_is_ready_alive_and_stopping(listener: Listener, tmp_path: Path) -> None:
    """Behind TLS of its own, as the unit starts it; ready means that it answers."""
    make_tls_files(tmp_path / "tls")
    tls = {"tls_certificate": f"{tmp_path}/tls/cert.pem", "tls_key": f"{tmp_path}/tls/key.pem"}
    with directory_in_thread() as directory:
        files = CityFiles(tmp_path / "city", directory.address, changes={"service": tls})
        files.upgrade()
        with ServiceProcess(files, tmp_path / "log", **listener.environment) as service:
            assert READY in listener.hears_until(READY)
            assert service.url.startswith("https://")
            authority = ssl.create_default_context(cafile=tmp_path / "tls/ca.pem")
            page = httpx2.get(f"{service.url}/metrics", verify=authority)
            assert page.headers["strict-transport-security"] == "max-age=31536000"
            assert "cardservice_certificate_not_after_seconds" in page.text
            assert [listener.hears() for _ in range(3)] == [ALIVE] * 3
            assert service.stop(signal.SIGTERM) == 0
        assert set(listener.hears_until(STOPPING)) <= {ALIVE, STOPPING}


@pytest.mark.pcscd
def test_the_agent_says_when_it_is_ready_alive_and_stopping(listener: Listener, tmp_path: Path) -> None:
    """Although there is no centre and no pcscd: what it is asked to keep it keeps."""
    (tmp_path / "agent.toml").write_text('agent = "agent-1"\ncentre_url = "ws://127.0.0.1:1/agents"\n')
    Identity.create(tmp_path / "agent.key")
    command = (*CARDSERVICE, "agent", "--config", "agent.toml", "run")
    environment = python_environment(**listener.environment, PCSCLITE_CSOCK_NAME=f"{tmp_path}/none")
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log) as agent,
    ):
        try:
            assert READY in listener.hears_until(READY)
            assert [listener.hears() for _ in range(3)] == [ALIVE] * 3
            agent.send_signal(signal.SIGTERM)
            assert set(listener.hears_until(STOPPING)) <= {ALIVE, STOPPING}
            assert agent.wait(LIMIT_S) == 0
        finally:
            agent.kill()
