# SPDX-License-Identifier: EUPL-1.2
"""The reader agent's command line: `init`, `run`, `outbox`.

Exit codes: 0 ended as asked, 1 a fault while running, 2 the command line or the configuration is wrong.
"""

import argparse
import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import structlog
import uvloop
from prometheus_client import start_http_server

from cardservice.supervisor import READY, STOPPING, Supervisor
from cardservice.workstations.ports import Sessions
from readers import logs
from readers.agent import Agent, Surroundings
from readers.centre_socket import websocket_connector
from readers.errors import AgentError, IdentityFault, OutboxFault, SettingsFault
from readers.identity import Identity
from readers.outbox import read_aside
from readers.ports import OutputFactory, ReaderDriver
from readers.settings import AgentSettings, load_settings

EXIT_OK = 0
EXIT_FAULT = 1
EXIT_CONFIGURATION = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    arguments = _parser().parse_args(argv)
    try:
        settings = load_settings(arguments.config)
        if arguments.command == "init":
            return _init(settings)
        if arguments.command == "outbox":
            return _outbox(settings)
        return _run(settings)
    except (SettingsFault, IdentityFault) as fault:
        _complain(str(fault))
        return EXIT_CONFIGURATION
    except AgentError as fault:
        _complain(str(fault))
        return EXIT_FAULT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m readers", description="The agent beside the readers of one pcscd.")
    parser.add_argument("--config", type=Path, help="settings file (TOML); environment: CARDSERVICE_AGENT_*")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init", help="make the agent's key if there is none, and print its public key")
    commands.add_parser("run", help="serve until a signal ends it")
    commands.add_parser("outbox", help="list the events that the centre refused or that are lost")
    return parser


def _init(settings: AgentSettings) -> int:
    exists = settings.key_file.exists()
    identity = Identity.load(settings.key_file) if exists else Identity.create(settings.key_file)
    _say(identity.public_key_hex())
    return EXIT_OK


def _outbox(settings: AgentSettings) -> int:
    asides, lost = read_aside(settings.outbox_file)
    for aside in asides:
        event = aside.event
        name = f"{event.event.epoch}/{event.event.sequence}"
        _say(f"{name}\t{_instant(event.at_ms)}\t{event.point}\t{event.outcome}\trefused: {aside.code}")
    for gap in lost:
        name = f"{gap.epoch}/{gap.first}-{gap.last}"
        _say(f"{name}\t{_instant(gap.since_ms)}\t-\t-\tlost: the outbox was full")
    return EXIT_OK


def _run(settings: AgentSettings) -> int:
    logs.configure(settings.log_format, settings.log_level)
    open_outputs = _adapter("outputs", settings.outputs, "open_outputs")
    with cast("AbstractContextManager[OutputFactory]", open_outputs(settings)) as outputs:
        return _serve(settings, outputs)


def _serve(settings: AgentSettings, outputs: OutputFactory) -> int:
    surroundings = Surroundings(websocket_connector(settings), sessions=lambda: sessions_of(settings))
    agent = Agent(settings, _driver(settings), outputs, surroundings=surroundings)
    if settings.metrics_port:
        try:
            start_http_server(settings.metrics_port, settings.metrics_address, agent.metrics.registry)
        except OSError as error:
            where = f"{settings.metrics_address}:{settings.metrics_port}"
            raise SettingsFault(f"metrics_port: {where} cannot be used: {error.strerror}") from error
    try:
        uvloop.run(_until_signalled(agent))
    except OutboxFault as fault:
        structlog.get_logger("readers.main").critical("agent_failed", reason=str(fault))
        return EXIT_FAULT
    return EXIT_OK


async def _until_signalled(agent: Agent) -> None:
    supervisor = Supervisor(os.environ, os.getpid())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        supervisor.tell(STOPPING)
        agent.request_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    watch = asyncio.create_task(supervisor.keep_watch(lambda: True))
    try:
        await agent.run(when_open=lambda: supervisor.tell(READY))
    finally:
        watch.cancel()


def _driver(settings: AgentSettings) -> ReaderDriver:
    try:
        # Only here: everything else of the agent also runs on a machine without pyscard.
        module = importlib.import_module("readers.pcsc")
    except ImportError as error:
        raise SettingsFault(f"pyscard is not installed, or lacks libpcsclite: {error}") from error
    return cast("ReaderDriver", module.PcscDriver(settings.pcsc_socket))


def sessions_of(settings: AgentSettings) -> Sessions:
    """Make what unlocks and locks the sessions of this PC.

    Raises:
        SettingsFault: the adapter the settings name is not there, or lacks its libraries.
    """
    build = _adapter("sessions", settings.sessions, "build")
    return cast("Sessions", build(seat=settings.seat))


def _adapter(setting: str, name: str, function: str) -> Callable[..., Any]:
    """Return the function by which the adapter below `integrations/` that `setting` names is made.

    Raises:
        SettingsFault: it is not there, lacks its libraries, or is none of this kind.
    """
    try:
        module = importlib.import_module(f"integrations.{name}")
    except ImportError as error:
        raise SettingsFault(f"{setting}: the adapter {name!r} cannot be used here ({error})") from error
    made: Callable[..., Any] | None = getattr(module, function, None)
    if made is None:
        raise SettingsFault(f"{setting}: integrations.{name} makes no {setting} (it has no `{function}`)")
    return made


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _complain(line: str) -> None:
    sys.stderr.write(f"cardservice agent: {line}\n")
