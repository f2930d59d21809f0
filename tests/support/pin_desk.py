# SPDX-License-Identifier: EUPL-1.2
"""A city with points that demand the PIN, and the real agent beside them with its pages and virtual readers."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
from support.command import ROOT, python_environment, run_cli
from support.service import CityFiles, to_toml
from support.waiting import LIMIT_S, wait_until

from cardservice.access.rules import Level, Use
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, apply
from cardservice.cards.keystore import open_store
from cardservice.cards.pin.service import Pins, pepper_of
from cardservice.clock import SystemClock
from cardservice.doors import rules as doors
from cardservice.timeclock import rules as timeclock
from readers.identity import Identity
from rig.program import free_port

# The reader of each point that demands the PIN.
SAFE, CLOCK, VAULT = "tresor", "uhr.pin", "archiv"
READERS = {SAFE: "Safe", CLOCK: "Clock", VAULT: "Vault"}
_KEY_FILE_PASSPHRASE = "keys.secret"


def add_points(files: CityFiles, agent: str, suffix: str = "") -> None:
    """Add two doors with a page and a time clock; all of the town hall may go there, with their PINs."""
    budgets: dict[str, Any] = {"answer_budget_ms": 5_000, "tap_budget_ms": 20_000, "journal_mode": "full"}

    def at(code: str, use: Use, **options: Any) -> PointSetup:
        return PointSetup(code + suffix, code, "rathaus", "pin" + suffix, agent, READERS[code], use, options=options)

    setup = AccessSetup(
        point_classes=[PointClassSetup("pin" + suffix, "Mit PIN", level=Level.CARD_PIN, **budgets)],
        points=[
            at(SAFE, Use.DOOR, pin_pad=True),
            at(VAULT, Use.DOOR, pin_pad=True),
            at(CLOCK, Use.TIMECLOCK, guard_s=0),
        ],
        rules=[RuleSetup(group="Rathaus", point=code + suffix) for code in READERS],
    )
    with files.stores() as databases:
        checks = {Use.DOOR: doors.check_options, Use.TIMECLOCK: timeclock.check_options}
        apply(databases.state, 1, setup, checks)


@contextmanager
def pins_of(files: CityFiles) -> Iterator[Pins]:
    """The city's PINs, as the command line opens them."""
    passphrase = (files.folder / _KEY_FILE_PASSPHRASE).read_text().strip().encode()
    keys = open_store(files.folder / "keys.json", passphrase, demonstration_allowed=True)
    with files.stores() as databases:
        yield Pins(databases.state, pepper_of(keys), SystemClock())


def cards_pin(files: CityFiles, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run `cardservice cards pin` with something on standard input."""
    return run_cli("cards", "pin", *arguments, "--config", str(files.config), typed=typed)


class Page:
    """One terminal's page as its script sees it."""

    def __init__(self, client: httpx2.AsyncClient, point: str, feed: httpx2.Response) -> None:
        self._client = client
        self._point = point
        self._lines = feed.aiter_lines()

    async def until(self, *views: str) -> dict[str, Any]:
        """The next state of the feed with one of these views."""
        async with asyncio.timeout(LIMIT_S):
            async for line in self._lines:
                if line.startswith("data: ") and (state := json.loads(line.removeprefix("data: ")))["view"] in views:
                    return state
        raise AssertionError("the feed ended")

    async def type(self, pin: str | None, ask: int | None = None) -> int:
        """Answer the question that is asked, once it is; return the status."""
        question = (await self.until("pin"))["pin"]["ask"] if ask is None else ask
        return (await self._client.post(f"/{self._point}/pin", json={"ask": question, "pin": pin})).status_code

    async def answered(self) -> str:
        """What is said of the tap, in German."""
        return (await self.until("answer"))["answer"]["text"]["de"]


class PinAgent:
    """`pin_agent.py` in a process of its own; its log is `log`, at debug level."""

    def __init__(self, files: CityFiles, name: str, centre_url: str) -> None:
        self.log = files.folder / f"{name}.log"
        self.outbox = files.folder / f"{name}.outbox"
        self.port = free_port()
        key = files.folder / f"{name}.key"
        files.enrol_key(name, Identity.create(key).public_key_hex())
        config = files.folder / f"{name}.toml"
        settings = {"agent": name, "centre_url": centre_url, "key_file": str(key), "outbox_file": str(self.outbox)}
        config.write_text(to_toml({"": settings | {"kiosk_port": self.port, "log_level": "debug"}}))
        program = ROOT / "tests" / "service_http" / "pin_agent.py"
        with self.log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(program), str(config), str(files.deck_file), *READERS.values()],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                env=python_environment(),
                text=True,
            )
        for point in READERS:
            wait_until(lambda point=point: self._serves(point))

    def hold(self, card: str, point: str) -> None:
        """Hold a card to the reader of a point."""
        self._say(f"{card} {READERS[point]}")

    def take(self, point: str) -> None:
        """Take the card away."""
        self._say(f"- {READERS[point]}")

    @asynccontextmanager
    async def page(self, point: str) -> AsyncIterator[Page]:
        """The page of a point, open in a browser; the centre is there."""
        url = f"http://127.0.0.1:{self.port}"
        async with (
            httpx2.AsyncClient(base_url=url, timeout=LIMIT_S) as client,
            client.stream("GET", f"/{point}/events") as feed,
        ):
            page = Page(client, point, feed)
            await page.until("idle", "answer")
            yield page

    def stop(self) -> None:
        """End it in order."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(LIMIT_S)
            raise

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _serves(self, point: str) -> bool:
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(f"http://127.0.0.1:{self.port}/{point}").status_code == 200
        return False


async def pin_tap(agent: PinAgent, point: str, pin: str | None, card: str = "anna") -> str:
    """Hold a card to a point, take it away and type; return what is said then."""
    async with agent.page(point) as page:
        agent.hold(card, point)
        state = await page.until("pin")
        agent.take(point)
        assert await page.type(pin, state["pin"]["ask"]) == 204
        return await page.answered()
