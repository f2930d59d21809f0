# SPDX-License-Identifier: EUPL-1.2
"""No statement names tables of two uses, at whichever store it is tried and however it is spelt."""

import pytest
import sqlalchemy as sa

import cardservice.canteen.store
import cardservice.printing.store
import cardservice.timeclock.store  # noqa: F401  # whose tables they are is written there
from cardservice.database import STORES, Databases, StoreName, read
from cardservice.use_guard import UsesLinked

LINKING = [
    "SELECT * FROM timeclock_booking, canteen_payment",
    "select * from TIMECLOCK_BOOKING, canteen_payment",
    "SELECT * FROM Timeclock_Booking NATURAL JOIN CANTEEN_PAYMENT",
    "SELECT * FROM cardservice_record.TimeClock_booking, cardservice_record.print_release",
    'SELECT 1 FROM "print_release" WHERE pseudonym IN (SELECT owner FROM "ledger_account")',
]


@pytest.mark.parametrize("statement", LINKING)
@pytest.mark.parametrize("store", STORES)
def test_a_planted_link_never_reaches_the_driver(databases: Databases, store: StoreName, statement: str) -> None:
    """Twice, since a statement that has passed once is not looked at again."""
    for _ in range(2):
        with pytest.raises(UsesLinked, match="never linked"), read(getattr(databases, store)) as connection:
            connection.execute(sa.text(statement))


@pytest.mark.parametrize("table", ["timeclock_booking", "CANTEEN_PAYMENT"])
def test_one_use_alone_is_let_through(databases: Databases, table: str) -> None:
    for _ in range(2):
        with read(databases.record) as connection:
            assert connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar() == 0


@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_one_store_can_name_the_others_tables_on_postgresql(databases: Databases) -> None:
    """Why the guard stands at both."""
    with read(databases.state) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM cardservice_record.timeclock_booking")).scalar() == 0
