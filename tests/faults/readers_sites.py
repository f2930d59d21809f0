# SPDX-License-Identifier: EUPL-1.2
"""Two sites of one city: each has a pcscd with twelve readers and an agent of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from e2e.whole_city import Arrangement, free_port, whole_city
from faults.readers_feed import Feed, Seen
from faults.readers_pcscd import Pcscd
from support.agent_process import AgentProcess
from support.service import AGENT, CityFiles, ServiceProcess

from cardservice.access.setup import AccessSetup, PointSetup, RuleSetup, apply
from cardservice.database import read
from cardservice.people.store import organisation
from city import building
from city.deck import CARDS, CityCard
from city.people import CITIZENS, MEMBERS
from rig.control import RigClient
from rig.process import RigProcess

DOORS = 6
OTHER_SITE = "werkhof"
_GROUPS = (("Rathaus",), ("Bauamt",), ("IT",), ("Bürgerbüro",), ("Gäste anderer Behörden",), ("Rathaus",))
OTHER_DOORS = tuple(
    building.Door(f"{OTHER_SITE}-{number}", f"Werkhof {number}", f"Depot {number}", "stadt", "guests", groups)
    for number, groups in enumerate(_GROUPS, start=1)
)
# Whatever answers at random has no expected reason, and the one that pulls itself out no decision.
DECK = tuple(card for card in CARDS if card.card_id not in {"stoerer", "kurz"})


@dataclass(frozen=True, slots=True)
class Gate:
    """One reader of a site and its point."""

    point: str
    reader: str
    door: building.Door

    def reasons(self, card: CityCard) -> frozenset[str]:
        """What may be said to `card` here; more than one where it depends on the time of day."""
        reason = self._of_the_chip(card) or _of_the_card(card) or _of_the_person(card)
        if reason is None and not any(_is_in(card.login, group) for group in self.door.groups):
            reason = "no_grant"
        if reason is not None:
            return frozenset({reason})
        return frozenset({"granted", "outside_schedule"} if self.door.schedule else {"granted"})

    def _of_the_chip(self, card: CityCard) -> str | None:
        if card.chip == "none" or (card.chip.startswith("piv") and self.door.kind != "guests"):
            return "card_unsupported"
        if card.chip == "piv-expired":
            return "certificate_refused"
        return "card_not_genuine" if card.copies else None


def _of_the_card(card: CityCard) -> str | None:
    if card.login is None:
        return "card_unknown"
    return None if card.state == "active" else f"card_{card.state}"


def _of_the_person(card: CityCard) -> str | None:
    citizen = next(citizen for citizen in CITIZENS if citizen.login == card.login)
    if citizen.disabled:
        return "person_disabled"
    return None if citizen.expired_on_day is None else "person_expired"


def _is_in(login: str, group: str) -> bool:
    members = MEMBERS[group]
    return login in members or any(_is_in(login, member[1:]) for member in members if member.startswith("@"))


def _gates(doors: tuple[building.Door, ...]) -> tuple[Gate, ...]:
    return tuple(
        Gate(building.point_code(door, side), building.reader_name(number, side), door)
        for number, door in enumerate(doors, start=1)
        for side in range(len(building.SIDES))
    )


@dataclass(frozen=True, slots=True)
class Site:
    """One pcscd, its readers, and the agent beside it."""

    agent: AgentProcess
    control: RigClient
    pcscd: Pcscd
    gates: tuple[Gate, ...]

    def insert(self, cards: Mapping[Gate, CityCard]) -> None:
        for gate, card in cards.items():
            self.control.insert(card.card_id, gate.reader)

    def take_away(self, cards: Mapping[Gate, CityCard]) -> None:
        for gate in cards:
            self.control.eject(gate.reader)

    def dealt(self, first: int) -> dict[Gate, CityCard]:
        """A card for each gate, beginning with the deck's `first`."""
        return {gate: DECK[(first + number) % len(DECK)] for number, gate in enumerate(self.gates)}

    def last_good(self) -> dict[Gate, float]:
        """When each reader was last good, as the agent's metric says; 0 for never."""
        found = self.agent.metric("cardservice_agent_last_good_tap_seconds", "reader")
        return {gate: found.get(gate.reader, 0.0) for gate in self.gates}

    def health_says(self, good: Mapping[Gate, float], feed: Feed) -> None:
        """Wait until the centre has been told the same of each reader, and that all are empty."""
        expected = {gate.reader: (round(when * 1_000) or None, False) for gate, when in good.items()}

        def same(health: dict[str, Any]) -> bool:
            told = {one["reader"]: (one["last_good_tap_ms"], one["present"]) for one in health["readers"]}
            return told == expected

        feed.health(self.agent.name, same)


@dataclass(frozen=True, slots=True)
class Sites:
    """Both sites and what the service shows of them."""

    both: tuple[Site, Site]
    feed: Feed

    def check(self, site: Site, cards: Mapping[Gate, CityCard], began: int) -> dict[Gate, Seen]:
        """Every card that was inserted since `began` is decided for what it is, and opens only if it may."""
        every = {gate: self.feed.outcome(gate.point, began) for gate in cards}
        for gate, seen in every.items():
            opens = seen.reason == "granted"
            assert seen.reason in gate.reasons(cards[gate]), (gate, cards[gate], seen)
            assert (seen.outcome, seen.permit, seen.released) == ("acted" if opens else "shown", opens, opens), gate
        good = site.last_good()
        site.take_away(cards)
        site.health_says(good, self.feed)
        return every


def _add_other_site(files: CityFiles, service: ServiceProcess) -> None:
    """Tell the service about the other site's doors, and wait until it knows them."""
    points = [
        PointSetup(gate.point, gate.point, gate.door.zone, gate.door.kind, OTHER_SITE, gate.reader)
        for gate in _gates(OTHER_DOORS)
    ]
    rules = [RuleSetup(group=group, point=gate.point) for gate in _gates(OTHER_DOORS) for group in gate.door.groups]
    before = service.health()["points"]
    with files.stores() as databases:
        with read(databases.state) as connection:
            number = connection.execute(sa.select(organisation.c.id)).scalar_one()
        apply(databases.state, number, AccessSetup(points=points, rules=rules))
    service.wait_health(lambda state: state["points"] == before + len(points))


@contextmanager
def two_sites(folder: Path) -> Iterator[Sites]:
    """Start a whole city and a second pcscd with its agent; `folder` needs a short name."""
    settings: dict[str, str | int] = {"metrics_port": free_port()}
    with whole_city(folder, Arrangement(agent=settings, doors=DOORS)) as whole:
        whole.close()
        files, service = whole.files, whole.service
        _add_other_site(files, service)
        arguments = ["--doors", str(DOORS)]
        rig = RigProcess(folder / "two", deck=files.deck_file, loader="cardsim.deck:load_deck", arguments=arguments)
        with rig, rig.client() as control, Feed(service) as feed:
            socket = rig.pcsc_socket or ""
            with AgentProcess(
                files, OTHER_SITE, service.agents_url, socket, {"metrics_port": free_port()}
            ) as other_agent:
                first = Site(
                    whole.agent, whole.control, Pcscd(whole.control, AGENT, feed), _gates(building.DOORS[:DOORS])
                )
                other = Site(other_agent, control, Pcscd(control, OTHER_SITE, feed), _gates(OTHER_DOORS))
                for site in (first, other):
                    site.pcscd.until_only(gate.reader for gate in site.gates)
                yield Sites((first, other), feed)
