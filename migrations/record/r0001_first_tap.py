# SPDX-License-Identifier: EUPL-1.2
"""The first tap: the journal and the agents' events."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent_event",
        sa.Column("agent", sa.String(length=40), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.String(length=20), nullable=True),
        sa.PrimaryKeyConstraint("agent", "epoch", "sequence", name=op.f("pk_agent_event")),
    )
    op.create_table(
        "journal_count",
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream", "day", "outcome", name=op.f("pk_journal_count")),
    )
    op.create_table(
        "journal_entry",
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("stream", "epoch", "sequence", name=op.f("pk_journal_entry")),
    )
    op.create_table(
        "journal_epoch",
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_journal_epoch")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "journal_head",
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("stream", "epoch", name=op.f("pk_journal_head")),
    )
    op.create_table(
        "journal_subject",
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pseudonym", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("stream", "epoch", "sequence", name=op.f("pk_journal_subject")),
    )
    op.create_index(op.f("ix_journal_subject_pseudonym"), "journal_subject", ["pseudonym"], unique=False)
    op.create_table(
        "journal_subject_key",
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("pseudonym", sa.String(length=32), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(length=64), nullable=False),
        sa.PrimaryKeyConstraint("stream", "pseudonym", name=op.f("pk_journal_subject_key")),
    )


def downgrade() -> None:
    op.drop_table("journal_subject_key")
    op.drop_index(op.f("ix_journal_subject_pseudonym"), table_name="journal_subject")
    op.drop_table("journal_subject")
    op.drop_table("journal_head")
    op.drop_table("journal_epoch")
    op.drop_table("journal_entry")
    op.drop_table("journal_count")
    op.drop_table("agent_event")
