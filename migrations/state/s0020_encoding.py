# SPDX-License-Identifier: EUPL-1.2
"""Encoding: badge numbers, what is on which card, and the jobs at the encoders."""

import sqlalchemy as sa
from alembic import op

revision = "s0020"
down_revision = "s0019"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "card_badge",
        sa.Column("card_id", _ROW, autoincrement=False, nullable=False),
        sa.Column("number", sa.LargeBinary(length=12), nullable=False),
        sa.Column("generation", sa.SmallInteger(), nullable=False),
        sa.Column("former_generation", sa.SmallInteger(), nullable=True),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_card_badge_card_id")),
        sa.PrimaryKeyConstraint("card_id", name=op.f("pk_card_badge")),
        sa.UniqueConstraint("number", name=op.f("uq_card_badge_number")),
    )
    op.create_table(
        "card_application",
        sa.Column("card_id", _ROW, autoincrement=False, nullable=False),
        sa.Column("use", sa.String(length=20), nullable=False),
        sa.Column("number", sa.LargeBinary(length=12), nullable=False),
        sa.Column("generation", sa.SmallInteger(), nullable=False),
        sa.Column("next_generation", sa.SmallInteger(), nullable=True),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_card_application_card_id")),
        sa.PrimaryKeyConstraint("card_id", "use", name=op.f("pk_card_application")),
        sa.UniqueConstraint("use", "number", name=op.f("uq_card_application_use_number")),
    )
    op.create_table(
        "encoding_job",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("reference", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("card_id", _ROW, nullable=True),
        sa.Column("agent", sa.String(length=40), nullable=False),
        sa.Column("reader", sa.String(length=127), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("chip", sa.LargeBinary(length=16), nullable=True),
        sa.Column("step", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("steps", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("step_name", sa.String(length=20), nullable=True),
        sa.Column("step_use", sa.String(length=20), nullable=True),
        sa.Column("trouble", sa.String(length=20), nullable=True),
        sa.Column("detail", sa.String(length=200), nullable=True),
        sa.Column("found", sa.Text(), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("begun_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_encoding_job_card_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encoding_job")),
        sa.UniqueConstraint("reference", name=op.f("uq_encoding_job_reference")),
    )
    op.create_index(op.f("ix_encoding_job_card_id"), "encoding_job", ["card_id"])
    op.create_index(op.f("ix_encoding_job_state"), "encoding_job", ["state"])
    for name, columns in (("encoder", ["agent", "reader"]), ("card", ["card_id"])):
        op.create_index(
            op.f(f"ux_encoding_job_{name}"),
            "encoding_job",
            columns,
            unique=True,
            sqlite_where=sa.text("ended_ms IS NULL"),
            postgresql_where=sa.text("ended_ms IS NULL"),
        )


def downgrade() -> None:
    op.drop_table("encoding_job")
    op.drop_table("card_application")
    op.drop_table("card_badge")
