# SPDX-License-Identifier: EUPL-1.2
"""`python -m readers run` in a process of its own, enrolled at a city's service."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Self
from urllib.request import urlopen

from support.command import python_environment
from support.metrics import values
from support.service import CityFiles, to_toml
from support.waiting import LIMIT_S

from readers.identity import Identity


class AgentProcess:
    """A reader agent beside a pcscd; its log goes to `log`, its outbox outlives it.

    `changes` are settings that differ from the ordinary ones.
    """

    def __init__(
        self,
        files: CityFiles,
        name: str,
        centre_url: str,
        pcsc_socket: str,
        changes: Mapping[str, str | int] | None = None,
    ) -> None:
        self.name = name
        self._metrics_port = (changes or {}).get("metrics_port")
        self.log = files.folder / f"{name}.log"
        key = files.folder / f"{name}.key"
        if not key.exists():
            files.enrol_key(name, Identity.create(key).public_key_hex())
        config = files.folder / f"{name}.toml"
        settings = {
            "agent": name,
            "centre_url": centre_url,
            "key_file": str(key),
            "outbox_file": str(files.folder / f"{name}.outbox"),
            "pcsc_socket": pcsc_socket,
            "log_level": "debug",
            **(changes or {}),
        }
        config.write_text(to_toml({"": settings}))
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

    def metric(self, name: str, label: str) -> dict[str, float]:
        """What the agent's metric `name` says, by the value of one label; the setting metrics_port must be made."""
        with urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=LIMIT_S) as response:
            page = response.read().decode()
        return {labelled: value for (labelled,), value in values(page, name, label).items()}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait for the end and return the exit code; a second call does nothing."""
        self._process.send_signal(number)
        return self._process.wait(LIMIT_S)
