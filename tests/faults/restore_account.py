# SPDX-License-Identifier: EUPL-1.2
"""What a restored centre lacks, and whether it was made good: asked of the agents' outboxes, settled at the end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from faults.load import LoadAgent
from faults.load_account import Account
from faults.restore_stores import Backup, Held, Range, alarms_since_start, gaps, held, held_events, names, ranges
from support.service import CityFiles

from readers.outbox import read_aside


class Debt:
    """What one agent had handed over and the centre that was just put back has not.

    `must_ask` is still in the outbox, `must_lose` is not. An acknowledgement may be on its way into the outbox when
    this is made: `may_ask` counts these too.
    """

    def __init__(self, agent: LoadAgent, now: Held) -> None:
        seen = agent.witness.seen()
        kept = agent.witness.kept()
        self._agent = agent
        self._asked_before = len(seen.wanted_again)
        self.must_ask = agent.witness.kept_acknowledged() - now.events
        self.may_ask = {name for name, _ in seen.finished} - now.events
        self.must_lose = {*seen.acknowledged} - kept - now.events

    def asked(self) -> set[str]:
        """What the centre has asked for again since."""
        return {*self._agent.witness.seen().wanted_again[self._asked_before :]}


class Restore:
    """One putting back of `backup`: what it took away (`removed`), and what each of `agents` has to make good."""

    def __init__(self, files: CityFiles, backup: Backup, agents: Sequence[LoadAgent]) -> None:
        self._files = files
        before = held(files)
        backup.put_back()
        now = held(files)
        self.removed = before.events - now.events
        self.taps_removed = {name: line for name, line in before.taps.items() if name not in now.taps}
        self._named_before = now.gaps
        self.debts = [Debt(agent, now) for agent in agents]

    @property
    def must_lose(self) -> set[str]:
        """What no agent keeps any longer."""
        return {name for debt in self.debts for name in debt.must_lose}

    @property
    def must_ask(self) -> set[str]:
        """What the agents keep."""
        return {name for debt in self.debts for name in debt.must_ask}

    def asked(self) -> set[str]:
        """What was asked for again since."""
        return {name for debt in self.debts for name in debt.asked()}

    def made_good(self) -> bool:
        """Whether all that can be sent again was asked for and is there, and the centre expects no more."""
        asked = self.asked()
        if not self.must_ask <= asked:
            return False
        expected = asked | self.removed - self.must_lose
        return expected <= held_events(self._files) and not gaps(self._files)["asked"]

    def wrongly_asked(self) -> set[str]:
        """What was asked for although it was there, or had never been handed over."""
        return self.asked() - {name for debt in self.debts for name in debt.may_ask}

    def unnamed(self) -> list[Range]:
        """Where the alarms and what was missing differ; what the backup had named before is not named again."""
        missing = {*ranges(self.asked() | self.must_lose)} - self._named_before
        return sorted(missing ^ {*alarms_since_start(self._files, "events_missing")})

    def named_twice(self) -> list[Range]:
        """The ranges whose alarm was repeated."""
        named = Counter(alarms_since_start(self._files, "events_missing"))
        return [one for one, times in named.items() if times > 1]


def lost_by_agents(files: CityFiles, agents: Sequence[LoadAgent]) -> list[Range]:
    """What the agents' outboxes call lost, in order."""
    return sorted(
        Range(agent.name, lost.epoch, lost.first, lost.last)
        for agent in agents
        for lost in read_aside(files.folder / f"{agent.name}.outbox")[1]
    )


class RestoredAccount(Account):
    """Both sides of a run with restores: exactly once still holds, but for what was `lost_for_good` with a name."""

    def __init__(
        self,
        files: CityFiles,
        agents: Sequence[LoadAgent],
        restores: Sequence[Restore],
        lost_for_good: Sequence[Range] = (),
    ) -> None:
        super().__init__(files, agents)
        # That they name just what was missing is asked after each restore.
        self._gaps_found = []
        self._taps_removed = {name: line for one in restores for name, line in one.taps_removed.items()}
        self._lost_for_good = names(lost_for_good)

    @property
    def lost(self) -> list[str]:
        """Stored by an agent, unknown to the centre, and never called lost."""
        return sorted({*super().lost} - self._lost_for_good)

    @property
    def acknowledged_lost(self) -> list[str]:
        """Acknowledged by the centre, unknown to it in the end, and never called lost."""
        return sorted({*self.acknowledged} - self.stored.keys() - self._lost_for_good)

    def permits_gone(self) -> list[str]:
        """The decisions a door opened for whose line is in no journal any more, though events came back."""
        here = super()._taps()
        return sorted(decision for decision in self.opened_for() if decision not in here)

    def _taps(self) -> Mapping[str, Mapping[str, Any]]:
        """The journal's lines about taps, those included that were written and went with a store that was replaced."""
        return {**self._taps_removed, **super()._taps()}

    def _without_a_line(self) -> list[str]:
        return sorted({*super()._without_a_line()} - self._lost_for_good)
