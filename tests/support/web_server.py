# SPDX-License-Identifier: EUPL-1.2
"""The service's own HTTP server around an application of the test, in a thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from support.waiting import LIMIT_S

from cardservice.client_certificates import Authorities
from cardservice.server import Beside, Server, listen, uvicorn_config
from cardservice.settings import ServiceSection
from cardservice.tls import Certificate


@contextmanager
def serving(
    app: FastAPI,
    section: ServiceSection,
    certificate: Certificate | None = None,
    beside: tuple[Callable[[], Beside], ...] = (),
    authorities: Authorities | None = None,
) -> Iterator[int]:
    """Serve `app` as the service would; yields the port."""
    listener = listen("127.0.0.1", 0)
    ready = threading.Event()
    config = uvicorn_config(section, app, _no_websockets, certificate, authorities)
    server = Server(config, when_ready=ready.set, when_stopping=lambda: None, beside=beside)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server")
    thread.start()
    try:
        assert ready.wait(LIMIT_S)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def _no_websockets(*_: Any) -> Any:
    raise AssertionError("nobody asks for a WebSocket here")
