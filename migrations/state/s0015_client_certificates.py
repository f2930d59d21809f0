# SPDX-License-Identifier: EUPL-1.2
"""Certificates that accounts are bound to; who a session's person is to the provider they signed in at."""

import sqlalchemy as sa
from alembic import op

revision = "s0015"
down_revision = "s0014"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("service_account", sa.Column("needs_both", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "service_certificate",
        sa.Column("id", _ROW, autoincrement=True, nullable=False),
        sa.Column("account_id", _ROW, nullable=False),
        sa.Column("certificate", sa.String(length=16), nullable=False),
        sa.Column("key_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("begins_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_used_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["service_account.id"], name=op.f("fk_service_certificate_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_certificate")),
        sa.UniqueConstraint("certificate", name=op.f("uq_service_certificate_certificate")),
        sa.UniqueConstraint("key_digest", name=op.f("uq_service_certificate_key_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_service_certificate_account_id"), "service_certificate", ["account_id"])
    op.add_column("web_session", sa.Column("subject", sa.LargeBinary(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("web_session", "subject")
    op.drop_index(op.f("ix_service_certificate_account_id"), table_name="service_certificate")
    op.drop_table("service_certificate")
    op.drop_column("service_account", "needs_both")
