# SPDX-License-Identifier: EUPL-1.2
"""Answers of the API to writes with an Idempotency-Key; a hold may be decided by a person, whose login may be long."""

import sqlalchemy as sa
from alembic import op

revision = "s0010"
down_revision = "s0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_answer",
        sa.Column("caller", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_api_answer")),
    )
    with op.batch_alter_table("directory_hold") as table:
        table.alter_column("decided_by", type_=sa.Text(), existing_type=sa.String(length=40), existing_nullable=True)
    op.create_index(op.f("ix_api_answer_made_ms"), "api_answer", ["made_ms"])


def downgrade() -> None:
    with op.batch_alter_table("directory_hold") as table:
        table.alter_column("decided_by", type_=sa.String(length=40), existing_type=sa.Text(), existing_nullable=True)
    op.drop_table("api_answer")
