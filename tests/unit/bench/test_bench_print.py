# SPDX-License-Identifier: EUPL-1.2
"""The printing benchmark runs and reports as documented; its figures are not judged here."""

from collections.abc import Callable
from typing import Any

import pytest

from cardservice.bench import printing
from cardservice.bench.print_floor import KeptSocket
from integrations.cups.connection import Connection


@pytest.mark.cups
def test_print_measures_both_sides() -> None:
    """Each document of both sides is printed and timed; the promised figure is one ratio."""
    report = printing.run(printing.Size(rounds=1, documents=2, printers=2))
    cases = {row["case"]: row for row in report.rows}
    for case in ("release called to document complete", "the same requests, encoded before, to document complete"):
        assert cases[case]["samples"] == 2
        assert 0 < float(cases[case]["p50_ms"]) < 20_000
    assert [(ratio.goal, ratio.at_least) for ratio in report.ratios] == [(1.3, False)]


Sent = list[tuple[str, bytes]]


@pytest.mark.cups
def test_the_floor_asks_what_a_release_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """To cupsd the same operations with the same wanted attributes in the same order; to the printer too."""
    sides: dict[str, Sent] = {"_release": [], "_release_bare": []}
    now: list[Sent] = []

    def noting(name: str, release: Callable[..., Any]) -> Callable[..., Any]:
        async def noted(*arguments: Any) -> Any:
            # The last one counts: the very first also looks for what was left waiting.
            sides[name].clear()
            now.append(sides[name])
            try:
                return await release(*arguments)
            finally:
                now.clear()

        return noted

    async def ask(connection: Connection, path: str, request: bytes) -> bytes:
        for sent in now:
            sent.append((path, request))
        return await really_ask(connection, path, request)

    def send(kept: KeptSocket, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        for sent in now:
            sent.append((head.decode().split()[1], body))
        really_send(kept, request)

    really_ask, really_send = Connection.ask, KeptSocket.send
    monkeypatch.setattr(Connection, "ask", ask)
    monkeypatch.setattr(KeptSocket, "send", send)
    for name in sides:
        monkeypatch.setattr(printing._Measurement, name, noting(name, getattr(printing._Measurement, name)))
    printing.run(printing.Size(rounds=1, documents=1, printers=1))
    ours, floor = ([(path, *meaning(body)) for path, body in sent] for sent in sides.values())
    assert len(ours) == 6
    for at_printer in (False, True):
        asked, sent = ([one for one in side if (one[0] != "/") is at_printer] for side in (ours, floor))
        assert asked == sent


def meaning(request: bytes) -> tuple[int, list[str]]:
    """An IPP request's operation, and the attributes it wants (RFC 8010 section 3.1)."""
    _, found, rest = request.partition(b"requested-attributes")
    wanted = []
    while found:
        length = int.from_bytes(rest[:2], "big")
        wanted.append(rest[2 : 2 + length].decode())
        # A further value of the same attribute: its tag, and a name without length.
        rest = rest[2 + length :]
        if rest[1:3] != b"\0\0":
            break
        rest = rest[3:]
    return int.from_bytes(request[2:4], "big"), wanted
