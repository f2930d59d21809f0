# SPDX-License-Identifier: EUPL-1.2
"""A service as a process, its own OpenLDAP server, cards tapped without end, and eyes on health and metrics."""

import asyncio
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ldap3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from e2e.whole_city import add_people, dn_of, set_disabled
from faults.directory_relay import Relay
from support.scripted_agent import ScriptedAgent
from support.service import AGENT, CityFiles, DirectoryAddress, ServiceProcess
from support.slapd import (
    READER_DN,
    READER_PASSWORD,
    SUFFIX,
    CertificateWish,
    Entry,
    Slapd,
    group,
    make_tls_files,
    person,
)
from support.waiting import wait_until

from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, apply
from city.people import CITIZENS

BOUND_S = 2.0
SHORT, LONG, OPEN = "tresor.innen", "pforte.aussen", "schranke.aussen"
# Who is who in front of the doors: card, login.
ALWAYS, LONG_GONE, JUST_GONE, GOES = "anna", "petra", "mehmet", "sabine"
LOGINS = {ALWAYS: "schmidt", LONG_GONE: "vogt", JUST_GONE: "yilmaz", GOES: "krueger"}
CERTIFICATES = {
    "foreign": CertificateWish(),
    "misnamed": CertificateWish(ip="127.0.0.2"),
    "expired": CertificateWish(valid_days=-1),
}

ROUND = (*itertools.product(LOGINS, (SHORT, LONG)), (ALWAYS, OPEN), (GOES, OPEN))
# The migrations' tool keeps its place in the process, not in a thread.
_ONE_AT_A_TIME = threading.Lock()
_GROUP_SIZE = 100
# At the pace of people: the service takes an agent that taps faster for one that floods it.
_TAP_PAUSE_S = 0.055
_LOOK_PAUSE_S = 0.1
_LOOKS_AGAIN = 5


@dataclass(frozen=True, slots=True)
class Tap:
    """One tap and its answer."""

    card: str
    point: str
    sent_s: float
    answered_s: float
    reason: str

    @property
    def permit(self) -> bool:
        return self.reason == "granted"


@dataclass(frozen=True, slots=True)
class Look:
    """What an operator saw: `/health/ready` until `at_s`, then the directory's gauges on `/metrics` until `ended_s`."""

    at_s: float
    ended_s: float
    at_ms: int
    code: int
    state: dict[str, Any]
    gauges: dict[str, float]

    @property
    def directory(self) -> dict[str, Any]:
        found: dict[str, Any] = self.state["directories"][0]
        return found


@dataclass
class Seen:
    """Everything seen while taps went on."""

    taps: list[Tap] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    trouble: list[BaseException] = field(default_factory=list)

    def check(self) -> None:
        """Raise what ended the tapping or the looking."""
        if self.trouble:
            raise self.trouble[0]


def crowd(count: int) -> list[Entry]:
    """Return that many people, each in one of the groups of a hundred."""
    people = [person(f"p{number:05}") for number in range(count)]
    names = [dn for dn, _ in people]
    groups = [group(f"amt-{at}", names[at : at + _GROUP_SIZE]) for at in range(0, count, _GROUP_SIZE)]
    return [*people, *groups]


class DirectoryCity:
    """One city whose directory is to fail; `start` it once, then `watched` as often as wanted."""

    def __init__(self, folder: Path, people: int, dice: random.Random, *, relayed: bool) -> None:
        # The crowd, and the eight people of the demonstration.
        self.people = people + len(CITIZENS)
        self.dice = dice
        self.password = READER_PASSWORD
        self.backup: Path | None = None
        self.late: threading.Thread | None = None
        self.slapd = Slapd(folder / "slapd", crowd(people))
        for name, wish in CERTIFICATES.items():
            make_tls_files(folder / name, wish)
        self.options = self.slapd.options
        self.certificates = folder
        self.relay = Relay(self.slapd.tls_port) if relayed else None
        url = self.slapd.url if self.relay is None else f"ldaps://127.0.0.1:{self.relay.port}"
        # A copy: what the server shows later must not change what the service trusts.
        trusted = folder / "trusted.pem"
        trusted.write_text(
            "".join(file.read_text() for file in (self.slapd.ca_file, *self._authorities("misnamed", "expired")))
        )
        address = DirectoryAddress(
            url, trusted, READER_DN, f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}", READER_PASSWORD
        )
        self.files = CityFiles(folder / "city", address, changes={"directory": {"reconcile_s": 10}})
        self.service: ServiceProcess
        self._key: Ed25519PrivateKey

    def _authorities(self, *names: str) -> list[Path]:
        return [self.certificates / name / "ca.pem" for name in names]

    def start(self, stack: ExitStack) -> None:
        """Start everything and set up the three points; `stack` ends it."""
        stack.callback(self.slapd.stop)
        self.slapd.start()
        add_people(self.slapd)
        with _ONE_AT_A_TIME:
            self.files.upgrade()
        self.service = stack.enter_context(ServiceProcess(self.files, self.files.folder / "service.log"))
        if self.relay is not None:
            stack.callback(self.relay.close)
        self.service.wait_health(lambda state: state.get("status") == "ready", limit_s=60)
        points = self.files.seed() + self._add_points()
        self._key = self.files.enrol(AGENT)
        self.service.wait_health(lambda state: state["points"] == points)

    def _add_points(self) -> int:
        classes = {
            SHORT: PointClassSetup("kurz", "Kurze Frist", freshness_ms=round(BOUND_S * 1_000)),
            OPEN: PointClassSetup("offen", "Auch danach", freshness_ms=1_000, stale_policy="permit"),
            LONG: PointClassSetup("lang", "Zwölf Stunden"),
        }
        setup = AccessSetup(
            point_classes=list(classes.values()),
            points=[PointSetup(code, code, "rathaus", kind.code, AGENT, code) for code, kind in classes.items()],
            rules=[RuleSetup(group="Rathaus", point=code) for code in classes],
        )
        with self.files.stores() as databases:
            apply(databases.state, 1, setup)
        return len(classes)

    def set_disabled(self, card: str, *, disabled: bool) -> None:
        """Lock or unlock the account of a card's holder in the directory."""
        set_disabled(self.slapd, dn_of(LOGINS[card]), disabled=disabled)

    def set_password(self, password: str) -> None:
        """Give the service's account another password in the directory; connections that stand are not asked again."""
        with self.slapd.admin() as connection:
            connection.modify(READER_DN, {"userPassword": [(ldap3.MODIFY_REPLACE, [password])]})
        self.password = password

    def tell_password(self) -> None:
        """Write the account's password where the service reads it."""
        (self.files.folder / "service.secret").write_text(self.password + "\n")

    def wait_current(self) -> None:
        """Wait until everything written before this call is in the service's copy."""
        asked_s = time.monotonic()

        def proved(state: dict[str, Any]) -> bool:
            directory = state["directories"][0]
            return directory["connected"] and directory["age_ms"] / 1_000 < time.monotonic() - asked_s

        self.service.wait_health(proved, limit_s=30)

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """Tap all cards at all points in turn, and look at health and metrics, while the context lasts."""
        seen, stop = Seen(), threading.Event()
        threads = [
            threading.Thread(target=self._guarded, args=(work, seen, stop), name=work.__name__)
            for work in (self._tap_on, self._look_on)
        ]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        seen.check()

    @staticmethod
    def _guarded(work: Callable[[Seen, threading.Event], None], seen: Seen, stop: threading.Event) -> None:
        try:
            work(seen, stop)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must fail with it
            seen.trouble.append(error)

    def _tap_on(self, seen: Seen, stop: threading.Event) -> None:
        asyncio.run(self._tap_all(seen, stop))

    async def _tap_all(self, seen: Seen, stop: threading.Event) -> None:
        cards = self.files.cards()
        async with ScriptedAgent(self.service.agents_url, AGENT, self._key) as agent:
            while not stop.is_set():
                for card, point in ROUND:
                    sent_s = time.monotonic()
                    decision = await agent.tap(cards[card], point)
                    seen.taps.append(Tap(card, point, sent_s, time.monotonic(), decision.reason))
                    assert decision.permit == (decision.reason == "granted")
                    await asyncio.sleep(_TAP_PAUSE_S)

    def _look_on(self, seen: Seen, stop: threading.Event) -> None:
        while not stop.wait(_LOOK_PAUSE_S):
            seen.looks.append(self.look())

    def look(self) -> Look:
        """See what the service says of itself: on both pages the same, unless something changed in between."""
        for _ in range(_LOOKS_AGAIN):
            look = self._look_once()
            held = look.directory["held_removals"]
            if (look.gauges["connected"], look.gauges["removals_held"]) == (look.directory["connected"], held):
                break
        return look

    def _look_once(self) -> Look:
        code, text = self.service.get("/health/ready")
        at_s, at_ms = time.monotonic(), time.time_ns() // 1_000_000
        _, page = self.service.get("/metrics")
        ended_s = time.monotonic()
        prefix = "cardservice_directory_"
        lines = [line[len(prefix) :] for line in page.splitlines() if line.startswith(prefix)]
        gauges = {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}
        return Look(at_s, ended_s, at_ms, code, json.loads(text), gauges)


def until(seen: Seen, what: Callable[[], object], limit_s: float) -> None:
    """Wait for `what` to come true while taps go on; fail at once with what ended them."""

    def found() -> bool:
        seen.check()
        return bool(what())

    wait_until(found, limit_s)


@contextmanager
def directory_city(folder: Path, people: int, dice: random.Random, *, relayed: bool) -> Iterator[DirectoryCity]:
    """Run a city of its own below `folder`."""
    with ExitStack() as stack:
        city = DirectoryCity(folder, people, dice, relayed=relayed)
        city.start(stack)
        yield city
