# SPDX-License-Identifier: EUPL-1.2
"""Movers: who left which department group when, and still counts in it."""

import sqlalchemy as sa
from alembic import op

revision = "s0008"
down_revision = "s0007"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "directory_window",
        sa.Column("id", _ROW, autoincrement=True, nullable=False),
        sa.Column("directory", sa.String(length=40), nullable=False),
        sa.Column("person_id", _ROW, nullable=False),
        sa.Column("group_id", _ROW, nullable=False),
        sa.Column("left_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_directory_window_person_id")),
        sa.ForeignKeyConstraint(["group_id"], ["directory_group.id"], name=op.f("fk_directory_window_group_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_window")),
        sa.UniqueConstraint("person_id", "group_id", name=op.f("uq_directory_window_person_id_group_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_directory_window_directory_until_ms"), "directory_window", ["directory", "until_ms"])


def downgrade() -> None:
    op.drop_index(op.f("ix_directory_window_directory_until_ms"), table_name="directory_window")
    op.drop_table("directory_window")
