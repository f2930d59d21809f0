# SPDX-License-Identifier: EUPL-1.2
"""The canteen: the double-entry ledger and its payments."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("floor_cents", sa.BigInteger(), nullable=True),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_account")),
        sa.UniqueConstraint("kind", "owner", name=op.f("uq_ledger_account_kind_owner")),
    )
    op.create_table(
        "ledger_transfer",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reverses", sa.BigInteger(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_transfer")),
    )
    op.create_index(
        op.f("ix_ledger_transfer_reverses"),
        "ledger_transfer",
        ["reverses"],
        unique=False,
        sqlite_where=sa.text("reverses IS NOT NULL"),
        postgresql_where=sa.text("reverses IS NOT NULL"),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("transfer_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", "number", name=op.f("pk_ledger_entry")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_ledger_entry_account_id"), "ledger_entry", ["account_id", "transfer_id"], unique=False)
    op.create_table(
        "ledger_request",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "caller", name=op.f("pk_ledger_request")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "canteen_payment",
        sa.Column(
            "transfer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("terminal", sa.String(length=64), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("wallet", sa.String(length=32), nullable=False),
        sa.Column("event", sa.String(length=74), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_canteen_payment")),
        sa.UniqueConstraint("event", name=op.f("uq_canteen_payment_event")),
        sa.UniqueConstraint("id", name=op.f("uq_canteen_payment_id")),
    )


def downgrade() -> None:
    op.drop_table("canteen_payment")
    op.drop_table("ledger_request")
    op.drop_index(op.f("ix_ledger_entry_account_id"), table_name="ledger_entry")
    op.drop_table("ledger_entry")
    op.drop_index(op.f("ix_ledger_transfer_reverses"), table_name="ledger_transfer")
    op.drop_table("ledger_transfer")
    op.drop_table("ledger_account")
