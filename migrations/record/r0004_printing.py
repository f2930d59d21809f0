# SPDX-License-Identifier: EUPL-1.2
"""Follow-me printing: which documents were released where."""

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "print_release",
        sa.Column("queue", sa.String(length=127), nullable=False),
        sa.Column("job", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("made_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event", sa.String(length=74), nullable=False),
        sa.Column("printer", sa.String(length=127), nullable=False),
        sa.Column("pseudonym", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "job", "made_ms", name=op.f("pk_print_release")),
    )
    op.create_index(op.f("ix_print_release_pseudonym"), "print_release", ["pseudonym"], unique=False)
    op.create_index(op.f("ix_print_release_state"), "print_release", ["state"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_print_release_state"), table_name="print_release")
    op.drop_index(op.f("ix_print_release_pseudonym"), table_name="print_release")
    op.drop_table("print_release")
