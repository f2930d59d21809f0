# SPDX-License-Identifier: EUPL-1.2
"""`python -m readers run` in a process of its own, enrolled at a city's service."""

import signal
import subprocess
import sys
from typing import Self

from support.service import CityFiles, python_environment, to_toml
from support.waiting import LIMIT_S

from readers.identity import Identity


class AgentProcess:
    """A reader agent beside a pcscd; its log goes to `log`, its outbox outlives it."""

    def __init__(self, files: CityFiles, name: str, centre_url: str, pcsc_socket: str) -> None:
        self.name = name
        self.log = files.folder / f"{name}.log"
        key = files.folder / f"{name}.key"
        if not key.exists():
            files.enrol_key(name, Identity.create(key).public_key_hex())
        config = files.folder / f"{name}.toml"
        values = {
            "agent": name,
            "centre_url": centre_url,
            "key_file": str(key),
            "outbox_file": str(files.folder / f"{name}.outbox"),
            "pcsc_socket": pcsc_socket,
            "log_level": "debug",
        }
        config.write_text(to_toml({"": values}))
        with self.log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "readers", "--config", str(config), "run"],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                env=python_environment(),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait for the end and return the exit code; a second call does nothing."""
        self._process.send_signal(number)
        return self._process.wait(LIMIT_S)
