# SPDX-License-Identifier: EUPL-1.2
"""A `PcscDriver` in a process of its own: one JSON command a line in, one JSON answer a line out.

libpcsclite reads the socket's name once per process, so every rig needs its own.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from readers.errors import ReaderError
from readers.pcsc import PcscConnection, PcscDriver


class Client:
    def __init__(self, socket: str) -> None:
        self.driver = PcscDriver(Path(socket))
        self.connections: dict[str, PcscConnection] = {}

    def until(self, kind: str, reader: str | None = None, timeout_s: float = 15) -> dict[str, Any]:
        """Collect events until one of `kind` (of `reader`) was seen."""
        end_s = time.monotonic() + timeout_s
        seen: list[dict[str, Any]] = []
        while time.monotonic() < end_s:
            for event in self.driver.wait(0.5):
                fields = {name: getattr(event, name) for name in event.__dataclass_fields__}
                fields |= {"atr": fields["atr"].hex()} if "atr" in fields else {}
                seen.append({"kind": type(event).__name__, **fields})
            if any(event["kind"] == kind and reader in {None, event.get("reader")} for event in seen):
                return {"seen": seen}
        return {"seen": seen, "timeout": True}

    def waits(self, calls: int) -> dict[str, Any]:
        """Call `wait` `calls` times with a quarter of a second each; return the events and the seconds it took."""
        began_s = time.monotonic()
        events = [type(event).__name__ for _ in range(calls) for event in self.driver.wait(0.25)]
        return {"events": events, "took_s": time.monotonic() - began_s}

    def readers(self) -> dict[str, Any]:
        return {"readers": [[state.name, state.present, state.fault] for state in self.driver.readers()]}

    def connect(self, reader: str, exclusive: bool = True, name: str = "") -> dict[str, Any]:
        connection = self.connections[name or reader] = self.driver.connect(reader, exclusive=exclusive)
        return {"atr": connection.atr.hex()}

    def transmit(self, name: str, apdu: str) -> dict[str, Any]:
        return {"answer": self.connections[name].transmit(bytes.fromhex(apdu)).hex()}

    def both(self, slow: str, quick: str, apdu: str) -> dict[str, Any]:
        """Transmit to two cards at once; return whether the slow one was still busy when the quick one had answered."""
        answers: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: answers.append(self.transmit(slow, apdu)))
        thread.start()
        quick_answer = self.transmit(quick, apdu)
        busy = thread.is_alive()
        thread.join()
        return {"quick": quick_answer, "slow": answers, "slow_was_busy": busy}

    def disconnect(self, name: str, reset: bool = True) -> dict[str, Any]:
        self.connections.pop(name).disconnect(reset=reset)
        return {}

    def close_while_waiting(self) -> dict[str, Any]:
        """Close while another thread waits; return whether that wait ended, and what waiting gives now."""
        thread = threading.Thread(target=self._wait_for_ever)
        thread.start()
        self.driver.close()
        thread.join(10)
        return {"ended": not thread.is_alive(), "again": len(self.driver.wait(5))}

    def _wait_for_ever(self) -> None:
        while not self.driver._closing.is_set():
            self.driver.wait(60)


def main() -> None:
    client = Client(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        call: Callable[..., dict[str, Any]] = getattr(client, request.pop("op"))
        try:
            answer = call(**request)
        except ReaderError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
