# SPDX-License-Identifier: EUPL-1.2
"""The shipped policy file, attacked line by line over the socket everybody on the machine can open.

Anna's document waits; Bernd, and somebody without any proof, try what the protocol offers. The last test takes the
lines away and sees the same attacks succeed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cups import (
    BOOLEAN,
    INTEGER,
    KEYWORD,
    MIME,
    NAME,
    URI,
    Stranger,
    job_number,
    texts,
    wait_for_texts,
    was_done,
    write_pdf,
)

from integrations.cups import POLICIES, CupsSettings, CupsSpooler
from rig.cups import Cups
from rig.errors import CupsFailedError

pytestmark = pytest.mark.cups
ANNA, BERND = Cups.users[:2]
TITLE = "Kündigung"

PRINT_JOB, PRINT_URI, VALIDATE_JOB, CREATE_JOB, SEND_DOCUMENT, SEND_URI = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
CANCEL_JOB, GET_JOB_ATTRIBUTES, GET_JOBS, GET_PRINTER_ATTRIBUTES = 0x08, 0x09, 0x0A, 0x0B
HOLD_JOB, RELEASE_JOB, RESTART_JOB, PAUSE_PRINTER, RESUME_PRINTER, PURGE_JOBS = 0x0C, 0x0D, 0x0E, 0x10, 0x11, 0x12
SET_JOB_ATTRIBUTES, CREATE_PRINTER_SUBSCRIPTIONS, CREATE_JOB_SUBSCRIPTIONS = 0x14, 0x16, 0x17
CANCEL_JOBS, CANCEL_MY_JOBS, CLOSE_JOB = 0x38, 0x39, 0x3B
ADD_MODIFY_PRINTER, DELETE_PRINTER, ACCEPT_JOBS, REJECT_JOBS, SET_DEFAULT = 0x4003, 0x4004, 0x4008, 0x4009, 0x400A
MOVE_JOB, AUTHENTICATE_JOB, GET_DOCUMENT = 0x400D, 0x400E, 0x4027

TARGET = (URI, "job-printer-uri", "ipp://localhost/printers/mfp1")
NO_HOLD = (KEYWORD, "job-hold-until", "no-hold")
# What may be tried on somebody's waiting job, each with what else it needs.
ON_A_JOB = {
    "Cancel-Job": (CANCEL_JOB, (), ()),
    "Get-Job-Attributes": (GET_JOB_ATTRIBUTES, (), ()),
    "Hold-Job": (HOLD_JOB, (), ()),
    "Release-Job": (RELEASE_JOB, (), ()),
    "Restart-Job": (RESTART_JOB, (), ()),
    "Set-Job-Attributes": (SET_JOB_ATTRIBUTES, (), (NO_HOLD,)),
    "Close-Job": (CLOSE_JOB, (), ()),
    "CUPS-Move-Job": (MOVE_JOB, (), (TARGET,)),
    "CUPS-Authenticate-Job": (AUTHENTICATE_JOB, (), ()),
    "CUPS-Get-Document": (GET_DOCUMENT, ((INTEGER, "document-number", 1),), ()),
    "Send-Document": (SEND_DOCUMENT, ((MIME, "document-format", "text/plain"), (BOOLEAN, "last-document", True)), ()),
    "Send-URI": (SEND_URI, ((URI, "document-uri", "file:///etc/passwd"), (BOOLEAN, "last-document", True)), ()),
    "Create-Job-Subscriptions": (CREATE_JOB_SUBSCRIPTIONS, (), ()),
}
OWNERS_RIGHTS = {"Cancel-Job", "Get-Job-Attributes", "Close-Job", "CUPS-Get-Document", "Send-Document"}
# What may be tried on a queue or on cupsd.
ON_A_QUEUE = {
    "Get-Jobs": GET_JOBS,
    "Pause-Printer": PAUSE_PRINTER,
    "Resume-Printer": RESUME_PRINTER,
    "Purge-Jobs": PURGE_JOBS,
    "Cancel-Jobs": CANCEL_JOBS,
    "Cancel-My-Jobs": CANCEL_MY_JOBS,
    "Create-Printer-Subscriptions": CREATE_PRINTER_SUBSCRIPTIONS,
    "CUPS-Add-Modify-Printer": ADD_MODIFY_PRINTER,
    "CUPS-Delete-Printer": DELETE_PRINTER,
    "CUPS-Accept-Jobs": ACCEPT_JOBS,
    "CUPS-Reject-Jobs": REJECT_JOBS,
    "CUPS-Set-Default": SET_DEFAULT,
}


@pytest.fixture(scope="module")
def cups() -> Iterator[Cups]:
    with Cups(POLICIES) as started:
        yield started


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return write_pdf(tmp_path / "document.pdf", "secret")


@pytest.fixture
def waiting(cups: Cups, document: Path) -> int:
    return cups.submit(ANNA, document, title=TITLE)


def claims(user: str) -> tuple[int, str, str]:
    return (NAME, "requesting-user-name", user)


def on_job(stranger: Stranger, job: int, name: str, *, says: str) -> tuple[int, bytes]:
    operation, more, of_job = ON_A_JOB[name]
    return stranger.ask(operation, (INTEGER, "job-id", job), claims(says), *more, job_group=of_job)


async def waits(cups: Cups, owner: str) -> list[int]:
    spooler = CupsSpooler(CupsSettings(socket=cups.socket))
    held = await spooler.held(owner)
    await spooler.close()
    return [job.number for job in held]


async def nothing_has_changed(cups: Cups, job: int) -> None:
    assert job in await waits(cups, ANNA)
    assert all(texts(printer) == [] for printer in cups.printers.values())


@pytest.mark.parametrize("name", ON_A_JOB)
@pytest.mark.parametrize("who", [BERND, None])
async def test_a_foreign_job_is_untouchable(cups, waiting, name, who):
    """Proven to be somebody else, or unproven, whatever name is claimed in the request."""
    with Stranger(cups.socket, who) as stranger:
        status, answer = on_job(stranger, waiting, name, says=ANNA)
    assert not was_done(status)
    assert TITLE.encode() not in answer
    assert b"%PDF" not in answer
    await nothing_has_changed(cups, waiting)


@pytest.mark.parametrize("name", sorted(set(ON_A_JOB) - OWNERS_RIGHTS))
async def test_the_owner_cannot_free_a_job_past_the_card(cups, waiting, name):
    """Not from hold, not to a printer, not by changing it."""
    with Stranger(cups.socket, ANNA) as owner:
        status, _ = on_job(owner, waiting, name, says=ANNA)
    assert not was_done(status)
    await nothing_has_changed(cups, waiting)


async def test_the_owner_may_look_fetch_and_delete(cups, waiting):
    """What is theirs stays theirs: the print dialog of a PC works."""
    with Stranger(cups.socket, ANNA) as owner:
        status, answer = on_job(owner, waiting, "Get-Job-Attributes", says=ANNA)
        assert was_done(status)
        assert TITLE.encode() in answer
        status, answer = on_job(owner, waiting, "CUPS-Get-Document", says=ANNA)
        assert was_done(status)
        assert b"%PDF" in answer
        status, _ = on_job(owner, waiting, "Cancel-Job", says=ANNA)
        assert was_done(status)
    assert waiting not in await waits(cups, ANNA)


@pytest.mark.parametrize("name", ON_A_QUEUE)
@pytest.mark.parametrize("queue", ["followme", "mfp1"])
async def test_queues_are_the_administrators(cups, waiting, name, queue):
    """Nobody else lists, stops, starts, empties, watches or changes them; not even the number of jobs is told."""
    for who in (BERND, None):
        with Stranger(cups.socket, who) as stranger:
            status, answer = stranger.ask(ON_A_QUEUE[name], claims("root"), queue=queue)
        assert not was_done(status)
        assert b"job-id" not in answer
    await nothing_has_changed(cups, waiting)


@pytest.mark.parametrize("operation", [CREATE_JOB, PRINT_JOB, VALIDATE_JOB])
def test_without_proof_nobody_prints(cups, operation):
    with Stranger(cups.socket, None) as stranger:
        status, _ = stranger.ask(operation, claims(ANNA), document=b"text" if operation == PRINT_JOB else b"")
    assert status == 401


def test_nobody_prints_under_a_proof_that_is_not_theirs(cups):
    with Stranger(cups.socket, BERND, says=ANNA) as stranger:
        assert stranger.ask(CREATE_JOB, claims(ANNA))[0] == 401


async def test_the_owner_is_who_was_proven_not_who_was_claimed(cups):
    """Bernd says in the request that he is Anna: the job is his."""
    before = await waits(cups, ANNA)
    with Stranger(cups.socket, BERND) as stranger:
        status, answer = stranger.ask(PRINT_JOB, claims(ANNA), (NAME, "job-name", "x"), document=b"text\n")
    assert was_done(status)
    assert await waits(cups, ANNA) == before
    assert job_number(answer) in await waits(cups, BERND)


@pytest.mark.parametrize("operation", [PRINT_URI, SEND_URI])
def test_cupsd_fetches_no_address_for_anybody(cups, operation):
    """Neither for the proven nor for the unproven."""
    address = (URI, "document-uri", "file:///etc/passwd")
    for who in (ANNA, None):
        with Stranger(cups.socket, who) as stranger:
            assert not was_done(stranger.ask(operation, claims(ANNA), address)[0])


@pytest.mark.parametrize("who", [ANNA, None])
@pytest.mark.parametrize("operation", [CREATE_JOB, PRINT_JOB, VALIDATE_JOB, PRINT_URI])
def test_a_printers_queue_takes_jobs_from_the_service_alone(cups, who, operation):
    """Nobody prints past the card by naming the printer."""
    with Stranger(cups.socket, who) as stranger:
        assert not was_done(stranger.ask(operation, claims(ANNA), queue="mfp1", document=b"text\n")[0])


def test_lp_cannot_print_past_the_card_either(cups, document):
    with pytest.raises(CupsFailedError):
        cups.submit(ANNA, document, queue="mfp1")
    assert texts(cups.printers["mfp1"]) == []


@pytest.mark.parametrize("hold", ["no-hold", "day-time", "weekend", "00:00:00"])
async def test_a_hold_of_the_senders_own_does_not_print(cups, document, hold):
    """The queue is stopped: with or without a hold the only way out of it is the service's."""
    job = cups.submit(ANNA, document, "-o", f"job-hold-until={hold}")
    await nothing_has_changed(cups, job)


async def test_open_is_only_what_a_print_dialog_needs(cups):
    """Everybody sees the queue and what the printer can do."""
    with Stranger(cups.socket, None) as stranger:
        status, answer = stranger.ask(GET_PRINTER_ATTRIBUTES)
    assert was_done(status)
    assert b"media-supported" in answer


def loosened(tmp_path: Path, *, private: bool) -> Path:
    """The shipped file with every `Require` open to any proven user, with or without what hides foreign jobs."""
    text = re.sub(r"Require user .*", "Require valid-user", POLICIES.read_text())
    if not private:
        text = re.sub(r"(JobPrivate\w+) .*", lambda line: f"{line[1]} {'all' if 'Access' in line[1] else 'none'}", text)
    file = tmp_path / "loosened.conf"
    file.write_text(text)
    return file


@pytest.mark.parametrize("private", [True, False])
def test_titles_stay_hidden_where_an_administrator_opens_the_list(tmp_path, document, private):
    """The second line behind Get-Jobs; without it the title is there, so the look is a real one."""
    with Cups(loosened(tmp_path, private=private), printers=["mfp1"]) as cups:
        cups.submit(ANNA, document, title=TITLE)
        with Stranger(cups.socket, BERND) as stranger:
            everything = (KEYWORD, "requested-attributes", "all")
            status, answer = stranger.ask(GET_JOBS, claims(BERND), everything)
    assert was_done(status)
    assert (TITLE.encode() in answer) is not private


def test_without_the_lines_the_attacks_succeed(tmp_path, document):
    """The same requests, with `Require` open: Bernd reads Anna's document, frees it and prints past the card."""
    with Cups(loosened(tmp_path, private=True), printers=["mfp1"]) as cups:
        job = cups.submit(ANNA, document, title=TITLE)
        with Stranger(cups.socket, BERND) as stranger:
            status, answer = on_job(stranger, job, "CUPS-Get-Document", says=ANNA)
            assert was_done(status)
            assert b"%PDF" in answer
            assert was_done(on_job(stranger, job, "Release-Job", says=ANNA)[0])
            assert was_done(on_job(stranger, job, "CUPS-Move-Job", says=ANNA)[0])
            assert was_done(stranger.ask(PRINT_JOB, claims(ANNA), queue="mfp1", document=document.read_bytes())[0])
        wait_for_texts(cups.printers["mfp1"], ["secret", "secret"])
