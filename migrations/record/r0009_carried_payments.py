# SPDX-License-Identifier: EUPL-1.2
"""Payments that may still be somebody's are found by their age, without those that are nobody's any more."""

import sqlalchemy as sa
from alembic import op

revision = "r0009"
down_revision = "r0008"
branch_labels = None
depends_on = None

_NAME = "ix_canteen_payment_held"


def upgrade() -> None:
    held = sa.text("wallet <> 'carried'")
    op.create_index(_NAME, "canteen_payment", ["at_ms"], unique=False, sqlite_where=held, postgresql_where=held)


def downgrade() -> None:
    op.drop_index(_NAME, table_name="canteen_payment")
