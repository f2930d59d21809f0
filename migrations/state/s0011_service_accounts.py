# SPDX-License-Identifier: EUPL-1.2
"""Accounts of systems that call the API, and their keys."""

import sqlalchemy as sa
from alembic import op

revision = "s0011"
down_revision = "s0010"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "service_account",
        sa.Column("id", _ROW, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("organisation", sa.String(length=40), nullable=True),
        sa.Column("points", sa.Text(), nullable=True),
        sa.Column("zones", sa.Text(), nullable=True),
        sa.Column("units", sa.Text(), nullable=True),
        sa.Column("attested_points", sa.Text(), nullable=False),
        sa.Column("per_s", sa.Integer(), nullable=False),
        sa.Column("burst", sa.Integer(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_account")),
        sa.UniqueConstraint("name", name=op.f("uq_service_account_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "service_key",
        sa.Column("id", _ROW, autoincrement=True, nullable=False),
        sa.Column("account_id", _ROW, nullable=False),
        sa.Column("key", sa.String(length=8), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("begins_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_used_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["service_account.id"], name=op.f("fk_service_key_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_key")),
        sa.UniqueConstraint("key", name=op.f("uq_service_key_key")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_service_key_token_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_service_key_account_id"), "service_key", ["account_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_service_key_account_id"), table_name="service_key")
    op.drop_table("service_key")
    op.drop_table("service_account")
