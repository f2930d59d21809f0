# SPDX-License-Identifier: EUPL-1.2
"""Jobs that register a card as it is: where its bare number may count, and until when."""

import sqlalchemy as sa
from alembic import op

revision = "s0022"
down_revision = "s0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("encoding_job", sa.Column("building", sa.BigInteger(), nullable=True))
    op.add_column("encoding_job", sa.Column("until_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("encoding_job", "until_ms")
    op.drop_column("encoding_job", "building")
