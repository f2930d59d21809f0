# SPDX-License-Identifier: EUPL-1.2
"""PINs at doors and terminals: a verifier per holder, the wrong tries per card."""

import sqlalchemy as sa
from alembic import op

revision = "s0006"
down_revision = "s0005"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "holder_pin",
        sa.Column("person_id", _ROW, autoincrement=False, nullable=False),
        sa.Column("verifier", sa.String(length=200), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_holder_pin_person_id")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_holder_pin")),
    )
    op.create_table(
        "pin_tries",
        sa.Column("card_id", _ROW, autoincrement=False, nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.Column("locked_until_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_pin_tries_card_id")),
        sa.PrimaryKeyConstraint("card_id", name=op.f("pk_pin_tries")),
    )


def downgrade() -> None:
    op.drop_table("pin_tries")
    op.drop_table("holder_pin")
