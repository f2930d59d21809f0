# SPDX-License-Identifier: EUPL-1.2
"""A city in front of whose outer doors the whole deck of bad cards is held: who is on record, and taps in waves."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding
from e2e.whole_city import OPEN_MS, Arrangement, WholeCity, reader_of, whole_city
from support.service import AGENT, CALLERS, CityFiles
from support.slapd import SUFFIX
from support.waiting import wait_until

from cardservice import changes
from cardservice.access.setup import AccessSetup, RuleSetup, apply
from cardservice.access.store import point_class
from cardservice.cards.pki.mapping import serial_bytes
from cardservice.cards.pki.store import certificate
from cardservice.cards.rules import CardState, desfire_credential, piv_credential
from cardservice.cards.service import NewCard, register
from cardservice.cards.store import find_card
from cardservice.chip.piv_certificate import issuer_key
from cardservice.database import Databases, read, write
from cardservice.journal.store import journal_entry
from cardservice.people.store import organisation, person
from cardsim.bad_cards import VICTIM, BadCard, OnRecord, Town, UseMasters, good_card, good_piv_card, number_of, uuid_of
from cardsim.bad_deck import BAD_CARDS
from cardsim.certificates import Issuer, make_issuer
from cardsim.deck import save_deck
from city import deck, people, seed
from rig.errors import RigError

SIDES: Final = tuple(
    f"{door}.{side}"
    for door in ("bauamt", "haupteingang", "kantine", "tiefgarage", "besuchereingang")
    for side in ("aussen", "innen")
)
"""Both sides of the doors that the entitled holder may open, the outer side first."""
GUARDED: Final = "bauamt.aussen"
"""The one of them where not every employee has a grant."""
GOOD: Final = tuple(f"good-{number}" for number in range(len(SIDES) - 1))
GOOD_PIV: Final = "good-piv"
LEAVER: Final = "ausgeschieden"
LOGINS: Final = {
    "entitled": "schmidt",
    "blocked": "weber",
    "left": LEAVER,
    "disabled": "vogt",
    "expired": "lange",
    "without_grant": "krueger",
}
LIMIT_S: Final = 25.0
DAY_MS: Final = 86_400_000
TAP_BUDGET_MS: Final = 3_000


@dataclass
class Tapped:
    """What was seen of one tap; `locked` is whether the strike has locked again."""

    permit: bool | None = None
    reason: str | None = None
    outcome: str | None = None
    released: bool = False
    event: str = ""
    locked: bool = field(default=True, repr=False)


class BadCardCity:
    """The doors, the deck, and what the service has on record of it."""

    def __init__(self, city: WholeCity, authority: Issuer) -> None:
        self._city = city
        self._authority = authority
        self._seen: set[str] = set()
        self.references: dict[str, str] = {}

    @property
    def deck_file(self) -> Path:
        """The deck in the rig."""
        return self._city.files.deck_file

    def take_into_the_records(self) -> None:
        """Register everybody and every card; the leaver comes, gets a card, and goes."""
        city, files = self._city, self._city.files
        dn = f"uid={LEAVER},{people.PEOPLE}".replace(people.SUFFIX, SUFFIX)
        with city.slapd.admin() as connection:
            names = {"cn": "Rosa Reich", "sn": "Reich", "uid": LEAVER, "employeeNumber": "10099"}
            connection.add(dn, ["inetOrgPerson"], names)
        wait_until(lambda: LEAVER in self._people())
        self._register()
        with city.slapd.admin() as connection:
            connection.delete(dn)
        wait_until(lambda: LEAVER not in self._people())
        with files.stores() as databases, read(databases.state) as connection:
            newest = changes.latest(connection)
        city.service.wait_health(lambda state: state["snapshot_revision"] >= newest)

    def hold(self, cards: Mapping[str, str]) -> dict[str, Tapped]:
        """Hold cards, by the name of their point, to the readers at once; take them away when all is over."""
        for point, card in cards.items():
            self._city.control.insert(card, reader_of(point))
        taps = {point: Tapped() for point in cards}
        for event in self._events():
            self._note(taps, event)
            if all(tap.outcome is not None and tap.locked for tap in taps.values()):
                break
        self._take_away(cards)
        return {cards[point]: tap for point, tap in taps.items()}

    def journal(self) -> dict[str, dict[str, Any]]:
        """The journal's lines of taps by their event."""
        lines = [json.loads(row.payload) for row in self._city.files.rows(journal_entry)]
        return {line["event"]: line for line in lines if line["kind"] == "tap"}

    def logs(self) -> str:
        """Everything that service and agent have logged."""
        return self._city.service.log.read_text() + self._city.agent.log.read_text()

    def detail(self, card: BadCard, point: str, line: Mapping[str, Any]) -> str:
        """What administrators are told beside the reason: by the journal's line, else by the explanation, else nothing.

        A card that is out of use is told as its state with the reason for it.
        """
        if "detail" in line or card.name not in self.references:
            return str(line.get("detail", line["reason"]))
        for step in self.explained(card.name, point)[0]["steps"]:
            for finding in step["findings"]:
                if step["refusal"] == line["reason"] and finding["said"] == "card_out_of_use":
                    facts = finding["facts"]
                    return "_".join(facts[name] for name in ("state", "state_reason") if facts[name])
        return str(line["reason"])

    def explained(self, card: str, point: str) -> list[dict[str, Any]]:
        """What an administrator is told who asks why this card is refused."""
        answer = httpx2.post(
            f"{self._city.service.url}/api/v1/access/explain",
            json={"point": point, "card": self.references[card], "language": "en"},
            headers={"Authorization": f"Bearer {CALLERS['auditor'][0]}"},
            timeout=20,
        )
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["answers"]
        return found

    def _people(self) -> dict[str, int]:
        with self._city.files.stores() as databases, read(databases.state) as connection:
            rows = connection.execute(sa.select(person.c.login, person.c.id).where(person.c.present))
            return {row.login: row.id for row in rows}

    def _register(self) -> None:
        logins = self._people()
        known = [card for card in BAD_CARDS if card.on_record is not None]
        with self._city.files.stores() as databases:
            with read(databases.state) as connection:
                here = connection.execute(sa.select(organisation.c.id)).scalar_one()
            block = RuleSetup(login=LOGINS["blocked"], zone="stadt", effect="block")
            apply(databases.state, here, AccessSetup(rules=[block]))
            good = [self._new_card(here, logins, name, OnRecord()) for name in (*GOOD, GOOD_PIV, VICTIM)]
            bad = [self._new_card(here, logins, card.name, card.on_record or OnRecord()) for card in known]
            references = register(databases.state, good + bad)
            self._revoke(databases, dict(zip([card.name for card in known], references[len(good) :], strict=True)))
        self.references = dict(zip([card.name for card in known], references[len(good) :], strict=True))

    def _revoke(self, databases: Databases, references: Mapping[str, str]) -> None:
        """Have the certificates revoked of which the city says so, as if newer ones had superseded them."""
        at_ms = int(time.time() * 1000)
        always = {"authority": "card-1", "slot": "9E", "state": "revoked", "reason": "superseded", "changed_ms": at_ms}
        with write(databases.state) as connection:
            for card in BAD_CARDS:
                if card.on_record is None or card.on_record.revoked_serial is None:
                    continue
                found = find_card(connection, references[card.name])
                assert found is not None
                values = {
                    "card_id": found.id,
                    "issuer_key": issuer_key(self._authority.certificate),
                    "serial": serial_bytes(card.on_record.revoked_serial).hex(),
                    "not_before_ms": at_ms - DAY_MS,
                    "not_after_ms": at_ms + DAY_MS,
                }
                connection.execute(sa.insert(certificate).values(**always, **values))
                changes.append(connection, "card", [found.id])

    def _new_card(self, here: int, logins: Mapping[str, int], name: str, record: OnRecord) -> NewCard:
        now_ms = int(time.time() * 1000)
        uuid = piv_credential(issuer_key(self._authority.certificate), uuid_of(name).bytes)
        return NewCard(
            organisation_id=here,
            person_id=logins[LOGINS[record.holder]] if record.holder in LOGINS else None,
            credentials=(*(desfire_credential(use, number_of(name, use)) for use in seed.USES), uuid),
            state=CardState(record.state),
            state_reason=record.state_reason,
            valid_from_ms=now_ms + DAY_MS if record.valid == "not_yet" else None,
            valid_until_ms=now_ms - DAY_MS if record.valid == "no_more" else None,
        )

    def _events(self) -> Iterator[dict[str, Any]]:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            line = self._city.live.readline()
            assert line, "the live feed ended"
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
        raise AssertionError(f"not seen within {LIMIT_S} s")

    def _note(self, taps: Mapping[str, Tapped], event: Mapping[str, Any]) -> None:
        tap = taps.get(event.get("point", ""))
        if tap is None:
            return
        named = event.get("event") or {}
        name = f"{named.get('agent')}/{named.get('epoch')}/{named.get('sequence')}"
        if name in self._seen:
            return
        if event["kind"] == "tap":
            tap.permit, tap.reason = event["permit"], event["reason"]
        elif event["kind"] == "output":
            tap.locked = event["state"] == "locked"
            tap.released = tap.released or event["state"] == "released"
        elif event["kind"] == "event":
            tap.outcome, tap.event = event["outcome"], name
            # The door locks by itself a moment after it was released.
            tap.locked = tap.locked and tap.outcome != "acted"
            self._seen.add(name)

    def _take_away(self, cards: Mapping[str, str]) -> None:
        waiting = {reader_of(point) for point in cards}
        for reader in waiting:
            # A card that was pulled by its own fault has left already.
            with suppress(RigError):
                self._city.control.eject(reader)
        for event in self._events():
            if event["kind"] == "agent" and event["agent"] == AGENT:
                waiting -= {one["reader"] for one in event["readers"] if not one["present"]}
                if not waiting:
                    return


def point_for(card: BadCard, free: Sequence[str]) -> str:
    """Which of the free doors a card is held to."""
    refused_there = card.on_record is not None and card.on_record.holder == "without_grant"
    return GUARDED if refused_there else free[0]


def waves(cards: Sequence[BadCard]) -> Iterator[dict[str, str]]:
    """The cards by point, as many at once as there are doors."""
    left = list(cards)
    while left:
        wave: dict[str, str] = {}
        for card in list(left):
            free = [door for door in SIDES if door not in wave]
            if free and (point := point_for(card, free)) not in wave:
                wave[point] = card.name
                left.remove(card)
        yield wave


@contextmanager
def bad_card_city(folder: Path) -> Iterator[BadCardCity]:
    """A city whose outer doors take every kind of card, with the deck of bad cards in the rig."""
    authority = make_issuer("Deck of bad cards", datetime.now(UTC) - timedelta(days=30))
    arrangement = Arrangement(deck=lambda files: _write_deck(files, authority), access=_prepare_doors)
    with whole_city(folder, arrangement) as city:
        here = BadCardCity(city, authority)
        here.take_into_the_records()
        yield here


def _write_deck(files: CityFiles, authority: Issuer) -> None:
    """The deck under the keys the service has; it trusts the authority of its PIV cards too."""
    town = Town(
        seed.SYSTEM_ID,
        {
            use: UseMasters(
                bytes.fromhex(deck.AIDS[use]),
                seed.master(use, "application_master"),
                seed.master(use, "proof"),
                seed.master(use, "locate"),
            )
            for use in seed.USES
        },
        authority,
        datetime.now(UTC) - timedelta(days=1),
    )
    good = [*(good_card(town, name) for name in (*GOOD, VICTIM)), good_piv_card(town, GOOD_PIV)]
    save_deck([*good, *(card.description(town) for card in BAD_CARDS)], files.deck_file)
    authority_file = files.folder / "bad-deck-ca.pem"
    authority_file.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    trusted = [str(files.folder / "piv-ca.pem"), str(authority_file)]
    files.configure({"piv": {"trusted_ca_files": trusted}})


def _prepare_doors(files: CityFiles) -> None:
    """Every door takes DESFire and PIV, has the ordinary time for a tap, and locks soon."""
    with files.stores() as databases, write(databases.state) as connection:
        ordinary = {"tap_budget_ms": TAP_BUDGET_MS, "methods": "desfire,piv"}
        connection.execute(sa.update(point_class).values(open_ms=OPEN_MS, **ordinary))
        changes.append(connection, "access", [0])
