# SPDX-License-Identifier: EUPL-1.2
"""What administrators do: people in the directory, cards on the command line of another program."""

from simulation.parts import Parts
from simulation.town import GROUPS, TownClock

from cardservice.agents.service import Agents
from cardservice.cards.rules import CardState
from cardservice.cards.service import NewState, change_state
from cardservice.database import Databases


class Office:
    """Changes who may pass where, and tells the oracle."""

    def __init__(self, parts: Parts, stores: Databases, references: dict[str, str]) -> None:
        self._parts = parts
        self._stores = stores
        self._references = references

    def disable(self, login: str) -> None:
        """Disable somebody in the directory."""
        if self._parts.directory.is_there(login):
            self._parts.directory.set_enabled(login, enabled=False)
            self._parts.oracle.people_changed()

    def enable(self, login: str) -> None:
        """Enable somebody again."""
        if self._parts.directory.is_there(login):
            self._parts.directory.set_enabled(login, enabled=True)
            self._parts.oracle.people_changed()

    def remove(self, login: str) -> None:
        """Take somebody out of the directory."""
        if self._parts.directory.is_there(login):
            self._parts.directory.remove(login)
            self._parts.oracle.people_changed()

    def add(self, login: str) -> None:
        """Put somebody back as in the beginning."""
        groups = tuple(name for name, members in GROUPS.items() if login in members)
        self._parts.directory.add(login, groups)
        self._parts.oracle.people_changed()

    def replace(self, login: str) -> None:
        """Let somebody be followed by another person of the same name."""
        if self._parts.directory.is_there(login):
            self._parts.directory.replace(login)
            self._parts.oracle.people_changed()

    def rename(self, login: str) -> None:
        """Give somebody another name."""
        if self._parts.directory.is_there(login):
            self._parts.directory.rename(login)
            self._parts.oracle.people_changed()

    def member(self, login: str, group: str) -> None:
        """Put somebody into a group, or take them out if they are in it."""
        directory = self._parts.directory
        if directory.is_there(login):
            directory.set_member(group, login, member=login not in directory.members[group])
            self._parts.oracle.people_changed()

    def lock_card(self, card: str) -> None:
        """Suspend a card."""
        self._set_card(card, locked=True)

    def unlock_card(self, card: str) -> None:
        """Make a card good again."""
        self._set_card(card, locked=False)

    def lock_agent(self, agent: str) -> None:
        """Stop trusting an agent."""
        self._set_agent(agent, locked=True)

    def unlock_agent(self, agent: str) -> None:
        """Trust an agent again."""
        self._set_agent(agent, locked=False)

    def _set_agent(self, agent: str, *, locked: bool) -> None:
        Agents(self._stores.state, TownClock()).lock(agent, locked=locked)
        self._parts.trace.note("office", f"agent {agent} {'locked' if locked else 'trusted'}")
        self._parts.oracle.agent_locked(agent, locked=locked)
        self._tell_centre()

    def _set_card(self, card: str, *, locked: bool) -> None:
        if self._parts.oracle.is_locked(card) == locked:
            return
        state = CardState.SUSPENDED if locked else CardState.ACTIVE
        new = NewState(state, "missing" if locked else None)
        change_state(self._stores.state, self._references[card], new, TownClock().now_ms())
        self._parts.trace.note("office", f"card {card} {state}")
        self._parts.oracle.card_changed(card, locked=locked)
        self._tell_centre()

    def _tell_centre(self) -> None:
        if self._parts.centre.running is not None:
            self._parts.centre.running.log_changed()
