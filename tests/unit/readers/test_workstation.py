# SPDX-License-Identifier: EUPL-1.2
"""The workstation's point: what is not certain ends locked, whatever the order of events."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.readers.fakes import NotingDoor

from cardservice.agents.messages import DecisionMessage, EventId, PlaceAnswer, PointCommand, PointSetup, Sentence
from cardservice.doors.ports import OutputFault, Shown
from cardservice.workstations.ports import SessionFault, Unlocked
from cardservice.workstations.rules import SENTENCES, AnswerCode
from integrations.simulated_io.sessions import SimulatedSessions
from readers.clock import SystemClock
from readers.metrics import Metrics
from readers.unlocked import UnlockedNotes
from readers.workstation import WorkstationPoint, Workstations, WorkstationTimes

QUICK = WorkstationTimes(proof_s=0.05, look_s=0.001, retry_s=0.005, longest_retry_s=0.01, stop_s=1.0)
LIMIT_S = 5.0
TEXT = Sentence(de="Ja.", en="Yes.")


def decision(user: str | None = "berger", sequence: int = 1) -> DecisionMessage:
    facts = {} if user is None else {"user": user}
    return DecisionMessage(
        event=EventId(agent="pc-1", epoch=1, sequence=sequence),
        decision="d0",
        permit=True,
        reason="granted",
        level="card",
        text=TEXT,
        answer=PlaceAnswer(done=True, code="unlock", text=TEXT, facts=facts),
        receipt="ee",
    )


class SlowSessions(SimulatedSessions):
    """Unlocking waits until the test lets it go on; then it happens, or is not answered."""

    def __init__(self, *users: str) -> None:
        super().__init__(users)
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.unanswered = False

    async def unlock(self, user: str) -> Unlocked:
        self.asked.set()
        await self.go_on.wait()
        result = await super().unlock(user)
        if self.unanswered:
            raise SessionFault("no answer")
        return result


class FreezingSessions(SimulatedSessions):
    """At its `at`-th step everything stops as if the agent were killed: before a call is made, or after it was."""

    def __init__(self, at: int) -> None:
        super().__init__(["berger"])
        self.steps = 0
        self.at = at
        self.frozen = asyncio.Event()

    async def step(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.frozen.set()
        if self.frozen.is_set():
            await asyncio.Event().wait()

    async def unlock(self, user: str) -> Unlocked:
        await self.step()
        result = await super().unlock(user)
        await self.step()
        return result

    async def lock(self, user: str | None) -> None:
        await self.step()
        await super().lock(user)
        await self.step()

    async def locked(self, user: str | None) -> bool | None:
        await self.step()
        return await super().locked(user)


class Pc:
    """One PC's point with what a test looks at."""

    def __init__(self, file: Path, sessions: SimulatedSessions, **options: Any) -> None:
        self.file = file
        self.sessions = sessions
        self.metrics = Metrics()
        self.door = NotingDoor()
        self.setup = PointSetup(point="pc-1", reader="*", use="workstation", options=options)
        self.shared = self.new_agent()
        self.point = self.shared.point(self.setup, self.door)

    def new_agent(self) -> Workstations:
        notes = UnlockedNotes(self.file)
        return Workstations(self.sessions, notes, clock=SystemClock(), metrics=self.metrics, times=QUICK)

    def restart(self) -> WorkstationPoint:
        """Begin anew on what a killed agent left; its tasks die with it."""
        for task in list(self.shared._locking):
            task.cancel()
        self.shared = self.new_agent()
        self.point = self.shared.point(self.setup, self.door)
        return self.point

    async def tap(self, user: str | None = "berger") -> None:
        """Put a card in; the centre permits it."""
        self.point.card_came()
        await self.point.act(decision(user))
        self.point.show(Shown("green", "ok", ("Ja.", "Yes.")), decision(user))

    async def refused(self, user: str | None = "berger") -> str:
        """Put a card in whose tap ends in nothing; return the sentence shown."""
        with pytest.raises(OutputFault):
            await self.tap(user)
        self.point.show(Shown("amber", "refused", ("Leser gestört", "Reader out of order")), decision(user))
        return self.said()

    def said(self) -> str:
        text = self.door.shows[-1].text
        assert text is not None
        return text[0]

    async def until(self, *, locked: bool, user: str | None = "berger") -> None:
        await eventually(lambda: self.is_locked(user) is locked)

    def is_locked(self, user: str | None = "berger") -> bool | None:
        found = [is_locked for one, is_locked in self.sessions._locked.items() if user in (None, one)]
        return all(found) if found else None


async def eventually(what: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not what():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.001)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Pc]]:
    def pc(sessions: SimulatedSessions | None = None, **options: Any) -> Pc:
        return Pc(tmp_path / "unlocked.json", sessions or SimulatedSessions(["berger", "schmidt"]), **options)

    return pc


async def test_the_card_unlocks_its_holders_session_and_leaving_locks_it(make):
    """Nobody else's session changes, and afterwards nothing is noted as open."""
    pc = make()
    await pc.tap()
    assert (pc.is_locked("berger"), pc.is_locked("schmidt")) == (False, True)
    assert pc.said() == SENTENCES[AnswerCode.UNLOCKED][0]
    assert pc.file.exists()
    pc.point.card_left()
    await pc.until(locked=True)
    await eventually(lambda: not pc.file.exists())


async def test_the_note_names_nobody(make):
    """What lies on the PC's disk is a salted hash, for its owner's eyes."""
    pc = make()
    await pc.tap()
    assert "berger" not in pc.file.read_text()
    assert pc.file.stat().st_mode & 0o077 == 0
    await pc.shared.close()


async def test_without_a_session_nothing_happens_and_the_holder_reads_why(make):
    """Another's card: their session is not there, the one that is there stays locked."""
    pc = make(SimulatedSessions(["schmidt"]))
    assert await pc.refused("berger") == SENTENCES[AnswerCode.OTHER_USER][0]
    assert pc.is_locked("schmidt")
    empty = make(SimulatedSessions())
    assert await empty.refused("berger") == SENTENCES[AnswerCode.NO_SESSION][0]
    assert not pc.file.exists()


async def test_an_answer_without_a_user_unlocks_nobody(make):
    pc = make()
    assert await pc.refused(None) == SENTENCES[AnswerCode.SESSION_FAULT][0]
    assert pc.is_locked(None)


@pytest.mark.parametrize("unanswered", [False, True])
async def test_a_card_taken_away_while_its_session_is_unlocked_ends_locked(make, unanswered):
    """Locked at once, and again when the unlocking is over, which came last; the note outlives both."""
    sessions = SlowSessions("berger")
    sessions.unanswered = unanswered
    pc = make(sessions)
    pc.point.card_came()
    unlocking = asyncio.create_task(pc.point.act(decision()))
    await sessions.asked.wait()
    pc.point.card_left()
    await eventually(lambda: not pc.shared._locking)
    assert pc.file.exists(), "killed now, the next agent must find it"
    sessions.go_on.set()
    with pytest.raises(OutputFault):
        await unlocking
    await pc.until(locked=True)
    await eventually(lambda: not pc.file.exists())


async def test_a_card_that_left_before_the_answer_unlocks_nothing(make):
    """The centre's permit comes after the removal: the session was never touched."""
    pc = make()
    changes = []
    pc.sessions._observer = lambda user, locked: changes.append((user, locked))
    pc.point.card_came()
    pc.point.card_left()
    with pytest.raises(OutputFault, match="card_gone"):
        await pc.point.act(decision())
    await eventually(lambda: not pc.shared._locking)
    assert changes == []


async def test_two_cards_at_once_unlock_nothing(make):
    """Two readers at one PC: a permit for the card that left is not taken for the one that came."""
    pc = make()
    pc.point.card_came()
    pc.point.card_left()
    pc.point.card_came()
    with pytest.raises(OutputFault, match="two_cards"):
        await pc.point.act(decision())
    assert pc.is_locked(None)
    pc.point.show(Shown("amber", "refused"))
    await pc.tap()
    assert pc.is_locked("berger") is False
    pc.point.card_left()
    await pc.until(locked=True)


async def test_within_the_grace_time_the_same_card_keeps_it_open_and_another_does_not(make):
    """Grace is for the holder alone: another's card locks the session at once."""
    pc = make(grace_ms=60_000)
    await pc.tap()
    pc.point.card_left()
    await pc.tap()
    await eventually(lambda: not pc.shared._locking)
    assert not pc.is_locked("berger")
    pc.point.card_left()
    await pc.tap("schmidt")
    assert (pc.is_locked("berger"), pc.is_locked("schmidt")) == (True, False)
    pc.point.card_left()
    pc.point.close()
    await pc.shared.close()
    assert pc.is_locked(None), "an agent that stops does not leave open what waits for its grace time"


async def test_comings_and_goings_do_not_prolong_the_grace_time(make):
    """The first removal counts; foreign cards and readers that vanish change nothing."""
    pc = make(grace_ms=40)
    await pc.tap()
    pc.point.card_left()
    async with asyncio.timeout(LIMIT_S):
        while not pc.is_locked():
            pc.point.card_came()
            pc.point.show(Shown("red", "refused"))
            pc.point.card_left()
            await asyncio.sleep(0.005)


async def test_without_a_removal_policy_the_session_stays_open(make):
    """`none`: neither the removal nor a restart locks anything."""
    pc = make(removal="none")
    await pc.tap()
    pc.point.card_left()
    assert not pc.shared._locking
    assert not pc.file.exists()
    pc.restart()
    assert not pc.shared._locking
    assert pc.is_locked() is False


async def test_options_that_cannot_be_used_count_as_the_safest(make):
    pc = make(grace_ms=10**9)
    await pc.tap()
    pc.point.card_left()
    await pc.until(locked=True)
    assert pc.metrics.registry.get_sample_value("cardservice_agent_faults_total", {"what": "options"}) == 1


async def test_taking_any_card_away_locks_whatever_is_open(make):
    """The session was opened with a password, the centre is away, the tap came to nothing: the removal still locks."""
    pc = make()
    await pc.sessions.unlock("berger")
    pc.point.centre(connected=False)
    pc.point.card_came()
    pc.point.show(Shown("amber", "refused"))
    pc.point.card_left()
    await pc.until(locked=True)


async def test_an_agent_that_stops_leaves_the_session_of_a_card_that_is_there(make):
    pc = make()
    await pc.tap()
    pc.point.close()
    await pc.shared.close()
    assert pc.is_locked() is False


async def test_a_session_that_does_not_lock_is_reported_and_everything_is_locked(make):
    """Told, counted, tried a few times and then left to an administrator; the note stays for the next start."""
    pc = make(lock_confirm_ms=100)
    await pc.tap()
    pc.sessions.stick()
    pc.point.card_left()
    await eventually(lambda: pc.door.shows[-1].text == SENTENCES[AnswerCode.NOT_LOCKED])
    await eventually(lambda: not pc.shared._locking)
    name, labels = "cardservice_agent_faults_total", {"what": "session_not_locked"}
    assert pc.metrics.registry.get_sample_value(name, labels) == QUICK.attempts
    pc.sessions.repair()
    pc.restart()
    await pc.until(locked=True)


async def test_locking_goes_on_until_the_bus_is_back(make):
    pc = make()
    await pc.tap()
    pc.sessions.break_down("no bus")
    pc.point.card_left()
    await eventually(
        lambda: (
            pc.metrics.registry.get_sample_value("cardservice_agent_faults_total", {"what": "session_not_locked"}) == 5
        )
    )
    pc.sessions.repair()
    await pc.until(locked=True)


async def test_an_unlock_that_fails_is_locked_as_soon_as_it_can_be(make):
    """Perhaps it happened: the card is there, but nobody knows."""
    pc = make()
    pc.sessions.break_down("no bus")
    assert await pc.refused() == SENTENCES[AnswerCode.SESSION_FAULT][0]
    assert pc.file.exists()
    pc.sessions.repair()
    await eventually(lambda: not pc.file.exists())
    assert pc.is_locked()


async def test_what_cannot_be_noted_is_not_unlocked(make):
    pc = make()
    pc.file.with_name("unlocked.json.new").mkdir()
    with pytest.raises(OutputFault, match="cannot be written"):
        await pc.tap()
    assert pc.is_locked()


async def test_a_killed_agents_session_is_locked_at_the_next_start(make):
    """No card comes: locked when the time for its proof is over."""
    pc = make()
    await pc.tap()
    pc.restart()
    await pc.until(locked=True)
    await eventually(lambda: not pc.file.exists())


async def test_a_killed_agents_session_stays_open_for_its_own_card(make):
    """The card still lies there and is taken as a tap: the holder sees nothing of the restart."""
    pc = make()
    changes = []
    pc.sessions._observer = lambda user, locked: changes.append((user, locked))
    await pc.tap()
    pc.restart()
    await pc.tap()
    await eventually(lambda: not pc.shared._locking)
    assert changes == [("berger", False)]
    pc.point.card_left()
    await pc.until(locked=True)


async def test_a_killed_agents_session_is_locked_when_another_card_comes(make):
    """The card was changed while nobody looked."""
    pc = make()
    await pc.tap()
    pc.restart()
    await pc.tap("schmidt")
    assert (pc.is_locked("berger"), pc.is_locked("schmidt")) == (True, False)
    pc.point.card_left()
    await pc.until(locked=True, user=None)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"salt": "zz", "open": {}}', '{"salt": "00", "open": 7}', "[" * 10_000]
)
async def test_a_note_that_cannot_be_read_locks(make, tmp_path, content):
    """Something may be open, and nobody knows whose: not even the card that comes first keeps it so."""
    (tmp_path / "unlocked.json").write_text(content)
    sessions = SimulatedSessions(["berger", "schmidt"])
    await sessions.unlock("schmidt")
    pc = make(sessions)
    await pc.tap()
    assert (pc.is_locked("berger"), pc.is_locked("schmidt")) == (False, True)
    pc.point.card_left()
    await pc.until(locked=True)


async def test_a_note_of_an_older_start_still_locks(make):
    """Killed twice: what the first one noted is not lost by the second."""
    pc = make()
    await pc.tap()
    pc.restart()
    notes = UnlockedNotes(pc.file)
    notes.note("pc-2", "schmidt")
    assert len(json.loads(pc.file.read_text())["open"]) == 2
    pc.restart()
    await pc.until(locked=True)


@pytest.mark.parametrize("takes_it_away", [False, True])
async def test_killed_between_any_two_steps_it_is_locked_once_the_agent_is_back(make, takes_it_away):
    """Every step of a tap and its removal in turn: whatever was done and not yet noted, the next start locks."""
    survived = False
    for at in range(1, 30):
        freezing = FreezingSessions(at)
        pc = make(freezing)
        tap = asyncio.create_task(pc.tap())
        frozen = asyncio.create_task(freezing.frozen.wait())
        await asyncio.wait([tap, frozen], return_when=asyncio.FIRST_COMPLETED)
        if takes_it_away or tap.done():
            pc.point.card_left()
            await eventually(lambda pc=pc, frozen=frozen: frozen.done() or not pc.file.exists())
        survived = not frozen.done()
        frozen.cancel()
        later = SimulatedSessions(["berger"])
        later._locked = freezing._locked
        pc.sessions, killed = later, pc.shared
        pc.shared = pc.new_agent()
        pc.point = pc.shared.point(pc.setup, pc.door)
        await pc.until(locked=True)
        await eventually(lambda pc=pc: not pc.file.exists() and not pc.shared._locking)
        assert pc.is_locked()
        await pc.shared.close()
        for task in (tap, *killed._locking):
            task.cancel()
        await asyncio.gather(tap, return_exceptions=True)
        pc.file.unlink(missing_ok=True)
        if survived:
            break
    assert survived
    assert at > 4


async def test_a_session_ends_with_the_card_that_unlocked_it_wherever_the_card_is(make):
    """A card that no longer counts is as good as gone, though it still lies there; anybody else's changes nothing."""
    pc = make()
    await pc.tap()
    pc.point.people_ended(lambda login: login == "krueger")
    await asyncio.sleep(0.05)
    assert not pc.is_locked()
    pc.point.people_ended(lambda login: login == "berger")
    await pc.until(locked=True)
    # The card lies there unlooked at; it is taken away and comes again, permitted.
    pc.point.card_left()
    await pc.tap()
    assert not pc.is_locked()


async def test_a_session_that_is_just_being_unlocked_ends_too(make):
    """Its card was reported lost between the decision and the unlocking."""
    sessions = SlowSessions("berger")
    pc = make(sessions)
    pc.point.card_came()
    acting = asyncio.create_task(pc.point.act(decision("berger")))
    await sessions.asked.wait()
    pc.point.people_ended(lambda login: login == "berger")
    sessions.go_on.set()
    with pytest.raises(OutputFault):
        await acting
    await pc.until(locked=True)


async def test_nothing_is_unlocked_from_the_desk(make):
    """A command without a card is refused."""
    with pytest.raises(OutputFault, match="card"):
        make().point.command(PointCommand(id="00", point="pc-1", action="open_once", by_ms=1))
