# SPDX-License-Identifier: EUPL-1.2
"""Accounts in the store: two keys and no third whoever asks at once, and a book of them that no trouble makes stale."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from service.fake_clock import FakeClock
from support.waiting import wait_until

from cardservice import changes
from cardservice.clock import Clock
from cardservice.database import Databases, open_databases, read, write
from cardservice.errors import Conflict
from cardservice.web.accounts import service, store
from cardservice.web.accounts.book import NOTE_EVERY_MS, AccountBook
from cardservice.web.accounts.rules import DAY_MS, Pace, Terms
from cardservice.web.accounts.service import Accounts, TooManyKeys, Who, Wish
from cardservice.web.accounts.store import service_account, service_key
from cardservice.web.callers import Caller, digest
from cardservice.web.operations import Scope
from cardservice.web.problems import ApiProblem
from cardservice.web.reach import EVERYWHERE

ANNA = Who("anna")
TERMS = Terms(frozenset({Scope.DOOR}), EVERYWHERE, Pace(per_s=1, burst=2))
SETTLED = Caller("till-1", digest("till-token"), frozenset({"canteen"}))


@pytest.fixture
def book(databases: Databases, clock: FakeClock) -> Iterator[AccountBook]:
    made = AccountBook(databases.state, clock, [SETTLED])
    yield made
    made.close()


@pytest.fixture
def accounts(databases: Databases, clock: Clock, book: AccountBook) -> Accounts:
    made = Accounts(databases.state, clock, [SETTLED], book.refresh)
    made.add(Wish("panel", TERMS, "why"), ANNA)
    return made


def test_of_many_who_ask_at_once_two_get_a_key(accounts: Accounts) -> None:
    """Whoever else is told that there are two."""

    def issue(_: int) -> bool:
        try:
            accounts.issue_key("panel", ANNA)
        except TooManyKeys:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(issue, range(6))) == 2
    assert len(accounts.show("panel", ANNA).keys) == 2


@pytest.mark.parametrize("days", [0, 731])
def test_no_key_lives_for_more_than_two_years(accounts: Accounts, days: int) -> None:
    with pytest.raises(ValueError, match="1 to 730 days"):
        accounts.issue_key("panel", ANNA, days)


def test_a_key_that_has_ended_makes_room(accounts: Accounts, clock: FakeClock) -> None:
    """And of those that have ended the newest are listed; they never pile up."""
    for _ in range(30):
        accounts.issue_key("panel", ANNA, 1)
        clock.pass_ms(DAY_MS)
    keys = accounts.show("panel", ANNA).keys
    assert len(keys) == 20
    assert [key.ended(clock.now_ms()) for key in keys] == [True] * 20


def test_every_change_is_told_by_the_change_log(accounts: Accounts, databases: Databases) -> None:
    """That is how other processes learn of it."""

    def told() -> int:
        with read(databases.state) as connection:
            return sum(change.kind == "caller" for change in changes.since(connection, 0))

    before = told()
    key = accounts.issue_key("panel", ANNA)["key"]
    accounts.revoke_key("panel", key, ANNA)
    accounts.disable("panel", ANNA, "why", disabled=True)
    assert told() - before == 3


def test_disabling_takes_no_change_back(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever narrowed the account in the same moment has narrowed it."""
    seen = accounts.show("panel", ANNA)
    narrow = Terms(frozenset({Scope.REVIEW}), EVERYWHERE)
    accounts.change(Wish("panel", narrow, "why"), ANNA)
    with monkeypatch.context() as patched:
        patched.setattr(accounts, "show", lambda *_: seen)
        with pytest.raises(Conflict, match="changed meanwhile"):
            accounts.disable("panel", ANNA, "why", disabled=True)
    assert accounts.disable("panel", ANNA, "why", disabled=True)["scopes"] == ["review"]


def test_no_more_accounts_than_are_kept_in_memory(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_ACCOUNTS", 2)
    accounts.add(Wish("second", TERMS, "why"), ANNA)
    with pytest.raises(Conflict, match="2 accounts already"):
        accounts.add(Wish("third", TERMS, "why"), ANNA)


def test_a_key_ends_by_the_clock_without_anybody_looking(
    accounts: Accounts, book: AccountBook, clock: FakeClock
) -> None:
    """To the millisecond, in memory alone."""
    token = accounts.issue_key("panel", ANNA, 1)["token"]
    clock.wall_ms += DAY_MS - 1
    assert book.callers.find(token) is not None
    clock.wall_ms += 1
    assert book.callers.find(token) is None


def test_a_change_gives_nobody_a_new_allowance(accounts: Accounts, book: AccountBook) -> None:
    """Neither a rotation nor a disabling that is undone soon enough; another pace does, as it should."""
    token = accounts.issue_key("panel", ANNA)["token"]
    assert [book.callers.admit(token) is not None for _ in range(2)] == [True, True]
    other = accounts.issue_key("panel", ANNA)["token"]
    for one in (token, other):
        with pytest.raises(ApiProblem) as refused:
            book.callers.admit(one)
        assert (refused.value.status, refused.value.retry_after_s) == (429, 1)
    faster = Terms(TERMS.scopes, TERMS.reach, Pace(per_s=1, burst=3))
    accounts.change(Wish("panel", faster, "more tills"), ANNA)
    assert book.callers.admit(other) is not None


def test_callers_of_the_settings_are_not_paced(book: AccountBook) -> None:
    """They go on as they were set up."""
    assert all(book.callers.admit("till-token") is not None for _ in range(500))


def test_the_last_use_is_written_once_an_hour(
    accounts: Accounts, book: AccountBook, clock: FakeClock, databases: Databases
) -> None:
    """And never taken back by a service whose clock is behind."""
    token = accounts.issue_key("panel", ANNA)["token"]
    began_ms = clock.now_ms()

    def used_ms() -> int | None:
        return accounts.show("panel", ANNA).keys[0].last_used_ms

    def used_at(passed_ms: int) -> None:
        clock.wall_ms, clock.steady_ns = began_ms + passed_ms, clock.steady_ns + 10**9
        book.callers.admit(token)

    used_at(0)
    wait_until(lambda: used_ms() == began_ms)
    used_at(NOTE_EVERY_MS - 1)
    used_at(NOTE_EVERY_MS)
    wait_until(lambda: used_ms() == began_ms + NOTE_EVERY_MS)
    with write(databases.state) as connection:
        store.used(connection, token.split("_")[1], began_ms)
    assert used_ms() == began_ms + NOTE_EVERY_MS


def test_what_cannot_be_read_is_told_and_read_later(migrated_files: Path, tmp_path: Path, clock: FakeClock) -> None:
    """A key that was revoked meanwhile still counts, which is said; once the store answers it is nobody's."""
    shutil.copytree(migrated_files, tmp_path / "stores")
    # On SQLite a table that is not there is a store that cannot be read.
    with closing(open_databases(f"sqlite:///{tmp_path / 'stores'}")) as databases:
        book = AccountBook(databases.state, clock, [])
        accounts = Accounts(databases.state, clock, changed=book.refresh)
        accounts.add(Wish("panel", TERMS, "why"), ANNA)
        made = accounts.issue_key("panel", ANNA)
        rename(databases, "service_key", "elsewhere")
        book.refresh_soon()
        assert book.callers.find(made["token"]) is not None
        assert [sentence for sentence in book.sentences() if "cannot be read" in sentence]
        with write(databases.state) as connection:
            connection.execute(sa.text("UPDATE elsewhere SET revoked_ms = 1"))
        rename(databases, "elsewhere", "service_key")
        wait_until(lambda: book.callers.find(made["token"]) is None)
        wait_until(lambda: book.sentences() == [])
        book.close()


def rename(databases: Databases, table: str, name: str) -> None:
    with write(databases.state) as connection:
        connection.execute(sa.text(f"ALTER TABLE {table} RENAME TO {name}"))


def test_two_of_one_name_are_told(accounts: Accounts, databases: Databases, book: AccountBook) -> None:
    """When the settings come to name what the database has: nobody could tell them apart in the record."""
    with write(databases.state) as connection:
        connection.execute(sa.update(service_account).values(name="till-1"))
    book.refresh()
    assert book.sentences() == ["account till-1: the settings name another one like it; rename one of them"]


def test_the_store_has_digests_alone(accounts: Accounts, databases: Databases) -> None:
    token = accounts.issue_key("panel", ANNA)["token"]
    with read(databases.state) as connection:
        (row,) = connection.execute(sa.select(service_key)).all()
    assert bytes(row.token_digest) == digest(token)
    assert token.split("_")[2] not in repr(row)
