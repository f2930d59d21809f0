# SPDX-License-Identifier: EUPL-1.2
"""What is not as it should be, for those who want to be told: directories and agents."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from cardservice.agents.service import AgentView
from cardservice.people.status import DirectoryStatus
from cardservice.webhooks.ports import Condition


def lasting(
    directories: Iterable[DirectoryStatus], agents: Iterable[AgentView], online: AbstractSet[str]
) -> Iterator[Condition]:
    """Yield each directory that is not current or waits for a decision, and each trusted agent that is away."""
    for status in directories:
        if not status.connected or status.trouble:
            yield Condition("directory.stale", status.directory)
        if status.held_removals:
            yield Condition("directory.held", status.directory)
    for agent in agents:
        if not agent.locked and agent.code not in online:
            yield Condition("agent.away", agent.code)
