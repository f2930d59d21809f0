# SPDX-License-Identifier: EUPL-1.2
"""Directories: more of a person, holds that an administrator decides, what the command line shows and asks for."""

import sqlalchemy as sa
from alembic import op

revision = "s0003"
down_revision = "s0002"
branch_labels = None
depends_on = None

_PERSON = ("upn", "sid", "department", "cost_centre")
_COPY = (
    ("connected", sa.Boolean(), {"nullable": False, "server_default": sa.false()}),
    ("since_ms", sa.BigInteger(), {"nullable": True}),
    ("trouble", sa.Text(), {"nullable": True}),
    ("remark", sa.Text(), {"nullable": True}),
    ("read_ms", sa.BigInteger(), {"nullable": True}),
    ("asked_ms", sa.BigInteger(), {"nullable": True}),
)


def upgrade() -> None:
    for name in _PERSON:
        op.add_column("person", sa.Column(name, sa.Text(), nullable=True))
    for name, kind, options in _COPY:
        op.add_column("directory_copy", sa.Column(name, kind, **options))
    op.create_table(
        "directory_hold",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("directory", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("began_ms", sa.BigInteger(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("cookie", sa.Text(), nullable=True),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("disabled", sa.Integer(), nullable=False),
        sa.Column("decided_by", sa.String(length=40), nullable=True),
        sa.Column("settled_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'rejected', 'confirmed', 'applied', 'over', 'replaced')",
            name=op.f("ck_directory_hold_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_hold")),
    )
    op.create_table(
        "directory_hold_person",
        sa.Column("person_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hold_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("loss", sa.String(length=10), nullable=False),
        sa.CheckConstraint("loss IN ('lost', 'disabled')", name=op.f("ck_directory_hold_person_loss")),
        sa.ForeignKeyConstraint(["hold_id"], ["directory_hold.id"], name=op.f("fk_directory_hold_person_hold_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_directory_hold_person_person_id")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_directory_hold_person")),
    )


def downgrade() -> None:
    op.drop_table("directory_hold_person")
    op.drop_table("directory_hold")
    for name, _, _ in reversed(_COPY):
        op.drop_column("directory_copy", name)
    for name in reversed(_PERSON):
        op.drop_column("person", name)
