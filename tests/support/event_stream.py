# SPDX-License-Identifier: EUPL-1.2
"""A stream of server-sent events as a browser reads it: names, numbers, data."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.signing_in import Visitor
from support.waiting import LIMIT_S


@dataclass(frozen=True)
class Told:
    """One event."""

    name: str
    number: str
    data: str


class EventStream:
    """What comes over one stream, in order; a comment or a `retry` alone is no event."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def next(self) -> Told | None:
        """Return the next event, None once the stream has ended."""
        fields: dict[str, list[str]] = {}
        while line := self._response.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields.setdefault(name, []).append(value)
            elif "data" in fields:
                told = {field: "\n".join(values) for field, values in fields.items()}
                return Told(told.get("event", "message"), told.get("id", ""), told["data"])
            else:
                fields = {}
        return None

    def until(self, name: str, text: str = "") -> Told:
        """Return the next event called so that has this text; fails if the stream ends before."""
        while (told := self.next()) is not None:
            if told.name == name and text in told.data:
                return told
        raise AssertionError(f"the stream ended without {name!r} {text!r}")

    def to_the_end(self) -> list[Told]:
        """Return everything that comes until the service ends the stream."""
        return list(iter(self.next, None))


@contextmanager
def streaming(visitor: Visitor, path: str, **headers: Any) -> Iterator[EventStream]:
    """Hold a stream of a page open while the context lasts, for whoever signed in."""
    host = visitor.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=LIMIT_S)
    try:
        sent = visitor.headers() | {"Accept": "text/event-stream", "Accept-Language": "en"} | headers
        connection.request("GET", path, headers=sent)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.getheader("content-type", "").startswith("text/event-stream")
        with response:
            yield EventStream(response)
    finally:
        connection.close()
