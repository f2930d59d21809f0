# SPDX-License-Identifier: EUPL-1.2
"""What the reference clients make of lost, strange and late answers; the service is scripted, on a real socket."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from integrations.facility import Facility, FacilityError
from integrations.facility import client as facility_client
from integrations.till import Till, TillError, UnknownOutcome
from integrations.till import client as till_client
from integrations.till.__main__ import main as till_main

PAID = (200, {"status": "paid", "amount_cents": 130, "payment": "0" * 32})
# The request is read, nothing is answered, the connection ends.
LOST = None
Reply = tuple[int, Any] | None


class ScriptedService:
    """Gives the replies in order, the last of them for ever; notes the key of each request."""

    def __init__(self, *replies: Reply) -> None:
        self.keys: list[str | None] = []
        self._replies = list(replies)
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                reply = service.next(self.headers.get("Idempotency-Key"))
                if reply is LOST:
                    self.close_connection = True
                    return
                status, content = reply
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_DELETE = do_GET = handle_one  # noqa: N815  # the library's names

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def next(self, key: str | None) -> Reply:
        self.keys.append(key)
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def refusal(status: int, code: str) -> Reply:
    return status, {"code": code, "detail": "why"}


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Patience is a setting of the clients: here it is short."""
    for client in (till_client, facility_client):
        monkeypatch.setattr(client, "_RETRY_S", 0.01)
    monkeypatch.setattr(till_client, "_SPARE_S", 0.3)
    monkeypatch.setattr(facility_client, "_PATIENCE_S", 0.3)


@pytest.fixture
def open_file(tmp_path) -> Path:
    return tmp_path / "open.json"


@pytest.fixture
def till_at(open_file) -> Callable[..., Any]:
    @contextlib.contextmanager
    def at(*replies: Reply) -> Iterator[tuple[Till, ScriptedService]]:
        with (
            contextlib.closing(ScriptedService(*replies)) as service,
            Till(service.url, "t", "kasse", open_file) as till,
        ):
            yield till, service

    return at


UNSETTLED = [
    refusal(401, "not_authenticated"),
    refusal(403, "foreign_use"),
    refusal(404, "not_found"),
    refusal(429, "too_many"),
    refusal(500, "internal"),
]


@pytest.mark.parametrize("answer", UNSETTLED, ids=lambda answer: str(answer[0]))
def test_a_payment_whose_answer_was_lost_stays_open_until_it_is_settled(till_at, open_file, answer):
    """It may be booked: no refusal of the repetition makes the till forget its key."""
    with till_at(LOST, answer, answer, PAID) as (till, service):
        with pytest.raises(UnknownOutcome):
            till.pay(130, wait_s=1)
        assert open_file.exists()
        with pytest.raises(TillError, match="still open"):
            till.pay(130, wait_s=1)
        with pytest.raises(UnknownOutcome):
            till.settle_open()
        assert open_file.exists()
        outcome = till.settle_open()
        assert (outcome.status, outcome.payment) == ("paid", "0" * 32)
        assert not open_file.exists()
        assert len(service.keys) == 4
        assert len(set(service.keys)) == 1


@pytest.mark.parametrize(
    "answer",
    [refusal(409, "terminal_busy"), refusal(422, "invalid"), refusal(503, "terminal_away")],
    ids=lambda answer: str(answer[0]),
)
@pytest.mark.parametrize("before", [[], [LOST], [refusal(502, "bad_gateway")]], ids=["first", "lost", "gateway"])
def test_what_the_service_says_knowing_the_key_settles_a_payment(till_at, open_file, before, answer):
    """Nothing was booked with this key, and the next payment has one of its own."""
    with till_at(*before, answer, PAID) as (till, service):
        with pytest.raises(TillError):
            till.pay(130, wait_s=1)
        assert not open_file.exists()
        assert till.pay(130, wait_s=1).status == "paid"
        assert len(set(service.keys)) == 2


@pytest.mark.parametrize("answer", UNSETTLED[:4], ids=lambda answer: str(answer[0]))
def test_a_refusal_of_the_very_first_request_settles_it(till_at, open_file, answer):
    """Nothing was sent before it, so nothing can be booked."""
    with till_at(answer) as (till, _):
        with pytest.raises(TillError) as refused:
            till.pay(130, wait_s=1)
        assert refused.value.code == answer[1]["code"]
        assert not open_file.exists()


@pytest.mark.parametrize(
    "answer",
    [refusal(500, "internal"), (200, b"<html>Willkommen im WLAN</html>"), (200, []), (302, b"")],
    ids=["500", "a page", "a list", "elsewhere"],
)
def test_an_answer_that_says_nothing_of_the_payment_leaves_it_open(till_at, open_file, answer):
    with till_at(answer) as (till, _):
        with pytest.raises(UnknownOutcome):
            till.pay(130, wait_s=1)
        assert open_file.exists()


def test_a_service_that_never_answers_leaves_the_payment_open(till_at, open_file):
    with till_at(LOST) as (till, service):
        with pytest.raises(UnknownOutcome, match="does not answer"):
            till.pay(130, wait_s=0)
        assert open_file.exists()
        assert len(service.keys) > 1


def test_voids_and_refunds_say_what_is_unknown_and_are_asked_for_again_with_the_same_key(till_at, tmp_path, capsys):
    """They leave nothing open on the disk, and nothing is said of a payment."""
    token = tmp_path / "token"
    token.write_text("t")
    with till_at(LOST, refusal(401, "not_authenticated"), PAID) as (till, service):
        with pytest.raises(UnknownOutcome) as unknown:
            till.refund("0" * 32, 30, key="refund-1")
        assert "payment" not in str(unknown.value)
        assert till.refund("0" * 32, 30, key="refund-1")["status"] == "paid"
        assert set(service.keys) == {"refund-1"}
    with till_at(refusal(500, "internal")) as (till, service):
        command = ["--url", service.url, "--token-file", str(token), "--terminal", "kasse", "void", "0" * 32]
        assert till_main(command) == 3
        said = capsys.readouterr().err
        assert "run the same command again" in said
        assert "settle" not in said


def test_cancelling_fails_with_the_till_s_own_errors(till_at):
    """No connection and an answer that says nothing are unknown outcomes; that nothing waits is a refusal."""
    for lost in (LOST, refusal(502, "bad_gateway")):
        with till_at(lost) as (till, _), pytest.raises(UnknownOutcome):
            till.cancel()
    with till_at(refusal(404, "not_found")) as (till, _), pytest.raises(TillError):
        till.cancel()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_both_clients_try_again_after_the_same_answers(till_at, status):
    """Whether the service or a proxy before it says so; a header that asks for it is not needed."""
    with till_at(refusal(status, "unavailable"), LOST, PAID) as (till, service):
        assert till.pay(130, wait_s=1).status == "paid"
        assert len(service.keys) == 3
    with (
        contextlib.closing(
            ScriptedService(refusal(status, "unavailable"), LOST, (200, {"outcome": "opened"}))
        ) as service,
        Facility(service.url, "t") as facility,
    ):
        assert facility.open_once("tor", "Lieferung", key="delivery")["outcome"] == "opened"
        assert service.keys == ["delivery"] * 3


def test_a_door_that_is_away_is_told_at_once():
    with (
        contextlib.closing(ScriptedService(refusal(503, "agent_away"))) as service,
        Facility(service.url, "t") as facility,
    ):
        with pytest.raises(FacilityError) as refused:
            facility.open_once("tor", "Lieferung")
        assert refused.value.code == "agent_away"
        assert len(service.keys) == 1
