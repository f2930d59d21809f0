# SPDX-License-Identifier: EUPL-1.2
"""The access model: special days, two people, levels a zone demands and exceptions from them, who passes a lockdown."""

import sqlalchemy as sa
from alembic import op

revision = "s0004"
down_revision = "s0003"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "special_day_group",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_special_day_group")),
        sa.UniqueConstraint("code", name=op.f("uq_special_day_group_code")),
    )
    op.create_table(
        "special_day",
        sa.Column("group_id", _ROW, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["special_day_group.id"], name=op.f("fk_special_day_group_id")),
        sa.PrimaryKeyConstraint("group_id", "day", name=op.f("pk_special_day")),
    )
    op.create_table(
        "schedule_special",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("schedule_id", _ROW, nullable=False),
        sa.Column("group_id", _ROW, nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["special_day_group.id"], name=op.f("fk_schedule_special_group_id")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name=op.f("fk_schedule_special_schedule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_special")),
        sa.UniqueConstraint("schedule_id", "group_id", name=op.f("uq_schedule_special_schedule_id_group_id")),
    )
    op.create_table(
        "schedule_special_interval",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("special_id", _ROW, nullable=False),
        sa.Column("start_minute", sa.Integer(), nullable=False),
        sa.Column("end_minute", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "0 <= start_minute AND start_minute < end_minute AND end_minute <= 1440",
            name=op.f("ck_schedule_special_interval_minutes"),
        ),
        sa.ForeignKeyConstraint(
            ["special_id"], ["schedule_special.id"], name=op.f("fk_schedule_special_interval_special_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_special_interval")),
    )
    op.create_index(
        op.f("ix_schedule_special_interval_special_id"), "schedule_special_interval", ["special_id"], unique=False
    )
    op.create_table(
        "level_exception",
        sa.Column("point_id", _ROW, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["point_id"], ["point.id"], name=op.f("fk_level_exception_point_id")),
        sa.PrimaryKeyConstraint("point_id", name=op.f("pk_level_exception")),
    )
    op.add_column("zone", sa.Column("level", sa.Integer(), nullable=True))
    op.add_column("point_class", sa.Column("people", sa.Integer(), server_default="1", nullable=False))
    op.add_column("point_class", sa.Column("second_within_ms", sa.Integer(), server_default="10000", nullable=False))
    op.add_column(
        "point_class", sa.Column("directory_check", sa.String(length=10), server_default="copy", nullable=False)
    )
    op.add_column("point_class_level", sa.Column("people", sa.Integer(), server_default="1", nullable=False))
    op.add_column("door_lockdown", sa.Column("passing_group_id", _ROW, nullable=True))


def downgrade() -> None:
    op.drop_column("door_lockdown", "passing_group_id")
    op.drop_column("point_class_level", "people")
    op.drop_column("point_class", "directory_check")
    op.drop_column("point_class", "second_within_ms")
    op.drop_column("point_class", "people")
    op.drop_column("zone", "level")
    op.drop_table("level_exception")
    op.drop_index(op.f("ix_schedule_special_interval_special_id"), table_name="schedule_special_interval")
    op.drop_table("schedule_special_interval")
    op.drop_table("schedule_special")
    op.drop_table("special_day")
    op.drop_table("special_day_group")
