# SPDX-License-Identifier: EUPL-1.2
"""Which generation of keys each card has; generations that were closed."""

import sqlalchemy as sa
from alembic import op

revision = "s0016"
down_revision = "s0015"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "card_generation",
        sa.Column("credential_id", _ROW, autoincrement=False, nullable=False),
        sa.Column("generation", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["credential_id"], ["credential.id"], name=op.f("fk_card_generation_credential_id")),
        sa.PrimaryKeyConstraint("credential_id", name=op.f("pk_card_generation")),
    )
    op.create_table(
        "key_closing",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("use", sa.String(length=20), nullable=False),
        sa.Column("generation", sa.SmallInteger(), nullable=False),
        sa.Column("closed_ms", sa.BigInteger(), nullable=False),
        sa.Column("cards_left", sa.Integer(), nullable=False),
        sa.Column("approval", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_closing")),
        sa.UniqueConstraint("use", "generation", name=op.f("uq_key_closing_use_generation")),
    )


def downgrade() -> None:
    op.drop_table("key_closing")
    op.drop_table("card_generation")
