# SPDX-License-Identifier: EUPL-1.2
"""A PC/SC client of its own process: one JSON command a line in, one JSON answer a line out.

libpcsclite reads PCSCLITE_CSOCK_NAME once per process, so every rig needs its own client process.
"""

import json
import sys
import time
from typing import Any

from smartcard import scard

STATES = {"present": scard.SCARD_STATE_PRESENT, "empty": scard.SCARD_STATE_EMPTY}


class Client:
    def __init__(self) -> None:
        self.context: Any = None
        self.handles: dict[str, tuple[Any, int]] = {}

    def establish(self) -> dict[str, Any]:
        code, self.context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        return {"code": code & 0xFFFFFFFF}

    def readers(self) -> dict[str, Any]:
        code, names = scard.SCardListReaders(self.context, [])
        return {"code": code & 0xFFFFFFFF, "readers": names}

    def await_state(self, readers: list[str], state: str, timeout_s: float) -> dict[str, Any]:
        """Follow SCardGetStatusChange until every reader shows the state."""
        start = time.monotonic()
        known = dict.fromkeys(readers, scard.SCARD_STATE_UNAWARE)
        atrs: dict[str, str] = {}
        while True:
            left_ms = int(1000 * (timeout_s - (time.monotonic() - start)))
            if left_ms <= 0:
                return {"code": 0x8010000A, "known": known}
            code, now = scard.SCardGetStatusChange(self.context, left_ms, list(known.items()))
            if code != scard.SCARD_S_SUCCESS:
                return {"code": code & 0xFFFFFFFF, "known": known}
            for name, flags, atr in now:
                known[name] = flags & ~scard.SCARD_STATE_CHANGED
                atrs[name] = bytes(atr).hex()
            if all(flags & STATES[state] for flags in known.values()):
                return {"code": 0, "took_s": time.monotonic() - start, "atrs": atrs, "known": known}

    def connect(self, reader: str) -> dict[str, Any]:
        code, handle, protocol = scard.SCardConnect(
            self.context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_ANY
        )
        self.handles[reader] = (handle, protocol)
        return {"code": code & 0xFFFFFFFF}

    def transmit(self, reader: str, apdu: str, repeat: int = 1) -> dict[str, Any]:
        handle, protocol = self.handles[reader]
        command, took_s = list(bytes.fromhex(apdu)), []
        code, answer = 0, []
        for _ in range(repeat):
            start = time.monotonic()
            code, answer = scard.SCardTransmit(handle, protocol, command)
            took_s.append(time.monotonic() - start)
        return {"code": code & 0xFFFFFFFF, "answer": bytes(b & 0xFF for b in answer or []).hex(), "took_s": took_s}

    def disconnect(self, reader: str) -> dict[str, Any]:
        handle, _protocol = self.handles.pop(reader)
        return {"code": scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD) & 0xFFFFFFFF}


def main() -> None:
    client = Client()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(client, request.pop("op"))(**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
