# SPDX-License-Identifier: EUPL-1.2
"""Requests to receivers: certificates are verified, names are looked up each time, and no trap leads inside."""

import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from support.webhook_receiver import Receiver, receiver

from cardservice.webhooks.outgoing import Sender, addresses_of
from cardservice.webhooks.rules import TargetRules
from directorysim.tls import make_tls, server_context

LOOPBACK = ip_network("127.0.0.0/8")
PLAIN = TargetRules((LOOPBACK,), plain_http=True)
NOT_ALLOWED = "it is at an address that is not allowed: see webhooks.allowed_networks"


@pytest.fixture
def desk() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def named(desk: Receiver) -> str:
    """The receiver's address with a name in it."""
    return desk.url.replace("127.0.0.1", "hooks.example.org")


def send(sender: Sender, url: str):
    return sender(url, {"webhook-id": "m1"}, b"{}")


def test_tls_is_verified_against_the_authority_of_the_settings(tmp_path: Path) -> None:
    """The right authority and name: delivered. The system's authorities alone, or another name: not one byte."""
    files = make_tls(tmp_path)
    rules = TargetRules((LOOPBACK,))
    with receiver(server_context(files)) as desk:
        assert send(Sender(rules, files.ca), desk.url).status == 204
        untrusted = "its certificate is not trusted, or is another name's"
        assert send(Sender(rules), desk.url).trouble == untrusted
        other = desk.url.replace("127.0.0.1", "hooks.example.org")
        assert send(Sender(rules, files.ca, resolve=lambda *_: ["127.0.0.1"]), other).trouble == untrusted
        assert len(desk.received) == 1


def test_the_connection_goes_to_the_address_that_was_checked_and_names_the_host(desk: Receiver, named: str) -> None:
    """The name is looked up once a connection; the Host header is the name's."""
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    assert send(Sender(PLAIN, resolve=resolve), named).delivered
    assert [host for host, _ in asked] == ["hooks.example.org"]
    assert desk.received[0].headers["host"] == f"hooks.example.org:{asked[0][1]}"


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:{}/", "https://localhost:{}/", "https://[::1]:{}/", "https://0:{}/"]
)
def test_nothing_inside_is_even_connected_to(desk: Receiver, url: str) -> None:
    """By address or by name, as the machine itself resolves it."""
    port = desk.url.split(":")[2].partition("/")[0]
    outcome = send(Sender(TargetRules()), url.format(port))
    assert outcome.trouble is not None
    assert desk.connections == 0


def test_a_name_that_turns_inside_between_two_deliveries_is_not_followed(desk: Receiver, named: str) -> None:
    """DNS rebinding: allowed the first time, the machine's own address the second; each connection checks anew."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"], ["10.0.0.1"], ["169.254.169.254"]])
    narrow = TargetRules((ip_network("127.0.0.1/32"),), plain_http=True)
    sender = Sender(narrow, resolve=lambda *_: next(answers))
    assert send(sender, named).delivered
    assert [send(sender, named).trouble for _ in range(3)] == [NOT_ALLOWED] * 3
    assert desk.connections == 1


def test_one_forbidden_address_among_others_condemns_the_name(desk: Receiver, named: str) -> None:
    """Whoever answers with a good and a bad address waits for the second attempt to go to the bad one."""
    sender = Sender(PLAIN, resolve=lambda *_: ["127.0.0.1", "10.0.0.1"])
    assert send(sender, named).trouble == NOT_ALLOWED
    assert send(Sender(PLAIN, resolve=lambda *_: []), named).trouble == "its name has no address"
    assert desk.connections == 0


def test_a_name_that_is_nobody_s_is_a_failure_and_no_more() -> None:
    def resolve(*_: object) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    assert "gaierror" in (send(Sender(PLAIN, resolve=resolve), "http://nobody.example/").trouble or "")
    assert addresses_of("127.0.0.1", 80) == ["127.0.0.1"]


def test_a_redirect_is_a_failure_and_followed_by_nobody(desk: Receiver) -> None:
    with receiver() as inside:
        desk.answer = lambda _: (307, {"Location": inside.url})
        outcome = send(Sender(PLAIN), desk.url)
        assert (outcome.status, outcome.delivered) == (307, False)
        assert inside.connections == 0


def test_an_environment_that_names_a_proxy_changes_nothing(desk: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert send(Sender(PLAIN), desk.url).delivered


@pytest.mark.parametrize(
    ("said", "seconds"), [("120", 120), (" 7 ", 7), ("-1", None), ("soon", None), ("9" * 40, None), ("\u0663", None)]
)
def test_only_a_number_of_seconds_is_heeded(desk: Receiver, said: str, seconds: int | None) -> None:
    desk.answer = lambda _: (503, {"Retry-After": said.encode("utf-8").decode("latin-1")})
    assert send(Sender(PLAIN), desk.url).retry_after_s == seconds


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "drop"),
    [(b"", b"x"), (b"HTTP/1.1 20", b"0"), (b"HTTP/1.1 200 OK\r\nX-A: b\r\n", b"x"), (CONTINUE, CONTINUE)],
)
def test_whoever_answers_drop_by_drop_or_never_costs_no_more_than_the_limit(said: bytes, drop: bytes) -> None:
    """Each drop in time for the socket, the whole never: the request is ended from outside."""
    with dripping(said, drop) as url:
        outcome = send(Sender(PLAIN, limit_s=0.5), url)
    assert outcome.trouble == "it did not answer within 0.5 s"


@pytest.mark.parametrize(
    "said", [b"nonsense\r\n\r\n", b"HTTP/1.1 999999 X\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500]
)
def test_what_is_no_answer_is_a_failure(said: bytes) -> None:
    with dripping(said, hang=False) as url:
        outcome = send(Sender(PLAIN), url)
    assert (outcome.delivered, outcome.trouble is not None) == (False, True)


def test_an_endless_body_is_not_read(desk: Receiver) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nxxxx") as url:
        assert send(Sender(PLAIN), url).delivered


class dripping:  # noqa: N801  # reads as a sentence where it is used
    """A server that says something to the first who comes, and then hangs or hangs up."""

    def __init__(self, said: bytes, drop: bytes = b"x", *, hang: bool = True) -> None:
        self._said, self._drop, self._hang = said, drop, hang
        self._ended = threading.Event()

    def __enter__(self) -> str:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="dripping")
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(15)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(self._said)
            while self._hang and not self._ended.wait(0.05):
                try:
                    connection.sendall(self._drop)
                except OSError:
                    return
