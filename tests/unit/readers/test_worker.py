# SPDX-License-Identifier: EUPL-1.2
"""A worker runs one call at a time, in order, and says when it hangs."""

import asyncio
import threading

import pytest

from readers.errors import WorkerBusy
from readers.worker import Worker


async def test_calls_run_in_order_in_one_thread_and_errors_come_back():
    worker = Worker("w")
    seen: list[tuple[int, int]] = []
    for number in range(3):
        await worker.call(lambda number=number: seen.append((number, threading.get_ident())))
    assert [number for number, _ in seen] == [0, 1, 2]
    assert len({thread for _, thread in seen} - {threading.get_ident()}) == 1
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0)
    assert await worker.call(lambda: 7) == 7
    assert worker.stop(timeout_s=5) is True


async def test_a_hanging_worker_takes_only_so_much():
    """Then it refuses at once instead of growing; what was queued still runs when it is free."""
    worker, gate, done = Worker("w", max_waiting=2), threading.Event(), []
    started = threading.Event()
    worker.submit(lambda: started.set() or gate.wait(30))
    started.wait()
    worker.submit(lambda: done.append(1))
    worker.submit(lambda: done.append(2))
    with pytest.raises(WorkerBusy, match="hangs"):
        worker.submit(lambda: done.append(3))
    assert worker.stop(timeout_s=0) is False
    gate.set()
    assert worker.stop(timeout_s=5) is True
    assert done == [1, 2]
    with pytest.raises(WorkerBusy, match="stopped"):
        worker.submit(lambda: done.append(4))


async def test_a_call_given_up_while_it_waits_is_not_run():
    """A tap that is over sends nothing more to whatever card is in the reader by then."""
    worker, gate, done = Worker("w"), threading.Event(), []
    blocking = asyncio.create_task(worker.call(lambda: gate.wait(30)))
    given_up = asyncio.create_task(worker.call(lambda: done.append(1)))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    gate.set()
    assert await blocking is True
    assert worker.stop(timeout_s=5) is True
    assert done == []


def test_a_loop_that_ended_meanwhile_does_not_end_the_thread():
    """The result of a call nobody waits for any more is dropped, the next call runs."""
    worker, gate, begun = Worker("w"), threading.Event(), threading.Event()

    async def leave() -> None:
        left = asyncio.create_task(worker.call(lambda: begun.set() or gate.wait(30)))
        await asyncio.to_thread(begun.wait)
        left.cancel()

    asyncio.run(leave())
    gate.set()
    assert worker.submit(lambda: 7).result(5) == 7
    assert worker.stop(timeout_s=5) is True
