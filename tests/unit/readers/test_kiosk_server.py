# SPDX-License-Identifier: EUPL-1.2
"""The pages' server on loopback: who may ask what, and that it neither disturbs the agent nor stays away."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest
from structlog.testing import capture_logs
from support.waiting import wait_until

from cardservice.agents.messages import PointSetup
from readers.clock import SystemClock
from readers.errors import SettingsFault
from readers.kiosk import server as serving
from readers.kiosk.assembly import open_kiosk
from readers.kiosk.server import KioskServer
from readers.kiosk.terminals import MAX_WATCHERS, Terminals
from readers.settings import AgentSettings

CLOCK = PointSetup(point="clock-1", reader="R", use="timeclock", name="<b>Eingang</b>")
TILL = PointSetup(point="till-1", reader="S", use="canteen", name="Kasse")


class Kiosk:
    def __init__(self, address: str = "127.0.0.1") -> None:
        self.terminals = Terminals(SystemClock())
        self.screen = self.terminals.add(CLOCK)
        self.screen.centre(connected=True)
        self.server = KioskServer(self.terminals, address, 0, first_pause_s=0.01)

    async def until_served(self) -> str:
        await asyncio.to_thread(wait_until, lambda: self.server.url)
        return self.server.url


@contextlib.asynccontextmanager
async def running(kiosk: Kiosk) -> AsyncIterator[httpx2.AsyncClient]:
    task = asyncio.create_task(kiosk.server.run())
    try:
        async with httpx2.AsyncClient(base_url=await kiosk.until_served(), timeout=10) as client:
            yield client
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def kiosk() -> Kiosk:
    return Kiosk()


@pytest.fixture
async def client(kiosk: Kiosk) -> AsyncIterator[httpx2.AsyncClient]:
    async with running(kiosk) as client:
        yield client


async def states(response: httpx2.Response) -> AsyncIterator[dict]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def test_the_page_of_the_only_terminal_is_the_front_page(client, kiosk):
    """With one terminal `/` leads to it; with more it lists them; names are text, never markup."""
    assert (await client.get("/")).headers["location"] == "/clock-1"
    page = await client.get("/clock-1")
    assert (page.status_code, "<b>" in page.text, "&lt;b&gt;Eingang" in page.text) == (200, False, True)
    kiosk.terminals.add(TILL)
    listed = await client.get("/")
    assert (listed.status_code, 'href="/till-1"' in listed.text, "<b>" in listed.text) == (200, True, False)


async def test_before_the_centre_named_any_terminal_the_page_waits(client, kiosk):
    """The list is empty and looks again by itself, also under the address of a terminal that may come."""
    kiosk.terminals.remove("clock-1")
    empty = await client.get("/")
    assert (empty.status_code, 'src="/static/list.js"' in empty.text) == (200, True)
    missing = await client.get("/clock-1")
    assert (missing.status_code, 'src="/static/list.js"' in missing.text) == (404, True)
    assert (await client.get("/clock-1/events")).status_code == 404
    assert (await client.post("/clock-1/choice", json={"key": "in"})).status_code == 404


async def test_nothing_is_stored_and_nothing_comes_from_elsewhere(client):
    """Every response, refusals included, forbids storing, framing, foreign and inline code."""
    static = [f"/static/{name}" for name in ("kiosk.js", "view.js", "list.js", "kiosk.css", "card.svg")]
    for path in ("/clock-1", *static, "/nowhere"):
        response = await client.get(path)
        assert response.headers["cache-control"] == "no-store"
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
    page = (await client.get("/clock-1")).text
    assert "style=" not in page
    assert "onclick" not in page


async def test_static_files_are_the_pages_own_and_no_path(client):
    for name in ("../server.py", "..%2fserver.py", "%2e%2e/server.py", "server.py", ""):
        assert (await client.get(f"/static/{name}")).status_code == 404


async def test_a_key_reaches_the_screen_and_the_feed(client, kiosk):
    """The feed says the state at once and on each change."""
    async with client.stream("GET", "/clock-1/events") as feed:
        news = states(feed)
        assert (await anext(news))["choice"] is None
        chosen = await client.post("/clock-1/choice", json={"key": "out"})
        assert chosen.status_code == 204
        assert (await anext(news))["choice"]["key"] == "out"
        assert (await client.post("/clock-1/language", json={"language": "en"})).status_code == 204
        assert (await anext(news))["language"] == "en"
    assert kiosk.screen.take_choice() == "out"
    assert (await client.post("/clock-1/choice", json={"key": "in"})).status_code == 409


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("choice", b'{"key": "errand"}', 422),
        ("choice", b'{"key": {"in": 1}}', 422),
        ("choice", b"{}", 422),
        ("choice", b"[]", 400),
        ("choice", b"\xff", 400),
        ("choice", b"", 400),
        ("choice", b"[" * 250, 400),
        ("choice", b'{"key": "' + b"a" * 300 + b'"}', 413),
        ("language", b'{"language": "fr"}', 422),
        ("language", b'{"language": ["de"]}', 422),
    ],
)
async def test_other_bodies_are_refused(client, kiosk, path, body, status):
    answered = await client.post(f"/clock-1/{path}", content=body, headers={"Content-Type": "application/json"})
    assert answered.status_code == status
    assert kiosk.screen.take_choice() is None


async def test_another_sites_page_can_neither_press_a_key_nor_watch(client, kiosk):
    """Foreign host names, foreign pages and forms are refused; so is every other method."""
    body = {"key": "in"}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}):
        assert (await client.post("/clock-1/choice", json=body, headers=headers)).status_code == 403
        assert (await client.get("/clock-1/events", headers=headers)).status_code == 403
    assert (await client.post("/clock-1/choice", content=b'{"key":"in"}')).status_code == 415
    assert (await client.post("/clock-1/choice", data=body)).status_code == 415
    assert (await client.get("/clock-1/choice")).status_code == 405
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""):
        assert (await client.get("/clock-1", headers={"Host": host})).status_code == 400
    assert kiosk.screen.take_choice() is None


async def test_ipv6_loopback_works_too():
    async with running(Kiosk("::1")) as client:
        assert (await client.get("/clock-1")).status_code == 200


async def test_watchers_are_limited_and_counted_until_they_leave(client, kiosk):
    terminal = kiosk.terminals.of("clock-1")
    async with contextlib.AsyncExitStack() as open_pages:
        feeds = []
        for _ in range(MAX_WATCHERS):
            page = await open_pages.enter_async_context(client.stream("GET", "/clock-1/events"))
            feeds.append(states(page))
            await anext(feeds[-1])
        assert (await client.get("/clock-1/events")).status_code == 503
    await asyncio.to_thread(wait_until, lambda: not terminal._watchers)


async def hung_up_on(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionError):
        return await reader.read() == b""
    return True


async def test_connections_that_ask_for_nothing_are_ended(monkeypatch):
    """A silent connection is closed after its time, and pages go on being served."""
    monkeypatch.setattr(serving, "_FIRST_REQUEST_WITHIN_S", 0.1)
    async with running(Kiosk()) as client, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        assert await hung_up_on(reader)
        assert (await client.get("/clock-1")).status_code == 200
        writer.close()


async def test_there_are_only_so_many_connections(monkeypatch):
    """One more than allowed is hung up on at once; those that were there before stay."""
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 3)
    async with running(Kiosk()) as client, asyncio.timeout(5):
        pairs = [await asyncio.open_connection("127.0.0.1", client.base_url.port) for _ in range(4)]
        assert await hung_up_on(pairs[3][0])
        assert not any(reader.at_eof() for reader, _ in pairs[:3])
        for _, writer in pairs:
            writer.close()


async def test_it_ends_quickly_although_a_page_watches(client, kiosk):
    """Cancelling ends the open feeds; the port is free again."""
    async with client.stream("GET", "/clock-1/events") as feed:
        news = states(feed)
        await anext(news)
        port = client.base_url.port
        (task,) = [one for one in asyncio.all_tasks() if "KioskServer.run" in repr(one)]
        async with asyncio.timeout(3):
            task.cancel()
            await asyncio.wait({task})
        assert [state async for state in news] == []
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_a_port_that_is_taken_is_said_and_tried_again():
    """The agent goes on without pages, and they come as soon as they can."""
    blocker = socket.create_server(("127.0.0.1", 0))
    kiosk = Kiosk()
    kiosk.server = KioskServer(kiosk.terminals, "127.0.0.1", blocker.getsockname()[1], first_pause_s=0.01)
    with capture_logs() as logs:
        task = asyncio.create_task(kiosk.server.run())
        await asyncio.to_thread(wait_until, lambda: logs)
        blocker.close()
        url = await kiosk.until_served()
    assert (logs[0]["event"], logs[0]["reason"]) == ("kiosk_down", "Address already in use")
    async with httpx2.AsyncClient() as client:
        assert (await client.get(url + "clock-1")).status_code == 200
    task.cancel()
    await asyncio.wait({task})


async def test_requests_leave_no_trace_in_the_log(client, kiosk, caplog):
    caplog.set_level("DEBUG")
    with capture_logs() as logs:
        kiosk.screen.answer("ok", ("Gebucht, Anna.", "Booked, Anna."), {})
        async with client.stream("GET", "/clock-1/events") as feed:
            news = states(feed)
            assert (await anext(news))["answer"]["text"]["de"] == "Gebucht, Anna."
        await client.post("/clock-1/choice", json={"key": "in"})
    own = [record for record in caplog.records if record.name.startswith(("uvicorn", "readers", "starlette"))]
    assert (logs, own) == ([], [])


def settings(**values) -> AgentSettings:
    return AgentSettings(agent="agent-1", centre_url="wss://centre.example/", **values)


def test_without_a_port_there_is_no_kiosk():
    assert open_kiosk(settings(), SystemClock()) is None


def test_with_a_port_the_three_uses_get_screens():
    kiosk = open_kiosk(settings(kiosk_port=8090), SystemClock())
    assert sorted(kiosk.kinds) == ["canteen", "printer", "timeclock"]


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "kiosk.example"])
def test_the_pages_are_for_this_machine_alone(address):
    with pytest.raises(ValueError, match="kiosk_address"):
        settings(kiosk_address=address)


def test_what_to_install_is_said(monkeypatch):
    monkeypatch.delitem(sys.modules, "readers.kiosk.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SettingsFault, match=r"need uvicorn.*install cardservice\[kiosk\]"):
        open_kiosk(settings(kiosk_port=8090), SystemClock())


def test_an_agent_without_pages_needs_none_of_their_libraries():
    """The agent starts up to its settings with starlette, uvicorn, anyio and h11 out of reach."""
    program = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'anyio', 'h11'): sys.modules[name] = None\n"
        "import readers.main, readers.clock, readers.settings\n"
        "from readers.kiosk.assembly import open_kiosk\n"
        "values = readers.settings.settings_from({'agent': 'a', 'centre_url': 'wss://centre.example/'})\n"
        "print(open_kiosk(values, readers.clock.SystemClock()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("None\n", "")
