# SPDX-License-Identifier: EUPL-1.2
"""Tells the service about the demonstration city, its doors, grants and cards, through the ordinary use cases."""

from dataclasses import replace
from typing import Final

import sqlalchemy as sa
from cryptography import x509
from sqlalchemy.engine import Engine

from cardservice.access.rules import Use
from cardservice.access.schedules import Interval
from cardservice.access.setup import (
    AccessSetup,
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    ZoneSetup,
    apply,
)
from cardservice.cards.rules import CardState, desfire_credential, piv_credential
from cardservice.cards.service import NewCard, list_cards, register
from cardservice.chip.piv_certificate import issuer_key
from cardservice.database import read
from cardservice.people.store import organisation, person
from cardservice.places import OPTION_RULES
from city import building, deck, seed

HOST_POINT: Final = "besuch.eigene-karte"
# Serves the places that are no doors: a pcscd takes sixteen readers, and the doors have as many.
PLACES_AGENT: Final = "plaetze"
_CLASSES: Final = tuple(
    # Real cards are slower than virtual ones, and a demonstration machine may be busy.
    replace(point_class, answer_budget_ms=2_000, tap_budget_ms=10_000)
    for point_class in (
        PointClassSetup("entrance", "Außentür", freshness_ms=24 * 3_600_000),
        PointClassSetup("office", "Innentür", open_ms=3_000),
        PointClassSetup("high", "Hochschutzbereich", freshness_ms=60_000, journal_mode="full", open_ms=3_000),
        PointClassSetup("guests", "Besuchereingang", methods=("desfire", "piv")),
        # Nothing opens there, and what happens is written down by the place itself.
        PointClassSetup("terminal", "Terminal", open_ms=0),
        PointClassSetup("pc", "Arbeitsplatz", methods=("piv",), open_ms=0),
    )
)


def seed_city(engine: Engine, *, piv_ca: x509.Certificate, agent: str, host_agent: str) -> int:
    """Store the city in an empty store, from which the directory was read before; return how many points it has.

    Raises:
        CardServiceError: what the city names is not in the directory, or the store cannot be written.
    """
    with read(engine) as connection:
        number = connection.execute(sa.select(organisation.c.id)).scalar_one()
        logins = {row.login: row.id for row in connection.execute(sa.select(person.c.login, person.c.id))}
    setup = _setup(agent, host_agent)
    register(
        engine,
        [
            NewCard(
                organisation_id=number,
                person_id=logins[card.login] if card.login else None,
                credentials=_credentials(card, piv_ca),
                state=CardState(card.state),
                state_reason=card.state_reason,
            )
            for card in deck.CARDS
            if card.state is not None
        ],
    )
    # The points come last: whoever sees all of them sees the cards too.
    apply(engine, number, setup, OPTION_RULES)
    return len(setup.points)


def references(engine: Engine) -> dict[str, str]:
    """Return what the service calls each card of the deck it knows."""
    registered = [card.card_id for card in deck.CARDS if card.state is not None]
    return dict(zip(registered, [view.reference for view in list_cards(engine)], strict=True))


def _credentials(card: deck.CityCard, piv_ca: x509.Certificate) -> tuple[bytes, ...]:
    """Return what the card is known by: a number for each use, and its PIV UUID under its issuer."""
    found: list[bytes] = []
    if card.chip in {"desfire", "employee"}:
        found += [desfire_credential(use, seed.number(card.card_id, use)) for use in seed.USES]
    if card.chip == "employee" or card.chip.startswith("piv"):
        found.append(piv_credential(issuer_key(piv_ca), deck.card_uuid(card.card_id).bytes))
    return tuple(found)


def _setup(agent: str, host_agent: str) -> AccessSetup:
    points = [
        PointSetup(
            code=building.point_code(door, side),
            name=f"{door.name_de}, {building.SIDES[side][1]}",
            zone=door.zone,
            point_class=door.kind,
            agent=agent,
            reader=building.reader_name(number, side),
        )
        for number, door in enumerate(building.DOORS, start=1)
        for side in range(len(building.SIDES))
    ]
    points += [
        PointSetup(
            code=place.code,
            name=place.name_de,
            zone="rathaus",
            point_class=place.kind,
            agent=PLACES_AGENT,
            reader=place.reader,
            use=Use(place.use),
            options=place.options,
        )
        for place in building.PLACES
    ]
    # Whatever real reader this machine has of its own: a real card may be tried there.
    points.append(PointSetup(HOST_POINT, "Eigener Leser", "stadt", "guests", host_agent, "*"))
    rules = [
        RuleSetup(group=group, point=building.point_code(door, side), schedule=door.schedule)
        for door in building.DOORS
        for side in range(len(building.SIDES))
        for group in door.groups
    ]
    rules += [RuleSetup(group=group, point=place.code) for place in building.PLACES for group in place.groups]
    rules.append(RuleSetup(group="Rathaus", point=HOST_POINT))
    hours = tuple(Interval(*interval) for interval in building.OFFICE_HOURS)
    return AccessSetup(
        zones=[ZoneSetup(*zone) for zone in building.ZONES],
        schedules=[ScheduleSetup("buerozeit", "Bürozeit", hours, building.LAND)],
        point_classes=_CLASSES,
        points=points,
        rules=rules,
    )
