# SPDX-License-Identifier: EUPL-1.2
"""kill -9 of a PC's agent between any two of its steps: the session never stays open without a card in the reader."""

import signal
import time
from collections.abc import Iterator

import pytest
from faults.conftest import is_full
from support.sessions import UTE
from support.waiting import LIMIT_S, let_run, wait_until
from support.workplace import Workplace, workplace

pytestmark = [pytest.mark.pcscd, pytest.mark.logind]

# Of an agent that unlocks once and locks once: noted, unlocked, locked, settled, with a step before and after each.
STEPS = 8
TAKEN_AWAY = 0.7
# How long an agent that is back may take, a start on a busy machine included; the promise itself is measured and said.
BACK_LIMIT_S = 10.0 if is_full() else 60.0


@pytest.fixture(scope="module")
def pc() -> Iterator[Workplace]:
    with workplace(UTE) as made:
        yield made


def die(pc: Workplace, step: int) -> bool:
    """Let an agent begin that dies at this step of a tap or its end; return whether the card still lies there."""
    pc.start_agent(die_at=step)
    pc.wait_connected()
    pc.insert()
    wait_until(lambda: not pc.agent_lives or (pc.note.exists() and not pc.is_locked()))
    if not pc.agent_lives:
        return True
    pc.eject()
    wait_until(lambda: not pc.agent_lives)
    return False


def test_a_killed_agent_never_leaves_a_session_open_without_a_card(pc, scale, dice, report):
    """Every step in turn, the card taken away while nobody looks or left there; locked once the agent is back."""
    cycles = scale.of(2, 104)
    order = [step for _ in range(cycles // STEPS + 1) for step in dice.sample(range(1, STEPS + 1), STEPS)][:cycles]
    back_s, found_open, stayed = [], 0, 0
    for step in order:
        lies_there = die(pc, step)
        if lies_there and dice.random() < TAKEN_AWAY:
            pc.eject()
            lies_there = False
        found_open += not pc.is_locked()
        began_s = time.monotonic()
        pc.start_agent()
        if lies_there:
            stayed += 1
            pc.wait_open()
            wait_until(pc.note.exists)
            pc.eject()
        pc.wait_locked(limit_s=BACK_LIMIT_S)
        pc.wait_settled()
        back_s.append(time.monotonic() - began_s)
        pc.end_agent(signal.SIGKILL)
    report(
        "kill -9 of a PC's agent between two steps",
        cycles=cycles,
        found_open=found_open,
        card_left_lying=stayed,
        slowest_locked_again_s=round(max(back_s), 2),
    )
    assert found_open or not scale.full


def test_killed_at_random_moments_of_a_tap(pc, scale, dice, report):
    """The moment is chance, from the card's arrival until after its removal."""
    cycles, found_open = scale.of(1, 30), 0
    for _ in range(cycles):
        pc.start_agent()
        pc.wait_connected()
        pc.insert()
        let_run(dice, 0.8)
        taken = dice.random() < 0.5
        if taken:
            pc.eject()
            let_run(dice, 0.6)
        pc.end_agent(signal.SIGKILL)
        if not taken:
            pc.eject()
        found_open += not pc.is_locked()
        pc.start_agent()
        pc.wait_connected()
        pc.wait_settled()
        # Locked by the first agent or by the second; never opened by either means that it still is.
        pc.wait_locked(limit_s=LIMIT_S)
        pc.end_agent(signal.SIGKILL)
    report("kill -9 of a PC's agent at random moments of a tap", cycles=cycles, found_open=found_open)
    assert found_open or not scale.full
