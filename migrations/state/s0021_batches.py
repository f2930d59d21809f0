# SPDX-License-Identifier: EUPL-1.2
"""Batches go on by themselves: as far as whoever began them could, and until no line waits."""

import sqlalchemy as sa
from alembic import op

revision = "s0021"
down_revision = "s0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("card_batch", sa.Column("reaches", sa.Text(), nullable=True))
    op.add_column("card_batch", sa.Column("ended_ms", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_card_batch_ended_ms"), "card_batch", ["ended_ms"])


def downgrade() -> None:
    op.drop_index(op.f("ix_card_batch_ended_ms"), "card_batch")
    op.drop_column("card_batch", "ended_ms")
    op.drop_column("card_batch", "reaches")
