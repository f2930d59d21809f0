# SPDX-License-Identifier: EUPL-1.2
"""Checking passwords: guessing is slow however it is tried, and a directory that hangs holds up nobody else."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from service.fake_clock import FakeClock

from cardservice.errors import DatabaseUnavailable, Overloaded
from cardservice.web import login_limits
from cardservice.web.login_limits import LoginLimits
from cardservice.web.problems import ApiProblem
from cardservice.web.signin import MAX_ASKING, Checked, CheckPassword, Credentials, SignIn, TooManyAttempts

PERSON = 7
RIGHT = "right"
LIMITS = LoginLimits(per_name=3, per_name_known_device=2, per_address=10, within_s=600)


class Check:
    """Stands for the directory: one password is right, and `says` may be anything else for once."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.says: Callable[[], Checked] | None = None

    def __call__(self, name: str, password: str) -> Checked:
        self.asked.append((name, password))
        if self.says is not None:
            return self.says()
        return Checked(PERSON, fits=password == RIGHT)


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
        made.append(SignIn(check, clock, LIMITS))
        return made[-1]

    return build


@pytest.fixture
def sign_in(make, check: Check) -> SignIn:
    return make(check)


async def status(
    sign_in: SignIn, name: str = "anna", password: str = "guess", address: str = "192.0.2.1", *, known: bool = False
) -> int:
    """What the page answers: 200, 403 for a wrong password, or the problem's status."""
    try:
        checked = await sign_in.check(Credentials(name, password, address, known_device=known))
    except ApiProblem as problem:
        return problem.status
    return 200 if checked.fits else 403


async def test_guesses_at_the_same_time_are_no_more_than_guesses_in_turn(sign_in, check):
    """Eight at once: the directory is asked three times, the others wait; another name does not."""
    answers = await asyncio.gather(*(status(sign_in) for _ in range(8)))
    assert sorted(answers) == [403] * 3 + [429] * 5
    assert len(check.asked) == 3
    assert await status(sign_in, password=RIGHT) == 429
    assert await status(sign_in, "bert", RIGHT) == 200


async def test_after_the_window_the_name_may_try_again(sign_in, clock):
    """It is said how long that is, to the second, and it is true."""
    for _ in range(3):
        assert await status(sign_in) == 403
        clock.pass_ms(1_000)
    with pytest.raises(TooManyAttempts) as refused:
        await sign_in.check(Credentials("anna", RIGHT, "192.0.2.1"))
    assert refused.value.wait_s == 597
    clock.pass_ms(597_000 - 1)
    assert await status(sign_in, password=RIGHT) == 429
    clock.pass_ms(1)
    assert await status(sign_in, password=RIGHT) == 200


async def test_who_uses_up_a_name_elsewhere_does_not_lock_out_its_own_device(sign_in, check):
    """There it has guesses of its own, from whatever address; all together stay below what locks the account."""
    for number in range(20):
        assert await status(sign_in, address=f"198.51.100.{number}") == (403 if number < 3 else 429)
    assert await status(sign_in, password=RIGHT, known=True) == 200
    for _ in range(10):
        await status(sign_in, known=True)
    assert len(check.asked) == 3 + 1 + 2
    assert await status(sign_in, password=RIGHT, known=True) == 429


async def test_a_known_device_may_use_up_what_strangers_left(sign_in, check):
    for _ in range(10):
        await status(sign_in, known=True)
    assert len(check.asked) == 2 + 3


async def test_one_address_does_not_try_a_password_on_everybody(sign_in, check):
    """Ten wrong ones for whatever names; another address goes on, and so does whoever signed in here before."""
    answers = [await status(sign_in, f"name {number}") for number in range(12)]
    assert answers == [403] * 10 + [429] * 2
    assert await status(sign_in, "anna", RIGHT) == 429
    assert await status(sign_in, "anna", RIGHT, "192.0.2.2") == 200
    assert await status(sign_in, "anna", RIGHT, known=True) == 200
    assert len(check.asked) == 12


@pytest.mark.parametrize(
    ("addresses", "clients"),
    [
        ([f"2001:db8::{number:x}" for number in range(20)], 1),
        ([f"2001:db8:{number:x}::1" for number in range(20)], 20),
        ([*["::ffff:192.0.2.1"] * 10, *["192.0.2.1"] * 10], 1),
        (["fe80::1%eth0"] * 20, 1),
        (["testclient"] * 20, 1),
    ],
    ids=["one network", "many networks", "IPv4 in IPv6", "link-local", "no address"],
)
async def test_a_client_is_no_more_than_one(sign_in, addresses, clients):
    """Whoever may choose among many addresses of IPv6 has no more guesses for it."""
    answers = [await status(sign_in, f"name {number}", address=one) for number, one in enumerate(addresses)]
    assert answers.count(403) == min(20, clients * 10)


async def test_what_was_no_wrong_guess_is_not_counted(sign_in, check):
    """Right, or nobody could say: however often, the name never has to wait for it."""

    def fail() -> Checked:
        raise trouble

    check.says = fail
    trouble: Exception = OSError("away")
    for _ in range(12):
        assert await status(sign_in) == 503
    trouble = DatabaseUnavailable("locked")
    for _ in range(12):
        with pytest.raises(DatabaseUnavailable):
            await status(sign_in)
    check.says = None
    for _ in range(12):
        assert await status(sign_in, password=RIGHT) == 200
        assert await status(sign_in, password=RIGHT, known=True) == 200
    guesses = sign_in._guesses
    assert guesses._names._attempts == guesses._known._attempts == guesses._addresses._attempts == {}


async def test_a_right_password_does_not_wipe_out_wrong_guesses(sign_in):
    """Whoever guesses beside its owner has no more attempts for it."""
    for _ in range(2):
        assert await status(sign_in) == 403
    assert await status(sign_in, password=RIGHT) == 200
    assert await status(sign_in) == 403
    assert await status(sign_in) == 429


async def test_names_that_are_nobodys_push_out_the_oldest_alone(sign_in, monkeypatch):
    """A flood of names does not give the name under attack its attempts back; no name is kept."""
    monkeypatch.setattr(login_limits, "MAX_COUNTED", 20)
    assert await status(sign_in, "oldest", address="oldest") == 403
    for number in range(18):
        assert await status(sign_in, f"nobody {number}", address=str(number)) == 403
    for number in range(3):
        assert await status(sign_in, address=f"{number} again") == 403
    assert await status(sign_in, address="another") == 429
    assert await status(sign_in, "one more", address="one more") == 403
    names = sign_in._guesses._names._attempts
    assert len(names) == 20
    assert {len(name) for name in names} == {32}
    assert [await status(sign_in, "oldest", address=f"o{number}") for number in range(4)] == [403] * 3 + [429]


async def test_a_hanging_directory_holds_up_sign_ins_alone(make):
    """With every thread of it taken, the service's other threads answer; past the bound nobody waits any more."""
    let_go = threading.Event()
    hanging = make(lambda _name, _password: Checked(PERSON, fits=let_go.wait(10)))
    waiting = [
        asyncio.create_task(status(hanging, f"name {number}", address=str(number))) for number in range(MAX_ASKING)
    ]
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


def test_no_password_is_shown() -> None:
    assert "secret" not in repr(Credentials("anna", "secret", "192.0.2.1"))
