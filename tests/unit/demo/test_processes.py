# SPDX-License-Identifier: EUPL-1.2
"""How the demonstration asks its programs, and how it configures them."""

import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cardservice.demo.processes import DemoError, ask, health_of, to_toml
from rig.program import free_port

JSON = "application/json"
ANSWERS = {
    "/json": (200, JSON, b'{"a": 1}'),
    "/problem": (409, "application/problem+json", b'{"code": "busy"}'),
    "/text": (409, "text/plain; charset=utf-8", b"not now"),
    "/nothing": (204, "", b""),
    "/broken": (200, JSON, b'{"a"'),
    "/health/ready": (503, JSON, b'{"status": "not_ready"}'),
}


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer as the path says."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, kind, content = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        """Answer as the path says."""
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "status", "document"),
    [
        ("/json", 200, {"a": 1}),
        ("/problem", 409, {"code": "busy"}),
        ("/text", 409, {}),
        ("/nothing", 204, {}),
    ],
)
@pytest.mark.parametrize("body", [None, {"key": "in"}])
def test_an_answer_is_its_status_and_its_document(url, path, status, document, body):
    """What is no JSON, as a refusal in plain words, is an empty document, not a program that is away."""
    assert ask(url, path, body, Idempotency_Key="k") == (status, document)


def test_who_does_not_answer_or_answers_nonsense_is_said(url):
    with pytest.raises(DemoError, match="does not answer"):
        ask(url, "/broken")
    with pytest.raises(DemoError, match=r"does not answer \(ConnectionRefusedError\)"):
        ask(f"http://127.0.0.1:{free_port()}", "/json")


def test_health_is_empty_while_nobody_answers(url):
    """A service that is not ready says so all the same."""
    assert health_of(url) == {"status": "not_ready"}
    assert health_of(f"http://127.0.0.1:{free_port()}") == {}


def test_toml_means_what_it_was_made_from():
    """Top level, sections, strings with quotes and umlauts, numbers, lists, and lists of tables."""
    sections = {
        "": {"demonstration": True, "callers": [{"name": "till-1", "uses": ["canteen"]}, {"name": "hr", "uses": []}]},
        "service": {"port": 0, "name": 'Stadt "Müster"\n'},
        "directory": {"servers": ["ldaps://127.0.0.1:1"]},
    }
    read = tomllib.loads(to_toml(sections))
    assert read == {**sections[""], "service": sections["service"], "directory": sections["directory"]}
