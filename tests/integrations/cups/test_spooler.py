# SPDX-License-Identifier: EUPL-1.2
"""The spooler on the real cupsd, with real printers' programs at the other end."""

import asyncio
import time
from pathlib import Path

import pytest
from support.cups import texts, wait_for_texts, write_pdf
from support.waiting import wait_until

from cardservice.printing.ports import JobGone, PrinterRefuses, SpoolerDown
from integrations.cups import POLICIES, CupsSettings, CupsSpooler
from rig.cups import Cups

pytestmark = pytest.mark.cups
ANNA, BERND, CLARA = Cups.users[:3]


def send(cups: Cups, tmp_path: Path, user: str, text: str, *options: str) -> int:
    return cups.submit(user, write_pdf(tmp_path / "document.pdf", text), *options, title=f"Titel {text}")


def delete(cups: Cups, user: str, job: int) -> None:
    cups.run_as(user, "cancel", f"followme-{job}")


async def test_what_waits_is_listed_for_its_owner_alone(cups, spooler, tmp_path):
    """Number, title, owner and age; foreign documents do not exist."""
    began_s = time.time()
    first, _, second = (send(cups, tmp_path, user, text) for user, text in ((ANNA, "a1"), (BERND, "b1"), (ANNA, "a2")))
    held = await spooler.held(ANNA)
    assert [job.number for job in held] == [first, second]
    assert [job.title for job in held] == ["Titel a1", "Titel a2"]
    assert {job.owner for job in held} == {ANNA}
    assert all(began_s - 2 <= job.since_ms / 1_000 <= time.time() for job in held)
    assert "Titel" not in repr(held)
    assert ANNA not in repr(held)
    assert await spooler.held(CLARA) == ()
    assert await spooler.held("") == ()


async def test_a_release_prints_one_document_at_one_printer_once(cups, spooler, tmp_path):
    """Nothing is at any printer before; repeating the release changes nothing; the others wait on."""
    job = send(cups, tmp_path, ANNA, "a1")
    other = send(cups, tmp_path, ANNA, "a2")
    send(cups, tmp_path, BERND, "b1")
    assert texts(cups.printers["mfp1"]) == texts(cups.printers["mfp2"]) == []
    for _ in range(3):
        await spooler.release(job, ANNA, "mfp2")
    wait_for_texts(cups.printers["mfp2"], ["a1"])
    await spooler.release(job, ANNA, "mfp2")
    with pytest.raises(JobGone):
        await spooler.release(job, ANNA, "mfp1")
    # What is printed later comes after whatever a repetition would have printed.
    await spooler.release(other, ANNA, "mfp2")
    wait_for_texts(cups.printers["mfp2"], ["a1", "a2"])
    assert texts(cups.printers["mfp1"]) == []
    assert len(await spooler.held(BERND)) == 1


async def test_nobody_releases_what_is_not_theirs(cups, spooler, tmp_path):
    """To everybody else, and to nobody, the job is not there."""
    job = send(cups, tmp_path, ANNA, "a1")
    for stranger in (BERND, ""):
        with pytest.raises(JobGone):
            await spooler.release(job, stranger, "mfp1")
    assert [held.number for held in await spooler.held(ANNA)] == [job]


async def test_a_deleted_job_is_gone_with_its_document(cups, spooler, tmp_path):
    """What its owner deletes at their PC is not released any more."""
    job = send(cups, tmp_path, ANNA, "a1")
    assert list((cups.directory / "spool").glob("d*"))
    delete(cups, ANNA, job)
    assert await spooler.held(ANNA) == ()
    wait_until(lambda: not list((cups.directory / "spool").glob("d*")))
    with pytest.raises(JobGone):
        await spooler.release(job, ANNA, "mfp1")
    with pytest.raises(JobGone):
        await spooler.release(4_711, ANNA, "mfp1")


async def test_a_printer_that_does_not_exist_keeps_the_job_waiting(cups, spooler, tmp_path):
    """The job is back in hold, so that it is deleted in time; a name that is no name never reaches cupsd."""
    job = send(cups, tmp_path, ANNA, "a1")
    for name in ("mfp9", "mfp1/../followme", "mfp1?x", ""):
        with pytest.raises(PrinterRefuses):
            await spooler.release(job, ANNA, name)
        with pytest.raises(PrinterRefuses):
            await spooler.printer(name)
    assert await spooler.hold_strays() == 0
    assert len(await spooler.held(ANNA)) == 1


async def test_a_printer_says_what_keeps_it_from_printing(cups, spooler):
    """Ready; stopped by an administrator; switched off, which CUPS itself does not notice; and ready again."""
    printer = cups.printers["mfp1"]
    state = await spooler.printer("mfp1")
    assert (state.name, state.condition, state.accepting) == ("mfp1", "idle", True)
    cups.disable("mfp1")
    assert (await spooler.printer("mfp1")).condition == "stopped"
    cups.enable("mfp1")
    assert (await spooler.printer("mfp1")).condition == "idle"
    printer.stop()
    state = await spooler.printer("mfp1")
    assert (state.condition, state.accepting, state.reasons) == ("stopped", False, ("offline-error",))
    printer.start()
    assert (await spooler.printer("mfp1")).condition == "idle"


async def test_a_killed_spooler_is_down_and_comes_back_with_everything(cups, spooler, tmp_path):
    """No answer is one error; after the restart the same object works, and what waited waits."""
    job = send(cups, tmp_path, ANNA, "a1")
    assert len(await spooler.held(ANNA)) == 1
    cups.kill_cupsd()
    with pytest.raises(SpoolerDown):
        await spooler.held(ANNA)
    cups.start_cupsd()
    assert [held.number for held in await spooler.held(ANNA)] == [job]
    await spooler.release(job, ANNA, "mfp1")
    wait_for_texts(cups.printers["mfp1"], ["a1"])
    cups.kill_cupsd()
    cups.start_cupsd()
    assert await spooler.held(ANNA) == ()


async def test_a_spooler_that_hangs_is_given_up_in_time(cups, tmp_path):
    """Every call has a limit, and a late answer is not taken for that of the next request."""
    send(cups, tmp_path, ANNA, "a1")
    spooler = CupsSpooler(CupsSettings(socket=cups.socket, limit_s=0.2))
    assert len(await spooler.held(ANNA)) == 1
    cups.pause_cupsd()
    began_s = time.monotonic()
    calls = [spooler.printer("mfp1"), spooler.release(4_711, ANNA, "mfp1"), *(spooler.held(ANNA) for _ in range(50))]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in found} == {SpoolerDown}
    assert time.monotonic() - began_s < 5.0
    cups.resume_cupsd()
    assert await spooler.held(BERND) == ()
    assert len(await spooler.held(ANNA)) == 1
    await spooler.close()


async def test_many_calls_at_once_share_the_connection(cups, spooler, tmp_path):
    """Answers go to whom they belong."""
    for user in (ANNA, BERND):
        send(cups, tmp_path, user, user)
    users = [ANNA, BERND, CLARA] * 10
    found = await asyncio.gather(*(spooler.held(user) for user in users))
    assert [[job.owner for job in held] for held in found] == [[user] if user != CLARA else [] for user in users]


async def test_a_document_sent_without_hold_waits_all_the_same(cups, spooler, tmp_path):
    """The sender's own job-hold-until changes nothing: not printed, listed, released; held when strays are."""
    first = send(cups, tmp_path, ANNA, "a1", "-o", "job-hold-until=no-hold")
    second = send(cups, tmp_path, ANNA, "a2", "-H", "immediate")
    send(cups, tmp_path, ANNA, "a3")
    assert await spooler.hold_strays() == 2
    assert await spooler.hold_strays() == 0
    assert [job.number for job in await spooler.held(ANNA)][:2] == [first, second]
    await spooler.release(first, ANNA, "mfp1")
    wait_for_texts(cups.printers["mfp1"], ["a1"])
    assert texts(cups.printers["mfp2"]) == []


async def test_what_nobody_fetches_is_deleted_with_its_document(tmp_path):
    """After `MaxHoldTime` (here three seconds), also what was sent without a hold and held since."""
    cups = Cups(POLICIES)
    settings = cups.directory / "etc" / "cupsd.conf"
    settings.write_text(settings.read_text().replace("MaxHoldTime 86400", "MaxHoldTime 3"))
    with cups:
        spooler = CupsSpooler(CupsSettings(socket=cups.socket))
        jobs = [send(cups, tmp_path, ANNA, "a1"), send(cups, tmp_path, ANNA, "a2", "-o", "job-hold-until=no-hold")]
        assert await spooler.hold_strays() == 1
        assert [job.number for job in await spooler.held(ANNA)] == jobs
        files = [cups.directory / "spool" / f"d{job:05}-001" for job in jobs]
        assert all(file.exists() for file in files)

        def are_gone() -> bool:
            # cupsd looks every ten seconds, and whenever a job comes.
            send(cups, tmp_path, BERND, "b")
            return not any(file.exists() for file in files)

        wait_until(are_gone, every_s=0.3)
        assert await spooler.held(ANNA) == ()
        await spooler.close()


async def test_what_became_of_a_release_is_found_out(cups, spooler, tmp_path):
    """Waiting, released or gone; a number that means another document by now is gone."""
    job, other, third = (send(cups, tmp_path, ANNA, text) for text in ("a1", "a2", "a3"))
    since_ms = {held.number: held.since_ms for held in await spooler.held(ANNA)}
    assert await spooler.settle(job, since_ms[job], "mfp1") == "waiting"
    await spooler.release(job, ANNA, "mfp1")
    assert await spooler.settle(job, since_ms[job], "mfp1") == "released"
    assert await spooler.settle(job, since_ms[job], "mfp2") == "gone"
    delete(cups, ANNA, other)
    assert await spooler.settle(other, since_ms[other], "mfp1") == "gone"
    assert await spooler.settle(third, since_ms[third] - 1_000, "mfp1") == "gone"
    assert await spooler.settle(4_711, 0, "mfp1") == "gone"


async def test_a_service_that_is_not_who_it_says_is_refused(cups):
    """The kernel's word for who is connected counts; the error says what an administrator has to do."""
    spooler = CupsSpooler(CupsSettings(socket=cups.socket, user=ANNA))
    with pytest.raises(SpoolerDown, match="SystemGroup"):
        await spooler.held(ANNA)
    await spooler.close()


async def test_a_missing_queue_is_named(cups):
    spooler = CupsSpooler(CupsSettings(socket=cups.socket, queue="absent"))
    with pytest.raises(SpoolerDown, match="'absent'"):
        await spooler.held(ANNA)
    await spooler.close()


def test_a_queue_with_an_impossible_name_is_refused():
    with pytest.raises(ValueError, match="no name of a CUPS queue"):
        CupsSpooler(CupsSettings(queue="a/b"))
