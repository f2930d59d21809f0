# SPDX-License-Identifier: EUPL-1.2
"""Places of use: what a point's place needs to know of it, lockdowns, requests at the desk, look-ups of people."""

import sqlalchemy as sa
from alembic import op

revision = "s0002"
down_revision = "s0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("point", sa.Column("options", sa.Text(), nullable=False, server_default="{}"))
    op.create_table(
        "door_lockdown",
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_door_lockdown_zone_id")),
        sa.PrimaryKeyConstraint("zone_id", name=op.f("pk_door_lockdown")),
    )
    op.create_table(
        "door_request",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("point", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.Column("message", sa.String(length=200), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_door_request")),
    )
    op.create_index(op.f("ix_door_request_at_ms"), "door_request", ["at_ms"], unique=False)
    # Who signs in or gets money is looked up by these; hashes take values of any length.
    for column in ("login", "personnel_number"):
        op.create_index(op.f(f"ix_person_{column}"), "person", [column], unique=False, postgresql_using="hash")


def downgrade() -> None:
    op.drop_index(op.f("ix_person_personnel_number"), table_name="person")
    op.drop_index(op.f("ix_person_login"), table_name="person")
    op.drop_index(op.f("ix_door_request_at_ms"), table_name="door_request")
    op.drop_table("door_request")
    op.drop_table("door_lockdown")
    op.drop_column("point", "options")
