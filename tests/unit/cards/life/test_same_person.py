# SPDX-License-Identifier: EUPL-1.2
"""Who counts as the same person when nobody may issue a card for themselves."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.life.persons import as_holder, is_same
from cardservice.cards.service import By
from cardservice.people.store import organisation, person

ANNA, NUMBER, LOGIN, MAIL, OTHER, NOTHING, BLANK = range(1, 8)
# What the entries have besides their numbers: Anna's, three that are hers in another directory, and three strangers'.
ENTRIES = {
    ANNA: {"personnel_number": "4711", "login": "anna", "mail": "anna@stadt.example"},
    NUMBER: {"personnel_number": " 4711 ", "login": "a.berger", "mail": "berger@stadtwerke.example"},
    LOGIN: {"personnel_number": "9", "login": "ANNA", "mail": None},
    MAIL: {"personnel_number": None, "login": None, "mail": "Anna@Stadt.example"},
    OTHER: {"personnel_number": "4712", "login": "bert", "mail": "bert@stadt.example"},
    NOTHING: {"personnel_number": None, "login": None, "mail": None},
    BLANK: {"personnel_number": " ", "login": "", "mail": " "},
}


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as opened:
        organisation.metadata.create_all(opened, tables=[organisation, person])
        opened.execute(sa.insert(organisation).values(id=1, code="city", name="City"))
        for number, values in ENTRIES.items():
            row = {
                "id": number,
                "organisation_id": 1,
                "directory": f"d{number}",
                "stable_id": "1",
                "dn": "",
                "name": "A",
            }
            opened.execute(sa.insert(person).values(**row, enabled=True, present=True, groups="[]", **values))
        yield opened
    engine.dispose()


@pytest.mark.parametrize("other", [ANNA, NUMBER, LOGIN, MAIL])
def test_one_number_login_or_address_is_one_person(connection: Connection, other: int) -> None:
    """In whichever order they are asked about; the actor then counts as the holder of that entry."""
    assert is_same(connection, ANNA, other)
    assert is_same(connection, other, ANNA)
    assert as_holder(connection, By("anna", ANNA, operation="cards.issue"), other) == By(
        "anna", other, operation="cards.issue"
    )


@pytest.mark.parametrize("other", [OTHER, NOTHING, BLANK, 99, None])
def test_whoever_shares_nothing_is_somebody_else(connection: Connection, other: int | None) -> None:
    """What is empty at both is nothing they share, and the same name is none either."""
    assert not is_same(connection, ANNA, other)
    assert as_holder(connection, By("anna", ANNA), other) == By("anna", ANNA)


def test_what_is_empty_makes_nobody_the_same(connection: Connection) -> None:
    """Two entries without a number, and a system, which is nobody."""
    assert not is_same(connection, NOTHING, BLANK)
    assert not is_same(connection, None, None)
    assert as_holder(connection, By("a system"), ANNA) == By("a system")
