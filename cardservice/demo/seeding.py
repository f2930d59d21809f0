# SPDX-License-Identifier: EUPL-1.2
"""Tells the service about the demonstration city, its doors, grants and cards, through the ordinary use cases."""

from dataclasses import replace
from typing import Final

import sqlalchemy as sa
from cryptography import x509
from sqlalchemy.engine import Engine

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
from cardservice.cards.service import NewCard, register
from cardservice.chip.piv_certificate import issuer_key
from cardservice.database import read
from cardservice.people.store import organisation, person
from city import building, deck, seed

HOST_POINT: Final = "besuch.eigene-karte"
_CLASSES: Final = tuple(
    # Real cards are slower than virtual ones, and a demonstration machine may be busy.
    replace(point_class, answer_budget_ms=2_000, tap_budget_ms=10_000)
    for point_class in (
        PointClassSetup("entrance", "Außentür", freshness_ms=24 * 3_600_000),
        PointClassSetup("office", "Innentür", open_ms=3_000),
        PointClassSetup("high", "Hochschutzbereich", freshness_ms=60_000, journal_mode="full", open_ms=3_000),
        PointClassSetup("guests", "Besuchereingang", methods=("desfire", "piv")),
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
    apply(engine, number, setup)
    register(
        engine,
        [
            NewCard(
                organisation_id=number,
                person_id=logins[card.login] if card.login else None,
                credentials=(
                    (piv_credential(issuer_key(piv_ca), deck.card_uuid(card.card_id).bytes),)
                    if card.chip.startswith("piv")
                    else tuple(desfire_credential(use, seed.number(card.card_id, use)) for use in seed.USES)
                ),
                state=CardState(card.state),
                state_reason=card.state_reason,
            )
            for card in deck.CARDS
            if card.state is not None
        ],
    )
    return len(setup.points)


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
    # Whatever real reader this machine has of its own: a real card may be tried there.
    points.append(PointSetup(HOST_POINT, "Eigener Leser", "stadt", "guests", host_agent, "*"))
    rules = [
        RuleSetup(group=group, point=building.point_code(door, side), schedule=door.schedule)
        for door in building.DOORS
        for side in range(len(building.SIDES))
        for group in door.groups
    ]
    rules.append(RuleSetup(group="Rathaus", point=HOST_POINT))
    hours = tuple(Interval(*interval) for interval in building.OFFICE_HOURS)
    return AccessSetup(
        zones=[ZoneSetup(*zone) for zone in building.ZONES],
        schedules=[ScheduleSetup("buerozeit", "Bürozeit", hours, building.LAND)],
        point_classes=_CLASSES,
        points=points,
        rules=rules,
    )
