# SPDX-License-Identifier: EUPL-1.2
"""The shell against whoever means it harm: requests without end, two requests in one, and what every answer says."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx2
import pytest
from fastapi import FastAPI, Request
from service_http.conftest import City, build
from support.service import CALLERS, directory_in_thread
from support.waiting import LIMIT_S, wait_until
from support.web_server import serving

from cardservice import http_limits
from cardservice.settings import ServiceSection

TOKEN = f"Authorization: Bearer {CALLERS['facility'][0]}\r\n"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """Behind a proxy that speaks TLS for it."""
    with directory_in_thread() as directory:
        settings = {"service": {"trusted_proxies": ["192.0.2.7"]}, "sign_in": {"behind_tls_proxy": True}}
        made = build(directory, tmp_path_factory.mktemp("attacked"), None, **settings)
        yield made
        made.close()


def said(address: tuple[str, int], sent: bytes) -> bytes:
    """What is answered until the connection ends."""
    refused = contextlib.suppress(BrokenPipeError, ConnectionResetError)
    with refused, socket.create_connection(address, LIMIT_S) as connection:
        connection.sendall(sent)
        found = b""
        # What is not read before a connection is closed cuts it off.
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                found += part
        return found
    return b""


def refused_at_last(address: tuple[str, int], start: bytes, more: bytes) -> bool:
    """Whether a connection ends while more than any request may have is sent."""
    with socket.create_connection(address, LIMIT_S) as connection:
        try:
            connection.sendall(start)
            for _ in range(3 * http_limits.MAX_REQUEST // len(more)):
                connection.sendall(more)
        except (ConnectionResetError, BrokenPipeError):
            return True
    return False


SMUGGLED = "GET /api/v1/doors HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X-A: b\nContent-Length: 0\r\n",
        "X-A: b\x00c\r\n",
        " folded: yes\r\n",
    ],
)
def test_no_two_readers_can_understand_a_request_differently(city: City, head: str) -> None:
    """Where it ends is plain, or it is refused as a whole: no second one hides in it from a proxy."""
    request = f"POST /api/v1/taps HTTP/1.1\r\nHost: x\r\n{TOKEN}{head}\r\n0\r\n\r\n{SMUGGLED}".encode("latin-1")
    answer = said(city.service.address, request)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_head_without_end_is_refused(city: City) -> None:
    """In many headers, in one, in its address, and after the body; what it takes of memory is bounded."""
    one = b"X-A: " + b"a" * 1_000 + b"\r\n"
    for head in (
        b"GET / HTTP/1.1\r\n" + one * 300,
        b"GET / HTTP/1.1\r\nX-A: " + b"a" * 300_000,
        b"GET /" + b"a" * 300_000,
    ):
        answer = said(city.service.address, head)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_without_end_is_refused(city: City) -> None:
    """Long ago announced as none, in chunks, or as trailers after them."""
    start = b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"1000\r\n" + b"a" * 4_096 + b"\r\n"
    extensions = b"1;" + b"x" * 4_000 + b"\r\na\r\n"
    trailers = (b"X-A: " + b"a" * 1_000 + b"\r\n") * 60
    assert refused_at_last(city.service.address, start, chunks)
    assert refused_at_last(city.service.address, start, extensions)
    assert refused_at_last(city.service.address, start + b"0\r\n", trailers)


@pytest.mark.parametrize(
    "begun", ["", "GET / HTTP/1.1\r\nHost:", "POST /login HTTP/1.1\r\nContent-Length: 9\r\n\r\nname"]
)
def test_nobody_holds_a_connection_by_sending_slowly(begun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, half a head, half a body: it ends after a while, also on a connection that was used before."""
    monkeypatch.setattr(http_limits, "REQUEST_S", 0.3)
    app = FastAPI()

    @app.get("/")
    def nothing() -> list[str]:
        return []

    @app.post("/login")
    async def take(request: Request) -> int:
        return len(await request.body())

    with serving(app, ServiceSection()) as port:
        address = "127.0.0.1", port
        assert said(address, begun.encode()) == b""
        if begun:
            assert said(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + begun.encode()).endswith(b"[]")
        # Whoever is quick enough is not meant.
        assert httpx2.get(f"http://127.0.0.1:{port}/", timeout=LIMIT_S).json() == []


def test_a_long_answer_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience is with requests alone."""
    monkeypatch.setattr(http_limits, "REQUEST_S", 0.2)
    release, app = threading.Event(), FastAPI()

    @app.get("/")
    def slow() -> str:
        release.wait(LIMIT_S)
        return "done"

    with serving(app, ServiceSection()) as port:
        with socket.create_connection(("127.0.0.1", port), LIMIT_S) as idle:
            asked: list[httpx2.Response] = []
            address = f"http://127.0.0.1:{port}/"
            thread = threading.Thread(target=lambda: asked.append(httpx2.get(address, timeout=LIMIT_S)))
            thread.start()
            # By the time that this one is cut off, the other one would be.
            assert idle.recv(1) == b""
            release.set()
            thread.join(LIMIT_S)
        wait_until(lambda: asked)
        assert asked[0].json() == "done"


ACCEPT = {"/confirm": {"Accept": "text/html"}}
ANSWERS = [
    ("GET", "/login", 200),
    ("GET", "/nowhere", 404),
    ("GET", "/static/service.js", 200),
    ("GET", "/api/v1/doors", 401),
    ("DELETE", "/login", 405),
    ("POST", "/login", 403),
    ("GET", "/confirm", 303),
    ("GET", "/health/live", 200),
    ("GET", "/openapi.json", 200),
]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_what_every_answer_says(city: City, method: str, path: str, status: int) -> None:
    """By TLS alone from now on; nothing is taken for what it is not, and nobody learns what serves it."""
    answer = httpx2.request(method, city.service.url + path, headers=ACCEPT.get(path, {}), timeout=LIMIT_S)
    assert answer.status_code == status
    headers = answer.headers
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert headers.get_list("x-request-id") != []
    if status != 303 and "html" in headers["content-type"]:
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "'unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80@x", "[::1", "x/y", ""])
def test_a_forged_host_leads_nobody_away(city: City, host: str) -> None:
    """No redirect names a host; the answer to a form of another host's page is a refusal."""
    sent = f"GET /my/time HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n".encode()
    answer = said(city.service.address, sent)
    assert b" 303 " in answer.splitlines()[0]
    assert b"location: /login?next=%2fmy%2ftime" in answer.lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cookie", "__Host-onecard=" + "a" * 5_000),
        ("Cookie", "__Host-onecard=\xff\xfe; __Host-onecard-oidc=zz; __Host-onecard-device=1.2.3"),
        ("Cookie", ";;;=;,"),
        ("Authorization", "Bearer \xff"),
        ("Authorization", "Bearer " + "a" * 10_000),
        ("Authorization", "Basic Og=="),
        ("Accept-Language", "de;q=x," * 2_000),
        ("If-Match", "\xff" * 100),
        ("X-Forwarded-For", "a, b, c"),
        ("Referer", "http://[::1"),
    ],
)
@pytest.mark.parametrize("path", ["/login", "/confirm", "/api/v1/doors", "/my", "/login/oidc/back?state=%ff&code=%00"])
def test_no_header_breaks_anything(city: City, path: str, name: str, value: str) -> None:
    """Whatever stands there is refused or passed over: nobody gets in, and nothing fails."""
    sent = [(b"Accept", b"text/html"), (name.encode(), value.encode("latin-1"))]
    answer = httpx2.get(city.service.url + path, headers=sent, timeout=LIMIT_S)
    assert answer.status_code in {200, 303, 401, 404}, answer.text
    assert path != "/my" or answer.status_code != 200
