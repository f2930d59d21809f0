# SPDX-License-Identifier: EUPL-1.2
"""What stands in the navigation: the pages somebody may open, in groups. Whether they may is the operation's line."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cardservice.web.i18n import marked
from cardservice.web.operations import OPERATIONS, Role, allowed


@dataclass(frozen=True, slots=True)
class Entry:
    """One page: where it is, what it is called, and the operation that opens it."""

    path: str
    title: str
    operation: str


@dataclass(frozen=True, slots=True)
class Group:
    """Pages that belong together."""

    title: str
    entries: tuple[Entry, ...]


GROUPS: Final = (
    Group(
        marked("Mine"),
        (
            Entry("/my", marked("My card"), "my.card"),
            Entry("/my/doors", marked("My doors"), "my.doors"),
            Entry("/my/pc", marked("My PC"), "my.pc"),
            Entry("/my/time", marked("My times"), "my.time"),
            Entry("/my/printing", marked("My documents"), "my.printing"),
            Entry("/my/canteen", marked("My canteen money"), "my.canteen"),
        ),
    ),
    Group(
        marked("Operations"),
        (
            Entry("/operations", marked("What works now"), "operations.read"),
            Entry("/agents", marked("Agents and readers"), "agents.read"),
            Entry("/directory", marked("Directories"), "directories.read"),
        ),
    ),
    Group(
        marked("Administration"),
        (
            Entry("/live", marked("Live"), "live.show"),
            Entry("/doors", marked("Doors"), "doors.list"),
            Entry("/people", marked("People and cards"), "people.read"),
            Entry("/batches", marked("Lists of cards"), "batches.read"),
            Entry("/card-stock", marked("Blank cards"), "cards.stock"),
            Entry("/old-numbers", marked("Old card numbers"), "cards.old"),
            Entry("/encoding", marked("Encoder"), "encoding.read"),
            Entry("/outsiders", marked("People outside the directory"), "outsiders.read"),
            Entry("/certificates", marked("Certificates"), "certificates.read"),
            Entry("/access/grants", marked("Grants and blocks"), "grants.read"),
            Entry("/access/points", marked("Points"), "points.read"),
            Entry("/access/zones", marked("Zones"), "zones.read"),
            Entry("/access/point-classes", marked("Point classes"), "point_classes.read"),
            Entry("/access/schedules", marked("Schedules"), "schedules.read"),
            Entry("/access/explain", marked("Explain access"), "access.explain"),
            Entry("/accounts", marked("Service accounts"), "accounts.list"),
            Entry("/approvals", marked("Approvals"), "approvals.read"),
            Entry("/audit", marked("Record"), "audit.read"),
            Entry("/retention", marked("Retention"), "retention.read"),
        ),
    ),
)


def entries_for(roles: Collection[Role], absent: Collection[str] = ()) -> tuple[Group, ...]:
    """Return the groups with the pages that these roles may open; groups without any are left out.

    `absent` are paths of pages of what is not set up here.
    """
    groups = (
        Group(
            group.title,
            tuple(one for one in group.entries if one.path not in absent and allowed(OPERATIONS[one.operation], roles)),
        )
        for group in GROUPS
    )
    return tuple(group for group in groups if group.entries)
