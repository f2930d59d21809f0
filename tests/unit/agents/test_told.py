# SPDX-License-Identifier: EUPL-1.2
"""What the agents said of themselves last."""

from cardservice.agents.messages import Health, ReaderHealth
from cardservice.agents.told import AgentsTold

HEALTH = Health(pcsc="up", readers=(ReaderHealth(reader="r", present=False),), outbox_depth=3, at_ms=9_000)


def test_nothing_is_known_of_who_was_never_let_in():
    told = AgentsTold()
    told.said("rathaus", HEALTH, 1_000)
    told.went("rathaus", 2_000)
    assert told.of("rathaus") is None


def test_it_is_kept_since_when_it_is_here_or_away_and_how_it_was():
    """Who went keeps what it said last; who comes again has said nothing yet."""
    told = AgentsTold()
    told.came("rathaus", "agent/1", 1_000)
    told.said("rathaus", HEALTH, 2_000)
    here = told.of("rathaus")
    assert (here.online, here.since_ms, here.heard_ms, here.clock_ahead_ms) == (True, 1_000, 2_000, 7_000)
    told.went("rathaus", 5_000)
    away = told.of("rathaus")
    assert (away.online, away.since_ms, away.heard_ms, away.health) == (False, 5_000, 2_000, HEALTH)
    told.came("rathaus", "agent/2", 6_000)
    again = told.of("rathaus")
    assert (again.online, again.software, again.health, again.clock_ahead_ms) == (True, "agent/2", None, None)


def test_an_agent_that_does_not_say_its_time_has_no_clock_to_compare():
    told = AgentsTold()
    told.came("rathaus", "agent/1", 1_000)
    told.said("rathaus", HEALTH.model_copy(update={"at_ms": None}), 2_000)
    assert told.of("rathaus").clock_ahead_ms is None
