# SPDX-License-Identifier: EUPL-1.2
"""The REST resources put together: people, cards, the access model, agents, taps, directories."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from fastapi import APIRouter

from cardservice.access.model.api import model_router
from cardservice.access.model.desk import Desk
from cardservice.access.model.grants import grants_router
from cardservice.access.model.pages import model_pages
from cardservice.access.model.pages_changes import changes_pages
from cardservice.access.model.pages_grant_steps import grant_steps_pages
from cardservice.access.model.pages_grants import grants_pages
from cardservice.access.model.pages_import import import_pages
from cardservice.access.model.reading import Reading
from cardservice.access.model.rehearsal import Rehearsal
from cardservice.access.model.service import Model, ModelServices
from cardservice.access.model.shelf import Shelf
from cardservice.access.review.record import KeepLine
from cardservice.access.store import agents_serving, zone_numbers
from cardservice.agents.resources import taps_router
from cardservice.agents.tap_lines import tap_lines
from cardservice.approvals.api import approvals_router
from cardservice.approvals.desk import ApprovalDesk
from cardservice.approvals.pages import approvals_pages
from cardservice.approvals.ports import KeepStep
from cardservice.approvals.service import Approvals
from cardservice.audit.api import Auditing, audit_router
from cardservice.audit.opening import opening_kind
from cardservice.audit.pages import audit_pages
from cardservice.audit.service import AuditTrail, KeepLooks
from cardservice.cards.api import cards_router
from cardservice.cards.badges.api import BadgeRoutes, badge_routers
from cardservice.cards.badges.service import BadgeOffice
from cardservice.cards.bulk.api import BatchDesk, batches_router
from cardservice.cards.bulk.pages import BatchPages, batch_pages
from cardservice.cards.desk import CardDesk
from cardservice.cards.keys.api import KeyDesk, keys_router
from cardservice.cards.keys.closing import closing_kind
from cardservice.cards.keys.service import listed
from cardservice.cards.keys.upkeep import KeyUpkeep
from cardservice.cards.life.api import activation_router, life_router
from cardservice.cards.life.approval import activation_kind
from cardservice.cards.life.desk import LifeDesk
from cardservice.cards.life.pages import life_pages
from cardservice.cards.old.api import old_router
from cardservice.cards.old.desk import OldDesk
from cardservice.cards.old.pages import OldPages, old_pages
from cardservice.cards.pages import people_pages
from cardservice.cards.pin.api import pin_router
from cardservice.cards.pin.desk import PinOffice
from cardservice.cards.pin.pages import own_pin_pages, pin_pages
from cardservice.cards.pin.service import Pins
from cardservice.cards.register import CardRegister
from cardservice.clock import Clock
from cardservice.database import Databases
from cardservice.errors import CardServiceError
from cardservice.journal.service import Journal
from cardservice.mycard.pages import my_card_pages
from cardservice.mycard.service import Kept, MyCard, Names
from cardservice.people.outsiders.api import outsiders_router
from cardservice.people.outsiders.pages import outsiders_pages
from cardservice.people.outsiders.rules import Bounds
from cardservice.people.outsiders.service import Outsiders
from cardservice.people.ports import PhotoDirectory
from cardservice.people.register import PeopleRegister
from cardservice.people.resources import directories_router, people_router
from cardservice.people.status import DirectoryStatus
from cardservice.places import OPTION_RULES
from cardservice.retention.api import retention_router
from cardservice.retention.pages import retention_pages
from cardservice.retention.service import Retention
from cardservice.web.gate import Gate
from cardservice.web.looks import KeepLook
from cardservice.web.once import Once
from cardservice.web.pages import Pages
from cardservice.web.public import Contacts, public_pages
from cardservice.web.public import Retention as Figures
from cardservice.web.streams import Streams

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the resources stand on. `keep` and `keep_look` write to the journal.

    `catch_up` has the next tap see a change, `wake_batches` has a list of cards begin.
    `photos` are the directories that have some, by their names.
    """

    databases: Databases
    clock: Clock
    keep: KeepLine
    keep_look: KeepLook
    catch_up: Callable[[], None]
    directories: Callable[[], Sequence[DirectoryStatus]]
    outsider_bounds: Bounds
    streams: Streams
    wake_batches: Callable[[], None]
    photos: Mapping[str, PhotoDirectory]
    pins: Pins


def resource_routers(around: Surroundings, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """Yield the routes of every resource, and the pages of people and cards."""
    state, clock = around.databases.state, around.clock
    once, publish = Once(state, clock), partial(_publish, around.catch_up)
    register = CardRegister(state, clock)
    people, cards = PeopleRegister(state), CardDesk(register, once, publish, agents_serving)
    life = LifeDesk(state, register, once, clock, publish, agents_serving)
    yield people_router(people, gate, around.keep_look)
    yield directories_router(around.directories, gate)
    yield cards_router(cards, gate, around.keep_look)
    yield life_router(life, gate, around.keep_look)
    batches = BatchDesk(state, once, clock, around.wake_batches)
    yield batches_router(batches, gate)
    yield batch_pages(BatchPages(batches, Shelf(clock), around.streams, gate, pages))
    yield people_pages(people, cards, (gate, pages), around.keep_look)
    yield life_pages(life, gate, pages, around.keep_look)
    yield from badge_routers(BadgeRoutes(BadgeOffice(state, register, around.photos), gate, around.keep_look))
    old = OldDesk(state, once, clock, publish, zone_numbers)
    yield old_router(old, gate)
    yield old_pages(OldPages(old, Shelf(clock), gate, pages))
    office = PinOffice(around.pins, PeopleRegister(state))
    yield pin_router(office, gate)
    yield pin_pages(office, clock, (gate, pages, around.keep_look))
    yield own_pin_pages(office, gate, pages)
    outsiders = Outsiders(state, clock, around.outsider_bounds, publish)
    yield outsiders_router(outsiders, gate, around.keep_look)
    yield outsiders_pages(outsiders, gate, pages, around.keep_look)
    services = ModelServices(state, clock, OPTION_RULES, around.keep, once, publish)
    model = Model(services)
    yield model_router(model, gate)
    yield grants_router(model, gate)
    access = Desk(model, Rehearsal(services), Reading(state, clock), gate, pages)
    yield model_pages(access)
    yield changes_pages(access)
    yield grants_pages(access)
    yield grant_steps_pages(access)
    yield import_pages(access, Shelf(clock))
    yield taps_router(partial(tap_lines, around.databases.record), gate)


@dataclass(frozen=True, slots=True)
class Oversight:
    """What the record and the requests of four eyes stand on: the record as it is read, and what writes to it."""

    trail: AuditTrail
    keep_step: KeepStep
    keep_looks: KeepLooks
    keys: KeyUpkeep


def oversight_routers(around: Surroundings, oversight: Oversight, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """Yield the routes and pages of approvals and of the record; whatever needs a second person is named here."""
    state, clock = around.databases.state, around.clock
    keys = oversight.keys
    kinds = (
        opening_kind(oversight.trail.chosen, clock.now_ms),
        closing_kind(state, lambda: keys.generations, clock.now_ms),
        activation_kind(state, CardRegister(state, clock), clock.now_ms),
    )
    approvals = Approvals(state, clock, kinds, oversight.keep_step)
    desk = ApprovalDesk(approvals, Once(state, clock), partial(_publish, around.catch_up))
    auditing = Auditing(oversight.trail, desk, oversight.keep_looks)
    yield approvals_router(desk, gate)
    yield activation_router(desk, gate)
    yield approvals_pages(desk, gate, pages)
    yield keys_router(KeyDesk(lambda: keys.status, partial(listed, state), desk), gate)
    yield audit_router(auditing, gate)
    yield audit_pages(auditing, gate, pages)


@dataclass(frozen=True, slots=True)
class OwnData:
    """What people are told of what is kept about them; `secret` returns one of the key store."""

    retention: Retention
    figures: Figures
    contacts: Contacts
    secret: Callable[[str], bytes]
    journal: Journal
    printing: bool


def own_data_routers(around: Surroundings, own: OwnData, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """Yield the pages that say what is kept and until when: to everybody, to each of their own, to who watches."""
    yield public_pages(own.contacts, own.figures, pages)
    kept = Kept(own.figures.days, own.retention.high_points)
    mine = MyCard(around.databases, Names(own.secret, own.journal), around.clock, around.catch_up, kept)
    yield my_card_pages(mine, gate, pages, printing=own.printing)
    yield retention_router(own.retention, around.clock, gate)
    yield retention_pages(own.retention, around.clock, gate, pages)


def _publish(catch_up: Callable[[], None]) -> None:
    """Have the next tap see a change at once; whoever tails the log applies it in any case."""
    try:
        catch_up()
    except CardServiceError as error:
        _log.error("change.not_published", error=str(error))
