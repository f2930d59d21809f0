# SPDX-License-Identifier: EUPL-1.2
"""The time clock: bookings, and the taps that booked nothing."""

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "timeclock_booking",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("pseudonym", sa.String(length=32), nullable=False),
        sa.Column("event", sa.String(length=74), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("point", sa.String(length=64), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=12), nullable=False),
        sa.CheckConstraint("kind IN ('in', 'out', 'break_start', 'break_end')", name=op.f("ck_timeclock_booking_kind")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_timeclock_booking")),
        sa.UniqueConstraint("event", name=op.f("uq_timeclock_booking_event")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_timeclock_booking_pseudonym_at_ms"), "timeclock_booking", ["pseudonym", "at_ms"], unique=False
    )
    op.create_table(
        "timeclock_unbooked",
        sa.Column("event", sa.String(length=74), nullable=False),
        sa.Column("pseudonym", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event", name=op.f("pk_timeclock_unbooked")),
    )


def downgrade() -> None:
    op.drop_table("timeclock_unbooked")
    op.drop_index(op.f("ix_timeclock_booking_pseudonym_at_ms"), table_name="timeclock_booking")
    op.drop_table("timeclock_booking")
