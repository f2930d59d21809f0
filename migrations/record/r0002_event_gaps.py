# SPDX-License-Identifier: EUPL-1.2
"""Events that an agent had acknowledged and that are not here; whose changed content was told."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agent_event", sa.Column("alarmed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "event_gap",
        sa.Column("agent", sa.String(length=40), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("found_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("agent", "epoch", "first", name=op.f("pk_event_gap")),
    )


def downgrade() -> None:
    op.drop_table("event_gap")
    op.drop_column("agent_event", "alarmed")
