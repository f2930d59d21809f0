# SPDX-License-Identifier: EUPL-1.2
"""Roles from groups of the directory: who is effectively in a group has the role, as far as the settings say."""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import structlog

from cardservice.clock import Clock
from cardservice.errors import DatabaseUnavailable
from cardservice.web.operations import Role
from cardservice.web.reach import EVERYWHERE, Reach

# Which group a name stands for is looked up anew after this; who is in it is known at each request.
REFRESH_MS: Final = 5_000
_BY_ID: Final = re.compile(r"(?P<directory>[a-z0-9-]{1,40}):(?P<stable_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Members of `group` (a name, or `directory:stable-id`) have `role` within `reach`."""

    role: Role
    group: str
    reach: Reach = EVERYWHERE


@dataclass(frozen=True, slots=True)
class KnownGroup:
    """A group that a directory names at this moment."""

    row: int
    directory: str
    stable_id: str
    name: str


# Returns the groups that have one of these names or one of these stable ids; blocks, may raise DatabaseUnavailable.
FindGroups = Callable[[AbstractSet[str], AbstractSet[str]], Sequence[KnownGroup]]


class RoleBook:
    """Which groups give which roles. From any thread; `refresh` and `of` block.

    A name that several groups have gives nobody anything: whoever may make groups would give themselves a role.
    """

    def __init__(self, rules: Sequence[RoleRule], find: FindGroups, clock: Clock) -> None:
        self._rules = tuple(rules)
        self._find = find
        self._clock = clock
        self._by_group: Mapping[int, tuple[RoleRule, ...]] = {}
        self._read_ns: int | None = None
        self._troubles: tuple[str, ...] = ()

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with the groups of the settings, one sentence each; known once they were looked up."""
        return self._troubles

    def of(self, groups: AbstractSet[int]) -> Mapping[Role, tuple[Reach, ...]]:
        """Return the roles of whoever is effectively in these groups, and how far each reaches.

        Raises:
            DatabaseUnavailable: the groups cannot be looked up.
        """
        now_ns = self._clock.monotonic_ns()
        if self._rules and (self._read_ns is None or now_ns - self._read_ns >= REFRESH_MS * 1_000_000):
            self.refresh()
        found: dict[Role, tuple[Reach, ...]] = {Role.EMPLOYEE: (EVERYWHERE,)}
        for group in groups & self._by_group.keys():
            for rule in self._by_group[group]:
                found[rule.role] = (*found.get(rule.role, ()), rule.reach)
        return MappingProxyType(found)

    def refresh(self) -> None:
        """Look the groups up; what is newly wrong with one is told in the log.

        Raises:
            DatabaseUnavailable: they cannot be read; what was known so far stays.
        """
        if not self._rules:
            return
        read_ns = self._clock.monotonic_ns()
        wanted = {rule.group for rule in self._rules}
        ids = {group: named for group in wanted if (named := _BY_ID.fullmatch(group)) is not None}
        known = self._find(wanted - ids.keys(), {named["stable_id"] for named in ids.values()})
        by_group: dict[int, tuple[RoleRule, ...]] = {}
        troubles = []
        for rule in self._rules:
            fitting = [one.row for one in known if _is_meant(one, rule.group, ids.get(rule.group))]
            if len(fitting) == 1:
                by_group[fitting[0]] = (*by_group.get(fitting[0], ()), rule)
            else:
                troubles.append(_trouble(rule, len(fitting)))
        for trouble in sorted(set(troubles) - set(self._troubles)):
            _log.warning("roles.group_unclear", trouble=trouble)
        self._by_group, self._read_ns, self._troubles = by_group, read_ns, tuple(dict.fromkeys(troubles))

    def refresh_if_possible(self) -> None:
        """Look the groups up, for whoever has something else to do than to wait for the store."""
        try:
            self.refresh()
        except DatabaseUnavailable as error:
            _log.warning("roles.not_refreshed", error=str(error))


def _is_meant(known: KnownGroup, group: str, named: "re.Match[str] | None") -> bool:
    if named is None:
        return known.name == group
    return (known.directory, known.stable_id) == (named["directory"], named["stable_id"])


def _trouble(rule: RoleRule, count: int) -> str:
    if count == 0:
        return f"roles: no directory names the group {rule.group!r}: nobody has the role {rule.role} by it"
    return (
        f"roles: {count} groups are called {rule.group!r}: nobody has the role {rule.role} by it; "
        "name the one that is meant as directory:stable-id"
    )
