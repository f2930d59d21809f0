# SPDX-License-Identifier: EUPL-1.2
"""What is due to be erased is found by its age; who left and since when; when erasing ran last, by which clock."""

import sqlalchemy as sa
from alembic import op

revision = "r0007"
down_revision = "r0006"
branch_labels = None
depends_on = None

_AGED = ("timeclock_booking", "timeclock_unbooked", "print_release")


def upgrade() -> None:
    sealed = sa.text("sealed IS NOT NULL")
    op.create_index(
        "ix_journal_entry_sealed",
        "journal_entry",
        ["stream", "at_ms"],
        unique=False,
        sqlite_where=sealed,
        postgresql_where=sealed,
    )
    for table in _AGED:
        op.create_index(op.f(f"ix_{table}_at_ms"), table, ["at_ms"], unique=False)
    op.create_table(
        "departure",
        sa.Column("person", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("blanked_ms", sa.BigInteger(), nullable=True),
        sa.Column("settled_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_departure")),
    )
    op.create_table(
        "retention_pass",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("ran_ms", sa.BigInteger(), nullable=False),
        sa.Column("erased", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_retention_pass")),
    )
    op.create_table(
        "retention_clock",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("number = 1", name=op.f("ck_retention_clock_number")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_retention_clock")),
    )


def downgrade() -> None:
    for table in ("retention_clock", "retention_pass", "departure"):
        op.drop_table(table)
    for table in _AGED:
        op.drop_index(op.f(f"ix_{table}_at_ms"), table_name=table)
    op.drop_index("ix_journal_entry_sealed", table_name="journal_entry")
