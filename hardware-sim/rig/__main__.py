# SPDX-License-Identifier: EUPL-1.2
"""Starts a rig: `python -m rig --run-dir DIR --deck FILE --loader cardsim.deck:load_deck`.

One JSON line on standard output says where the sockets are and which readers there are, or, with exit code 2,
why the rig cannot run. SIGTERM, SIGINT, the command "quit" and the end of standard input stop it.
"""

import argparse
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from rig import namespace
from rig.control import ControlServer
from rig.errors import PcscdUnavailableError, RequestError, RigError
from rig.insertion import Card
from rig.installation import find_installation
from rig.pcscd import SOCKET_NAME, Pcscd, probe
from rig.readers import MAX_DEVICES, doors, load_devices
from rig.rundir import RunDir
from rig.runner import Rig

EXIT_UNUSABLE = 2
_STDIN = 0
_IN_PROCESS: dict[str, str | None] = {"pcsc_socket": None, "mode": "in-process", "access": "no pcscd"}
_READ_BYTES = 4096


def main() -> int:
    """Run a rig until it is told to stop; returns the exit code."""
    options = _options()
    wake = _wake_on_signals()
    try:
        devices = load_devices(options.readers) if options.readers else doors(options.doors)
        with RunDir(options.run_dir) as run_dir:
            pcscd, how = (None, _IN_PROCESS) if options.no_pcscd else _prepare_pcscd(run_dir)
            rig = Rig(devices, _load_deck(options.loader, options.deck), pcscd)
            ready = {"ready": True, "control": str(run_dir.control), **how, "readers": rig.describe_readers()}
            _serve(rig, run_dir.control, wake, ready)
    except RigError as error:
        _say({"ready": False, "error": str(error)})
        return EXIT_UNUSABLE
    return 0


def _serve(rig: Rig, control: Path, wake: socket.socket, ready: Mapping[str, Any]) -> None:
    server = ControlServer(control, rig.execute)
    server.watch(wake.fileno(), server.stop)
    server.watch(_STDIN, lambda: None if os.read(_STDIN, _READ_BYTES) else server.stop())
    try:
        rig.start()
        _say(ready)
        server.run()
    finally:
        rig.stop()


def _prepare_pcscd(run_dir: RunDir) -> tuple[Pcscd, dict[str, str | None]]:
    """Enter the namespace where there is one, before any thread exists that would stay outside."""
    capability = probe()
    if not capability.available:
        raise PcscdUnavailableError(capability.why_not)
    installation = find_installation()
    socket_path = installation.ipc_dir / SOCKET_NAME
    if capability.mode == "namespace":
        namespace.enter(run_dir.pcsc, installation.ipc_dir)
        socket_path = run_dir.pcsc_socket
    pcscd = Pcscd(installation, run_dir.path, mode=capability.mode)
    return pcscd, {"pcsc_socket": str(socket_path), "mode": capability.mode, "access": installation.access}


def _load_deck(loader: str, deck: Path) -> Mapping[str, Card]:
    module_name, _colon, function_name = loader.partition(":")
    try:
        load = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RequestError(f"--loader {loader!r} cannot be imported: {error}") from error
    cards: Mapping[str, Card] = load(deck)
    return cards


def _wake_on_signals() -> socket.socket:
    """Return a socket that becomes readable when the rig is to stop."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _note_signal)
    return receiver


def _note_signal(_number: int, _frame: FrameType | None) -> None:
    """The number has been written to the wake-up socket already."""


def _say(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rig", description="Virtual cards in the readers of a real pcscd.")
    parser.add_argument("--run-dir", type=Path, required=True, help="private folder for sockets; made if missing")
    parser.add_argument("--deck", type=Path, required=True, help="file the loader reads the cards from")
    parser.add_argument("--loader", required=True, metavar="MODULE:FUNCTION", help="returns the cards by name")
    parser.add_argument("--no-pcscd", action="store_true", help="readers inside this process only")
    readers = parser.add_mutually_exclusive_group()
    readers.add_argument("--doors", type=int, default=MAX_DEVICES, help="number of doors with two sides each")
    readers.add_argument("--readers", type=Path, metavar="FILE.json", help="list of devices")
    options = parser.parse_args()
    options.deck = options.deck.absolute()
    return options


if __name__ == "__main__":
    sys.exit(main())
