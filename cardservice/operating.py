# SPDX-License-Identifier: EUPL-1.2
"""The routes and pages of operations put together: agents, directories, and what works now."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter

from cardservice.agents.hub import AgentHub
from cardservice.agents.pages import agents_pages
from cardservice.agents.register import AgentRegister, Presence
from cardservice.agents.resources import agents_router
from cardservice.agents.service import Agents
from cardservice.cards.keys.service import UseStatus
from cardservice.database import Databases
from cardservice.people.api import reading_router
from cardservice.people.directory_desk import Around, Check, DirectoryDesk
from cardservice.people.directory_pages import directory_pages
from cardservice.running.pages import operations_pages
from cardservice.running.service import Parts, Running
from cardservice.server import Front
from cardservice.vitals import Vitals
from cardservice.web.gate import Gate
from cardservice.web.looks import KeepLook
from cardservice.web.pages import Pages


@dataclass(frozen=True, slots=True)
class Operating:
    """What the pages of operations stand on. `check` looks at a directory once."""

    databases: Databases
    vitals: Vitals
    hub: AgentHub
    front: Front
    keep_look: KeepLook
    check: Check
    keys: Callable[[], Sequence[UseStatus]]


def operating_routers(around: Operating, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """Yield them."""
    state, vitals, clock = around.databases.state, around.vitals, around.vitals.clock
    presence = Presence(lambda: around.hub.online, around.hub.told.of, lambda: vitals.events.missing)
    agents = AgentRegister(around.databases, Agents(state, clock), presence)
    yield agents_router(agents, gate)
    yield agents_pages(agents, clock, gate, pages)
    directory = vitals.directory
    desk = DirectoryDesk(state, clock, Around(directory.statuses, directory.look, around.check))
    yield reading_router(desk, gate)
    yield directory_pages(desk, clock, (gate, pages, around.keep_look))
    said = Parts(
        health=vitals.health,
        statuses=directory.statuses,
        stages=vitals.metrics.stage,
        waiting=lambda: vitals.recorder.depth,
        record_trouble=lambda: vitals.recorder.trouble,
        keys=around.keys,
        expires_s=lambda: None if around.front.certificate is None else around.front.certificate.not_after_s,
    )
    yield operations_pages(Running(around.databases, agents, said, clock), gate, pages)
