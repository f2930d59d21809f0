# SPDX-License-Identifier: EUPL-1.2
"""Finding one person of the copy by login, personnel number or row: one rule, and never by reading everybody."""

import pytest
import sqlalchemy as sa
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice.database import Databases, read
from cardservice.errors import Conflict, DatabaseUnavailable
from cardservice.people import store
from cardservice.people.lookup import person_by_login, person_by_personnel_number
from cardservice.people.rules import DirectoryPerson
from cardservice.people.service import DirectoryCopy

# A city, so that the database has a reason to look people up by their index.
MANY = 3_000
# More than an ordered index of PostgreSQL takes, and nothing that could be pressed into it.
LONG = "".join(chr(0x4E00 + (number * 7_919) % 20_000) for number in range(5_000))


@pytest.fixture
def copy(databases: Databases, clock: FakeClock) -> DirectoryCopy:
    return open_copy(databases.state, clock)


def test_a_person_is_found_by_what_is_theirs(databases: Databases, copy: DirectoryCopy) -> None:
    """Whoever is disabled is still somebody; whoever left is nobody."""
    tell(copy, someone("anna", personnel_number="1"), someone("bert", personnel_number="2", enabled=False))
    rows = row_numbers(databases.state)
    assert person_by_login(databases.state, "anna") == rows["anna"]
    assert person_by_login(databases.state, "bert") == rows["bert"]
    assert person_by_personnel_number(databases.state, "2") == rows["bert"]
    tell(copy, someone("carl"), removed=("anna",))
    assert person_by_login(databases.state, "anna") is None
    assert person_by_login(databases.state, "") is None
    assert person_by_personnel_number(databases.state, "1") is None


def test_what_two_have_is_nobodys_whichever_way_it_is_asked(databases: Databases, copy: DirectoryCopy) -> None:
    """Even if one of them is disabled: whose it is would hang on the order of two changes."""
    namesake = DirectoryPerson("anna-2", "uid=anna-2", "Anna", enabled=False, login="anna", personnel_number="1")
    tell(copy, someone("anna", personnel_number="1"), namesake)
    for ask, value in ((person_by_login, "anna"), (person_by_personnel_number, "1")):
        with pytest.raises(Conflict, match="more than one"):
            ask(databases.state, value)


def test_the_copy_knows_logins_without_the_store(
    databases: Databases, copy: DirectoryCopy, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New, renamed, gone, come back and after a restart; what could not be stored is nobody's login."""
    tell(copy, someone("anna"), DirectoryPerson("bert", "uid=bert", "Bert", enabled=True))
    rows = row_numbers(databases.state)
    assert copy.login_of(rows["anna"]) == "anna"
    assert copy.login_of(rows["bert"]) is None
    assert copy.login_of(max(rows.values()) + 1) is None
    renamed = DirectoryPerson("anna", "uid=anna", "Anna", enabled=True, login="meier")
    with monkeypatch.context() as broken:
        broken.setattr(store, "store_effective_groups", _fail)
        with pytest.raises(DatabaseUnavailable):
            tell(copy, renamed)
        assert copy.login_of(rows["anna"]) == "anna"
    tell(copy, renamed)
    assert copy.login_of(rows["anna"]) == "meier"
    tell(copy, someone("carl"), removed=("anna",))
    assert copy.login_of(rows["anna"]) is None
    assert open_copy(databases.state, clock).login_of(rows["anna"]) is None
    tell(copy, renamed)
    assert copy.login_of(rows["anna"]) == "meier"
    assert open_copy(databases.state, clock).login_of(rows["anna"]) == "meier"


def _fail(*_: object) -> None:
    raise DatabaseUnavailable("broken")


@pytest.mark.parametrize("column", ["login", "personnel_number"])
def test_nobody_is_looked_up_by_reading_everybody(databases: Databases, copy: DirectoryCopy, column: str) -> None:
    """The database says that it takes the index."""
    everybody = (someone(f"p{number}", personnel_number=str(number)) for number in range(MANY))
    tell(copy, *everybody)
    wanted = sa.select(store.person.c.id).where(store.person.c[column] == sa.bindparam("value"), store.person.c.present)
    explain = "EXPLAIN " if databases.state.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    statement = str(wanted.compile(databases.state, compile_kwargs={"literal_binds": False}))
    with read(databases.state) as connection:
        plan = connection.exec_driver_sql(explain + statement, _parameters(databases)).all()
    assert f"ix_person_{column}" in str(plan)


def _parameters(databases: Databases) -> dict[str, str] | tuple[str]:
    return {"value": "p7"} if databases.state.dialect.name == "postgresql" else ("p7",)


def test_a_value_of_any_length_is_stored_and_found(databases: Databases, copy: DirectoryCopy) -> None:
    """One absurd value in the directory stops neither the copy nor the look-up."""
    tell(copy, DirectoryPerson("long", "uid=long", "Long", enabled=True, login=LONG, personnel_number=LONG))
    (row,) = row_numbers(databases.state).values()
    assert person_by_login(databases.state, LONG) == row
    assert person_by_personnel_number(databases.state, LONG) == row
    assert copy.login_of(row) == LONG
