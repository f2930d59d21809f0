# SPDX-License-Identifier: EUPL-1.2
"""People outside the directory: who answers for them, and what is kept of them beside their row of `person`."""

import sqlalchemy as sa
from alembic import op

revision = "s0014"
down_revision = "s0013"
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outsider",
        sa.Column("person_id", _ROW, autoincrement=False, nullable=False),
        sa.Column("sponsor_id", _ROW, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("erased_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_outsider_person_id")),
        sa.ForeignKeyConstraint(["sponsor_id"], ["person.id"], name=op.f("fk_outsider_sponsor_id")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_outsider")),
    )
    op.create_index(op.f("ix_outsider_sponsor_id"), "outsider", ["sponsor_id"])


def downgrade() -> None:
    # Nobody would tell any more when one of them ends, or who answers for them.
    person = sa.table("person", sa.column("directory", sa.String), sa.column("present", sa.Boolean))
    op.execute(sa.update(person).where(person.c.directory == "outside").values(present=False))
    op.drop_index(op.f("ix_outsider_sponsor_id"), table_name="outsider")
    op.drop_table("outsider")
