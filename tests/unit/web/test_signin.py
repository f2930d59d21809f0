# SPDX-License-Identifier: EUPL-1.2
"""Signing in: guessing is slow however it is tried, and a directory that hangs holds up nobody else."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from fastapi.security import HTTPBasicCredentials
from service.fake_clock import FakeClock

from cardservice.errors import DatabaseUnavailable, Overloaded
from cardservice.web import signin
from cardservice.web.problems import ApiProblem
from cardservice.web.signin import ATTEMPTS, ATTEMPTS_WITHIN_S, MAX_ASKING, REMEMBER_S, CheckPassword, SignIn

PERSON = 7
RIGHT = "right"


class Check:
    """Stands for the directory: one password is right, and `says` may be anything else for once."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.says: Callable[[], int | None] | None = None

    def __call__(self, name: str, password: str) -> int | None:
        self.asked.append((name, password))
        if self.says is not None:
            return self.says()
        return PERSON if password == RIGHT else None


@pytest.fixture
def check() -> Check:
    return Check()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def made() -> Iterator[list[SignIn]]:
    found: list[SignIn] = []
    yield found
    for one in found:
        one.close()


@pytest.fixture
def make(made: list[SignIn], clock: FakeClock) -> Callable[[CheckPassword], SignIn]:
    def build(check: CheckPassword) -> SignIn:
        made.append(SignIn(check, clock))
        return made[-1]

    return build


@pytest.fixture
def sign_in(make, check: Check) -> SignIn:
    return make(check)


async def status(sign_in: SignIn, name: str = "anna", password: str = RIGHT) -> int:
    """What the page answers: 200, or the problem's status."""
    try:
        assert await sign_in(HTTPBasicCredentials(username=name, password=password)) == PERSON
    except ApiProblem as problem:
        return problem.status
    return 200


async def test_guesses_at_the_same_time_are_no_more_than_guesses_in_turn(sign_in, check):
    """Twenty at once: the directory is asked five times, the others wait a minute."""
    answers = await asyncio.gather(*(status(sign_in, password=f"guess {number}") for number in range(20)))
    assert sorted(answers) == [401] * ATTEMPTS + [429] * (20 - ATTEMPTS)
    assert len(check.asked) == ATTEMPTS
    assert await status(sign_in) == 429
    assert await status(sign_in, "bert") == 200


async def test_a_minute_later_the_name_may_try_again(sign_in, check, clock):
    for number in range(ATTEMPTS):
        assert await status(sign_in, password=f"guess {number}") == 401
    clock.pass_ms(ATTEMPTS_WITHIN_S * 1_000 - 1)
    assert await status(sign_in) == 429
    clock.pass_ms(1)
    assert await status(sign_in) == 200
    assert len(check.asked) == ATTEMPTS + 1


async def test_what_was_no_wrong_guess_is_not_counted(sign_in, check):
    """Right, or nobody could say: however often, the name never has to wait for it."""

    def fail() -> None:
        raise trouble

    check.says = fail
    trouble: Exception = OSError("away")
    for _ in range(ATTEMPTS + 1):
        assert await status(sign_in) == 503
    trouble = DatabaseUnavailable("locked")
    for _ in range(ATTEMPTS + 1):
        with pytest.raises(DatabaseUnavailable):
            await status(sign_in)
    check.says = lambda: PERSON
    for number in range(ATTEMPTS + 1):
        assert await status(sign_in, password=f"right {number}") == 200
    assert sign_in._attempts == {}


async def test_a_right_password_does_not_wipe_out_wrong_guesses(sign_in):
    """Whoever guesses beside its owner has no more attempts for it."""
    for number in range(ATTEMPTS - 1):
        assert await status(sign_in, password=f"guess {number}") == 401
    assert await status(sign_in) == 200
    assert await status(sign_in, password="another guess") == 401
    assert await status(sign_in, password="one more") == 429


async def test_names_that_are_nobodys_push_out_the_oldest_alone(sign_in, monkeypatch):
    """A flood of names does not give the name under attack its attempts back."""
    monkeypatch.setattr(signin, "MAX_COUNTED", 20)
    assert await status(sign_in, "oldest", "guess") == 401
    for number in range(19):
        assert await status(sign_in, f"nobody {number}", "guess") == 401
    for number in range(ATTEMPTS):
        assert await status(sign_in, password=f"guess {number}") == 401
    assert await status(sign_in) == 429
    assert len(sign_in._attempts) == 20
    assert "oldest" not in sign_in._attempts


async def test_the_directory_is_asked_once_in_five_minutes(sign_in, check, clock):
    """Right ones only: a wrong one is asked about each time, and the memory has an end and a limit."""
    assert await status(sign_in) == 200
    clock.pass_ms(REMEMBER_S * 1_000 - 1)
    assert await status(sign_in) == 200
    assert len(check.asked) == 1
    assert await status(sign_in, password="guess") == 401
    clock.pass_ms(1)
    check.says = lambda: None
    assert await status(sign_in) == 401
    assert len(check.asked) == 3


async def test_what_is_remembered_is_bounded_and_no_password(sign_in, check, monkeypatch):
    monkeypatch.setattr(signin, "MAX_REMEMBERED", 3)
    check.says = lambda: PERSON
    for number in range(5):
        assert await status(sign_in, f"name {number}") == 200
    assert len(sign_in._remembered) == 3
    assert all(RIGHT.encode() not in digest for digest in sign_in._remembered)
    assert await status(sign_in, "name 4") == 200
    assert len(check.asked) == 5


async def test_without_a_name_nobody_is_asked_about(sign_in, check):
    for credentials in (None, HTTPBasicCredentials(username="", password=RIGHT)):
        with pytest.raises(ApiProblem) as refused:
            await sign_in(credentials)
        assert (refused.value.status, refused.value.code) == (401, "not_signed_in")
    assert check.asked == []


async def test_a_hanging_directory_holds_up_sign_ins_alone(make):
    """With every thread of it taken, the service's other threads answer; past the bound nobody waits any more."""
    let_go = threading.Event()
    hanging = make(lambda _name, _password: PERSON if let_go.wait(10) else None)
    waiting = [asyncio.create_task(status(hanging, f"name {number}")) for number in range(MAX_ASKING)]
    try:
        await asyncio.sleep(0)
        assert hanging._asking == MAX_ASKING
        async with asyncio.timeout(2):
            assert await asyncio.to_thread(lambda: "at once") == "at once"
            with pytest.raises(Overloaded):
                await status(hanging, "one more")
        assert not any(task.done() for task in waiting)
    finally:
        let_go.set()
    assert await asyncio.gather(*waiting) == [200] * MAX_ASKING
    assert await status(hanging, "one more") == 200
