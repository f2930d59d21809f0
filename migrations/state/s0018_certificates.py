# SPDX-License-Identifier: EUPL-1.2
"""Cards' certificates, requests that wait for the city's PKI, and the revocation lists that are out."""

import sqlalchemy as sa
from alembic import op

revision = "s0018"
down_revision = "s0017"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "card_certificate",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("card_id", _ROW, nullable=False),
        sa.Column("slot", sa.String(length=2), nullable=False),
        sa.Column("authority", sa.String(length=20), nullable=False),
        sa.Column("issuer_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("serial", sa.String(length=42), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("not_after_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=True),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("list_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("der", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_card_certificate_card_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_certificate")),
        sa.UniqueConstraint("issuer_key", "serial", name=op.f("uq_card_certificate_issuer_key_serial")),
    )
    op.create_index(op.f("ix_card_certificate_card_id"), "card_certificate", ["card_id"])
    op.create_table(
        "certificate_request",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("card_id", _ROW, nullable=False),
        sa.Column("slot", sa.String(length=2), nullable=False),
        sa.Column("key_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["card_id"], ["card.id"], name=op.f("fk_certificate_request_card_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_request")),
        sa.UniqueConstraint("key_digest", name=op.f("uq_certificate_request_key_digest")),
    )
    op.create_index(op.f("ix_certificate_request_card_id"), "certificate_request", ["card_id"])
    op.create_table(
        "revocation_list",
        sa.Column("id", _ROW, nullable=False),
        sa.Column("issuer_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocation_list")),
        sa.UniqueConstraint("issuer_key", "number", name=op.f("uq_revocation_list_issuer_key_number")),
    )


def downgrade() -> None:
    op.drop_table("revocation_list")
    op.drop_table("certificate_request")
    op.drop_table("card_certificate")
