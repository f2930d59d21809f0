# SPDX-License-Identifier: EUPL-1.2
"""The demonstration's till: a payment nobody saw the end of does not block those after it."""

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.waiting import wait_until

from cardservice.demo.processes import NotPossible
from cardservice.demo.till import DISHES, TillDesk

OPEN = {"key": "old", "terminal": "kantine.kasse-1", "body": {"amount_cents": 140, "timeout_s": 1}}


class Payments(ThreadingHTTPServer):
    """A service in which every payment is paid at once, or (`status`) refused with that answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[tuple[str, int]] = []
        self.refused: set[str] = set()


class _Answers(BaseHTTPRequestHandler):
    server: Payments

    def do_POST(self) -> None:  # the library's name
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        self.server.asked.append((key, body["amount_cents"]))
        if key in self.server.refused:
            self._say(409, {"code": "key_used", "detail": "other payment"})
        else:
            self._say(200, {"status": "paid", "amount_cents": body["amount_cents"], "payment": "p-1"})

    def _say(self, status: int, document: Mapping[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Payments]:
    with Payments() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def sold(service: Payments, folder: Path) -> list[Mapping[str, Any]]:
    """Ask for the menu; return what the pages were told."""
    told: list[Mapping[str, Any]] = []
    city = SimpleNamespace(
        url=f"http://127.0.0.1:{service.server_port}",
        token=lambda _: "secret",
        state_folder=folder,
        screens={},
        live=SimpleNamespace(tell=told.append),
    )
    desk = TillDesk(city, lambda: None)
    desk.ask("menu")
    wait_until(lambda: desk.asks is None and told)
    return told


@pytest.mark.parametrize("old_is_refused", [False, True])
def test_an_open_payment_is_settled_first(service, tmp_path, old_is_refused):
    """With its own key; whatever came of it, the new one is asked for and paid."""
    (tmp_path / "tour-till.json").write_text(json.dumps(OPEN))
    if old_is_refused:
        service.refused.add("old")
    (told,) = sold(service, tmp_path)
    assert (told["kind"], told["status"], told["amount_cents"]) == ("till", "paid", DISHES["menu"].amount_cents)
    assert [amount_cents for _, amount_cents in service.asked] == [140, 980]
    assert service.asked[0][0] == "old"
    assert not (tmp_path / "tour-till.json").exists()


def test_without_one_only_the_dish_is_asked_for(service, tmp_path):
    (told,) = sold(service, tmp_path)
    assert told["status"] == "paid"
    assert [amount_cents for _, amount_cents in service.asked] == [980]


def test_what_is_not_sold_is_not_asked_for(tmp_path):
    with pytest.raises(NotPossible, match="lobster"):
        TillDesk(None, lambda: None).ask("lobster")
