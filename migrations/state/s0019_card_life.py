# SPDX-License-Identifier: EUPL-1.2
"""The life of cards: what each was given for, what became of it and by whom, deliveries, and batches to be issued."""

import sqlalchemy as sa
from alembic import op

revision = "s0019"
down_revision = "s0018"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "card_delivery",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("organisation_id", _ROW, nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("delivered_ms", sa.BigInteger(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("issued", sa.Integer(), server_default="0", nullable=False),
        sa.Column("void", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "issued >= 0 AND void >= 0 AND issued + void <= delivered", name=op.f("ck_card_delivery_counts")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_card_delivery_organisation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_delivery")),
        sa.UniqueConstraint("organisation_id", "label", name=op.f("uq_card_delivery_organisation_id_label")),
    )
    op.add_column("card", sa.Column("profile", sa.String(length=20), nullable=True))
    op.add_column("card", sa.Column("replaces_id", _ROW, nullable=True))
    op.add_column("card", sa.Column("stands_in_for_id", _ROW, nullable=True))
    op.add_column("card", sa.Column("delivery_id", _ROW, nullable=True))
    for name in ("replaces_id", "stands_in_for_id", "delivery_id"):
        op.create_index(op.f(f"ix_card_{name}"), "card", [name])
    op.create_table(
        "card_event",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("card_id", _ROW, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.String(length=20), nullable=True),
        sa.Column("after", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("second_actor", sa.String(length=200), nullable=True),
        sa.Column("uses_ended", sa.Integer(), nullable=False),
        sa.Column("certificates_changed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_card_event_card_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_event")),
    )
    op.create_index(op.f("ix_card_event_card_id"), "card_event", ["card_id"])
    op.create_index(op.f("ix_card_event_at_ms"), "card_event", ["at_ms"])
    op.create_table(
        "card_batch",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.String(length=200), nullable=False),
        sa.Column("made_by_id", _ROW, nullable=True),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_batch")),
    )
    op.create_table(
        "card_batch_line",
        sa.Column("batch_id", _ROW, nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("person_id", _ROW, nullable=False),
        sa.Column("profile", sa.String(length=20), nullable=False),
        sa.Column("valid_from_ms", sa.BigInteger(), nullable=True),
        sa.Column("card_id", _ROW, nullable=True),
        sa.Column("fault", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["card_batch.id"], name=op.f("fk_card_batch_line_batch_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_card_batch_line_person_id")),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_card_batch_line_card_id")),
        sa.PrimaryKeyConstraint("batch_id", "line", name=op.f("pk_card_batch_line")),
    )


def downgrade() -> None:
    op.drop_table("card_batch_line")
    op.drop_table("card_batch")
    op.drop_table("card_event")
    for name in ("replaces_id", "stands_in_for_id", "delivery_id"):
        op.drop_index(op.f(f"ix_card_{name}"), table_name="card")
    for name in ("delivery_id", "stands_in_for_id", "replaces_id", "profile"):
        op.drop_column("card", name)
    op.drop_table("card_delivery")
