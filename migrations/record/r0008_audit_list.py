# SPDX-License-Identifier: EUPL-1.2
"""The newest lines of the record that people read are found without reading all others."""

import sqlalchemy as sa
from alembic import op

revision = "r0008"
down_revision = "r0007"
branch_labels = None
depends_on = None

_NAME = "ix_journal_entry_audit"


def upgrade() -> None:
    audited = "IN ('access', 'audit', 'sign_in')"
    op.create_index(
        _NAME,
        "journal_entry",
        ["at_ms", "epoch", "sequence", "stream"],
        unique=False,
        # Else SQLite takes the table's key for the list, which begins with the stream, and sorts everything.
        sqlite_where=sa.text(f"stream || '' {audited}"),
        postgresql_where=sa.text(f"stream {audited}"),
    )


def downgrade() -> None:
    op.drop_index(_NAME, table_name="journal_entry")
