# SPDX-License-Identifier: EUPL-1.2
"""Entries by account for accounts with a lowest balance alone: those of the canteen itself are never asked for so."""

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"
branch_labels = None
depends_on = None

_INDEX = "ix_ledger_entry_account_id"
_OF = ["account_id", "transfer_id"]


def upgrade() -> None:
    op.drop_index(_INDEX, table_name="ledger_entry")
    op.add_column("ledger_entry", sa.Column("limited", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.execute(
        "UPDATE ledger_entry SET limited = "
        "(SELECT floor_cents IS NOT NULL FROM ledger_account WHERE ledger_account.id = ledger_entry.account_id)"
    )
    op.create_index(
        _INDEX,
        "ledger_entry",
        _OF,
        unique=False,
        sqlite_where=sa.text("limited"),
        postgresql_where=sa.text("limited"),
    )


def downgrade() -> None:
    op.drop_index(_INDEX, table_name="ledger_entry")
    op.drop_column("ledger_entry", "limited")
    op.create_index(_INDEX, "ledger_entry", _OF, unique=False)
