# SPDX-License-Identifier: EUPL-1.2
"""Keys in a token that is slow or away: the event loop goes on, and the tap gets an answer."""

import asyncio
import threading
from collections.abc import Generator

import pytest

from cardservice.agents import proof
from cardservice.agents.proof import CardProver, Stopwatch
from cardservice.cards.ports import TokenTrouble
from cardservice.chip.errors import CardGone
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.clock import SystemClock


class TokenKeys:
    """Says that its keys may wait; the conversations of these tests ask it for none."""

    system_id = b"CITY"
    may_wait = True

    def ring(self, use: str):
        raise AssertionError(use)


def prover() -> CardProver:
    return CardProver(TokenKeys(), CardAuthTrust(()), SystemClock())


async def answering(commands) -> tuple[bytes, ...]:
    return tuple(b"\x90\x00" for _ in commands)


async def test_the_loop_goes_on_while_a_token_derives() -> None:
    """A derivation that takes as long as somebody lets it: meanwhile the loop does other work."""
    let_go, waiting = threading.Event(), threading.Event()

    def conversation() -> Generator[tuple[bytes, ...], tuple[bytes, ...], str]:
        yield (b"one",)
        waiting.set()
        assert let_go.wait(30)
        yield (b"two",)
        return "proved"

    running = asyncio.create_task(prover()._run(conversation(), answering, Stopwatch(SystemClock())))
    assert await asyncio.to_thread(waiting.wait, 30)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not running.done()
    let_go.set()
    assert await running == "proved"


async def test_a_token_that_never_answers_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tap ends in time; the thread that waits ends when the token lets it."""
    monkeypatch.setattr(proof, "TOKEN_S", 0.2)
    let_go, ended = threading.Event(), threading.Event()

    def conversation() -> Generator[tuple[bytes, ...], tuple[bytes, ...], str]:
        try:
            let_go.wait(30)
            yield (b"one",)
        finally:
            ended.set()
        return "proved"

    talk = conversation()
    with pytest.raises(TokenTrouble, match="did not answer within"):
        await prover()._run(talk, answering, Stopwatch(SystemClock()))
    del talk
    let_go.set()
    assert await asyncio.to_thread(ended.wait, 30)


async def test_what_a_conversation_raises_is_raised() -> None:
    """In a thread as without one: a card that leaves ends it the same way."""

    def conversation() -> Generator[tuple[bytes, ...], tuple[bytes, ...], str]:
        yield (b"one",)
        return "proved"

    async def gone(_) -> tuple[bytes, ...]:
        return ()

    with pytest.raises(CardGone):
        await prover()._run(conversation(), gone, Stopwatch(SystemClock()))
