# SPDX-License-Identifier: EUPL-1.2
"""Recertification: who answers for zones and grants, reviews, and the grants in them."""

import sqlalchemy as sa
from alembic import op

revision = "s0005"
down_revision = "s0004"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table, key, of in (("grant_owner", "rule_id", "access_rule"), ("zone_owner", "zone_id", "zone")):
        op.create_table(
            table,
            sa.Column(key, _ROW, nullable=False),
            sa.Column("group_id", _ROW, nullable=False),
            sa.ForeignKeyConstraint([key], [f"{of}.id"], name=op.f(f"fk_{table}_{key}"), ondelete="CASCADE"),
            sa.ForeignKeyConstraint(["group_id"], ["directory_group.id"], name=op.f(f"fk_{table}_group_id")),
            sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
        )
    op.create_table(
        "access_review",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=True),
        sa.Column("group", sa.Text(), nullable=True),
        sa.Column("deadline_ms", sa.BigInteger(), nullable=False),
        sa.Column("begun_ms", sa.BigInteger(), nullable=False),
        sa.Column("begun_by", sa.String(length=200), nullable=False),
        sa.Column("aborted_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_review")),
        sa.UniqueConstraint("code", name=op.f("uq_access_review_code")),
    )
    op.create_table(
        "access_review_item",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("review_id", _ROW, nullable=False),
        sa.Column("rule_id", _ROW, nullable=True),
        sa.Column("owner_group_id", _ROW, nullable=True),
        sa.Column("before_ms", sa.BigInteger(), nullable=True),
        sa.Column("bound_ms", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=True),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("answered_by", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.CheckConstraint("verdict IN ('keep', 'end', 'renew')", name=op.f("ck_access_review_item_verdict")),
        sa.ForeignKeyConstraint(
            ["owner_group_id"], ["directory_group.id"], name=op.f("fk_access_review_item_owner_group_id")
        ),
        sa.ForeignKeyConstraint(["review_id"], ["access_review.id"], name=op.f("fk_access_review_item_review_id")),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["access_rule.id"], name=op.f("fk_access_review_item_rule_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_review_item")),
    )
    op.create_index(op.f("ix_access_review_item_review_id"), "access_review_item", ["review_id"], unique=False)
    op.create_index(op.f("ix_access_review_item_rule_id"), "access_review_item", ["rule_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_access_review_item_rule_id"), table_name="access_review_item")
    op.drop_index(op.f("ix_access_review_item_review_id"), table_name="access_review_item")
    for table in ("access_review_item", "access_review", "zone_owner", "grant_owner"):
        op.drop_table(table)
