# SPDX-License-Identifier: EUPL-1.2
"""Until when a directory's lock-out holds, and until when a card is suspended."""

import sqlalchemy as sa
from alembic import op

revision = "s0007"
down_revision = "s0006"
branch_labels = None
depends_on = None

# No end is known. Whoever was locked out before stays so until the directory is read again.
_NO_KNOWN_END_MS = 2**62

_PERSON = sa.table("person", sa.column("locked_out", sa.Boolean()), sa.column("locked_until_ms", sa.BigInteger()))


def upgrade() -> None:
    op.add_column("card", sa.Column("suspended_until_ms", sa.BigInteger(), nullable=True))
    op.add_column("person", sa.Column("locked_until_ms", sa.BigInteger(), nullable=True))
    op.execute(_PERSON.update().where(_PERSON.c.locked_out).values(locked_until_ms=_NO_KNOWN_END_MS))
    op.drop_column("person", "locked_out")


def downgrade() -> None:
    op.add_column("person", sa.Column("locked_out", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(_PERSON.update().where(_PERSON.c.locked_until_ms.is_not(None)).values(locked_out=sa.true()))
    op.drop_column("person", "locked_until_ms")
    op.drop_column("card", "suspended_until_ms")
