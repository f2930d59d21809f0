# SPDX-License-Identifier: EUPL-1.2
"""`python -m readers`: init, run, outbox; one clear line and an exit code for every mistake."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from cardservice.agents.messages import TapEvent
from readers.identity import Identity
from readers.main import main
from readers.outbox import Outbox

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def logging_as_before():
    """What `run` sets up for its process must not outlive the test: its stream is closed then."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """An agent's folder and its settings file."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "agent.toml"
    file.write_text('agent = "agent-1"\ncentre_url = "ws://127.0.0.1:1/agents"\n')
    return file


def test_init_makes_the_key_once_and_prints_only_its_public_half(configured, capsys):
    assert main(["--config", str(configured), "init"]) == 0
    first = capsys.readouterr().out
    assert first.strip() == Identity.load(Path("agent.key")).public_key_hex()
    assert main(["--config", str(configured), "init"]) == 0
    assert capsys.readouterr().out == first


def test_outbox_lists_what_was_refused_and_lost(configured, capsys):
    outbox = Outbox.open(Path("outbox.sqlite"), "agent-1", at_ms=1_760_000_000_000, capacity=1)
    event = outbox.open_tap("door-1", 1_760_000_000_000)
    outbox.finish(TapEvent(event=event, point="door-1", at_ms=1_760_000_000_000, outcome="shown"))
    outbox.set_aside(event, "unseen_tap")
    outbox.open_tap("door-1", 1_760_000_000_000)
    outbox.close()
    assert main(["--config", str(configured), "outbox"]) == 0
    refused, lost = capsys.readouterr().out.splitlines()
    assert refused == f"{event.epoch}/1\t2025-10-09T08:53:20+00:00\tdoor-1\tshown\trefused: unseen_tap"
    assert lost.startswith(f"{event.epoch}/2-2\t")


@pytest.mark.parametrize(
    ("settings", "command", "ends"),
    [
        ('agent = "agent-1"\n', "init", (2, "centre_url")),
        ('agent = "agent-1"\ncentre_url = "ws://10.0.0.1/"\n', "init", (2, "allow_plain_ws")),
        ('agent = "agent-1"\ncentre_url = "ws://127.0.0.1/"\n', "outbox", (1, "no outbox at")),
        ('agent = "agent-1"\ncentre_url = "ws://127.0.0.1/"\noutputs = "none_such"\n', "run", (2, "none_such")),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(configured, capsys, settings, command, ends):
    configured.write_text(settings)
    code, says = ends
    assert main(["--config", str(configured), command]) == code
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1


@pytest.mark.pcscd
def test_run_serves_until_a_signal_and_logs_no_secret(configured):
    """Without a key it ends at once; with one it survives the absence of centre and pcscd, and SIGTERM is exit 0."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PCSCLITE_CSOCK_NAME": "/nonexistent"}
    command = [sys.executable, "-m", "readers", "--config", str(configured), "run"]
    without_key = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert without_key.returncode == 2
    assert "init" in without_key.stderr
    Identity.create(Path("agent.key"))
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    with process:
        lines = [process.stderr.readline() for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        lines += process.stderr.readlines()
    assert process.returncode == 0
    log = "".join(lines)
    for event in ("agent_started", "driver_down", "centre_unreachable", "agent_stopped"):
        assert f'"event": "{event}"' in log
    assert "PRIVATE KEY" not in log


def test_the_agent_needs_no_pyscard_and_no_service_libraries():
    """Everything but `readers.pcsc` imports without them; of the service it takes what is pure."""
    blocked = "smartcard fastapi sqlalchemy ldap3 uvicorn httpx typer"
    program = (
        f"import sys\nfor name in {blocked.split()!r}: sys.modules[name] = None\n"
        "import readers.main, integrations.simulated_io\n"
        "print(*(name for name in sys.modules if name.startswith('cardservice.')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    pure = {
        "access": [".options", ".options.rules"],
        "agents": [".encoder_messages", ".message_words", ".messages"],
        # How an answer in parts is fetched; nothing of keys and applications.
        "chip": [".apdu", ".conversation", ".errors", ".status"],
        "doors": [".ports", ".rules"],
        "timeclock": [".rules"],
        "workstations": [".ports", ".rules"],
    }
    expected = {f"cardservice.{part}{layer}" for part, layers in pure.items() for layer in ["", *layers]}
    # And what tells a supervisor that it is ready, which needs the standard library alone.
    assert set(done.stdout.split()) == expected | {"cardservice.supervisor"}
