# SPDX-License-Identifier: EUPL-1.2
"""A lockdown may be of a single door."""

import sqlalchemy as sa
from alembic import op

revision = "s0017"
down_revision = "s0016"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SAID = ("since_ms", "by", "reason", "passing_group_id")


def upgrade() -> None:
    kept = _taken("zone_id IS NOT NULL")
    table = op.create_table(
        "door_lockdown",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("zone_id", _ROW, nullable=True),
        sa.Column("point_id", _ROW, nullable=True),
        *_columns(),
        sa.CheckConstraint("(zone_id IS NULL) <> (point_id IS NULL)", name=op.f("ck_door_lockdown_one_place")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_door_lockdown_zone_id")),
        sa.ForeignKeyConstraint(["point_id"], ["point.id"], name=op.f("fk_door_lockdown_point_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_door_lockdown")),
        sa.UniqueConstraint("zone_id", name=op.f("uq_door_lockdown_zone_id")),
        sa.UniqueConstraint("point_id", name=op.f("uq_door_lockdown_point_id")),
    )
    op.bulk_insert(table, kept)


def downgrade() -> None:
    # A lockdown of a single door cannot be told to what was there before.
    kept = _taken("zone_id IS NOT NULL")
    table = op.create_table(
        "door_lockdown",
        sa.Column("zone_id", _ROW, nullable=False),
        *_columns(),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_door_lockdown_zone_id")),
        sa.PrimaryKeyConstraint("zone_id", name=op.f("pk_door_lockdown")),
    )
    op.bulk_insert(table, kept)


def _columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("passing_group_id", _ROW, nullable=True),
    )


def _taken(which: str) -> list[dict[str, object]]:
    """Take what is locked down out of the table, and the table away: its name is needed again."""
    columns: list[sa.ColumnClause[object]] = [sa.column(name) for name in ("zone_id", *_SAID)]
    rows = op.get_bind().execute(sa.select(*columns).select_from(sa.table("door_lockdown")).where(sa.text(which)))
    kept: list[dict[str, object]] = [dict(row) for row in rows.mappings()]
    op.drop_table("door_lockdown")
    return kept
