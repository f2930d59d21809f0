# SPDX-License-Identifier: EUPL-1.2
"""The logind adapter on a real bus, with real lockers on virtual screens."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.sessions import ANNA, UTE, desk, wait_locked, wait_open
from support.waiting import LIMIT_S

from cardservice.workstations.ports import SessionFault
from integrations.logind import LogindSessions
from integrations.logind.sessions import MAX_SESSIONS, build
from rig.sessions import Desk, DeskSession

pytestmark = pytest.mark.logind

# Ute's too, but nothing a card in this PC's reader may touch.
ELSEWHERE = DeskSession("c3", "berger", seat="seat1")
CONSOLE = DeskSession("c4", "berger", kind="tty", active=False)


@pytest.fixture(scope="module")
def pc() -> Iterator[Desk]:
    with desk(UTE, ANNA) as made:
        yield made


@pytest.fixture
async def sessions(pc) -> AsyncIterator[LogindSessions]:
    adapter = LogindSessions(address=pc.bus_address)
    yield adapter
    await adapter.close()


async def test_locking_and_unlocking_one_session(pc, sessions):
    """The lock window comes and goes, LockedHint follows, and the other session stays as it is."""
    await sessions.lock(None)
    for session in (UTE, ANNA):
        await asyncio.to_thread(wait_locked, pc, session)
    assert await sessions.unlock("berger") == "unlocked"
    await asyncio.to_thread(wait_open, pc, UTE)
    assert pc.is_locked(ANNA.number)
    assert (await sessions.locked("berger"), await sessions.locked("schmidt")) == (False, True)
    assert await sessions.locked(None) is False
    await sessions.lock("berger")
    await asyncio.to_thread(wait_locked, pc, UTE)
    assert await sessions.locked("berger") is True


async def test_nobody_without_a_session_is_unlocked(pc, sessions):
    """No session, an almost equal name, an empty one: logind is not even told."""
    before = len(pc.notes())
    for user in ("nobody", "Berger", "berger ", "berg", ""):
        assert await sessions.unlock(user) == "no_session"
        assert await sessions.locked(user) is None
        await sessions.lock(user)
    assert len(pc.notes()) == before


async def test_a_restarted_bus_is_found_again(pc, sessions):
    """The first call after the restart works, without being told."""
    assert await sessions.unlock("berger") == "unlocked"
    pc.stop_bus()
    pc.start_bus()
    await sessions.lock("berger")
    await asyncio.to_thread(wait_locked, pc, UTE)


async def once(pc: Desk, what: str, user: str) -> object:
    """Make one call over a connection of its own."""
    adapter = LogindSessions(address=pc.bus_address)
    try:
        return await getattr(adapter, what)(user)
    finally:
        await adapter.close()


def test_a_restart_of_logind_is_waited_for(pc):
    """A call made while logind is away is answered as soon as it is back."""
    asyncio.run(once(pc, "lock", "berger"))
    wait_locked(pc, UTE)
    pc.stop_logind()
    with ThreadPoolExecutor() as pool:
        unlocking = pool.submit(asyncio.run, once(pc, "unlock", "berger"))
        # What it starts dies with the thread that started it, so this one does.
        pc.start_logind()
        assert unlocking.result(LIMIT_S) == "unlocked"
    wait_open(pc, UTE)


async def test_without_a_bus_every_call_ends_in_time_with_a_sentence(tmp_path):
    """No bus, no hang: the fault names what was wanted and nobody's name."""
    adapter = LogindSessions(address=f"unix:path={tmp_path}/none", call_s=0.1)
    for call in (adapter.unlock("berger"), adapter.lock(None), adapter.locked("berger")):
        with pytest.raises(SessionFault, match=r"^logind: (unlock|lock|ask): no answer within 0.1 s$"):
            await call
    await adapter.close()


async def test_a_logind_that_hangs_is_not_waited_for(pc):
    """The call ends at its limit, though what it asked for still comes; the one after it works again."""
    adapter = LogindSessions(address=pc.bus_address, call_s=0.3)
    await adapter.lock("berger")
    await asyncio.to_thread(wait_locked, pc, UTE)
    pc.behave(delay_ms=800)
    try:
        began_s = time.monotonic()
        with pytest.raises(SessionFault):
            await adapter.unlock("berger")
        assert time.monotonic() - began_s < 0.7
    finally:
        pc.behave()
    await asyncio.to_thread(wait_open, pc, UTE)
    patient = LogindSessions(address=pc.bus_address)
    async with asyncio.timeout(15):
        # xss-lock passes over a Lock that comes while its locker is still ending; the agent repeats it too.
        while not await asyncio.to_thread(pc.is_locked, UTE.number):
            await patient.lock("berger")
            await asyncio.sleep(0.2)
    await adapter.close()
    await patient.close()


async def test_only_the_session_at_this_pcs_screen_is_unlocked():
    """Another seat is not touched; the text console stays as it is beside the screen."""
    with desk(CONSOLE, UTE, ANNA, ELSEWHERE, lockers=False) as pc:
        adapter = LogindSessions(address=pc.bus_address)
        assert await adapter.unlock("berger") == "unlocked"
        await adapter.lock("berger")
        await adapter.lock(None)
        told = [(note.member, note.number) for note in pc.notes()]
        await adapter.close()
    assert told[0] == ("UnlockSession", "c1")
    assert sorted(told[1:3]) == [("LockSession", "c1"), ("LockSession", "c4")]
    assert sorted(told[3:]) == [("LockSession", "c1"), ("LockSession", "c2"), ("LockSession", "c4")]


async def test_any_number_of_sessions_elsewhere_hides_none_of_this_pc():
    """Remote logins and another seat's come first in logind's list, and are more than are looked at."""
    elsewhere = [DeskSession(f"e{number}", "berger", seat="seat1") for number in range(MAX_SESSIONS + 1)]
    with desk(*elsewhere, UTE, lockers=False) as pc:
        adapter = LogindSessions(address=pc.bus_address)
        assert await adapter.unlock("berger") == "unlocked"
        assert [(note.member, note.number) for note in pc.notes()] == [("UnlockSession", "c1")]
        await adapter.close()


async def test_the_bus_of_the_environment_is_used(pc, monkeypatch):
    """As a unit file or a rig sets it."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", pc.bus_address)
    adapter = build()
    assert await adapter.locked("nobody") is None
    assert await adapter.locked("berger") is not None
    await adapter.close()
