# SPDX-License-Identifier: EUPL-1.2
"""A change that is asked for again under the same key is made once, whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from service.fake_clock import FakeClock

from cardservice.database import Databases, read
from cardservice.people.store import organisation
from cardservice.web import once
from cardservice.web.once import KEEP_MS, Asked, KeyReused, Once, api_answer


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def desk(databases: Databases, clock: FakeClock) -> Once:
    return Once(databases.state, clock)


def founding(code: str):
    """Return a change that shows in the store how often it was made."""

    def make(connection):
        connection.execute(sa.insert(organisation).values(code=code, name=code))
        return {"code": code}

    return make


def founded(databases: Databases) -> list[str]:
    with read(databases.state) as connection:
        return sorted(connection.execute(sa.select(organisation.c.code)).scalars())


def asked(key: str = "key-00001", content: object = "works", caller: str = "facility") -> Asked:
    return Asked(caller, key, "organisations.found", content)


def test_the_second_time_the_first_answer_is_told(desk, databases):
    """And nothing is made: the same again would be refused by the store."""
    assert desk.run(asked(), founding("works")) == {"code": "works"}
    assert desk.run(asked(), founding("works")) == {"code": "works"}
    assert founded(databases).count("works") == 1


def test_the_order_of_the_parts_is_no_other_content(desk):
    desk.run(asked(content={"a": 1, "b": [1, 2]}), founding("works"))
    assert desk.run(asked(content={"b": [1, 2], "a": 1}), founding("clinic")) == {"code": "works"}


@pytest.mark.parametrize("content", ["other", None, ["works"], {"works": True}])
def test_one_key_for_two_contents_is_refused(desk, databases, content):
    desk.run(asked(), founding("works"))
    with pytest.raises(KeyReused, match="another content"):
        desk.run(asked(content=content), founding("clinic"))
    assert "clinic" not in founded(databases)


def test_a_key_is_its_callers(desk, databases):
    desk.run(asked(), founding("works"))
    desk.run(asked(caller="payroll"), founding("clinic"))
    assert {"works", "clinic"} <= set(founded(databases))


def test_what_failed_may_be_asked_for_again(desk, databases):
    """A change that was rolled back leaves no key behind."""

    def fails(connection):
        founding("works")(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        desk.run(asked(), fails)
    assert "works" not in founded(databases)
    assert desk.run(asked(), founding("works")) == {"code": "works"}


def test_an_answer_that_cannot_be_kept_changes_nothing(desk, databases):
    with pytest.raises(ValueError, match="at most"):
        desk.run(asked(), lambda connection: founding("works")(connection) | {"more": "x" * once.MAX_ANSWER})
    assert "works" not in founded(databases)


def test_many_at_once_make_one(desk, databases):
    """Twenty requests under one key at the same moment: one is made, all are told the same."""
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: desk.run(asked(), founding("works")), range(20)))
    assert answers == [{"code": "works"}] * 20
    assert founded(databases).count("works") == 1


def test_answers_are_forgotten_after_two_days(desk, clock, databases):
    desk.run(asked("key-old-1"), founding("works"))
    clock.pass_ms(KEEP_MS + 1)
    desk.run(asked("key-new-1"), founding("clinic"))
    with read(databases.state) as connection:
        assert list(connection.execute(sa.select(api_answer.c.key)).scalars()) == ["key-new-1"]
