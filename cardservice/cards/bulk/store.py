# SPDX-License-Identifier: EUPL-1.2
"""Tables of batches: what each line asks for, and what came of it."""

import sqlalchemy as sa

from cardservice.database import STATE, RowNumber

card_batch = sa.Table(
    "card_batch",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("made_ms", sa.BigInteger, nullable=False),
    sa.Column("made_by", sa.String(200), nullable=False),
    # A person's row number; none: an account, or the command line.
    sa.Column("made_by_id", RowNumber),
    sa.Column("lines", sa.Integer, nullable=False),
    # Whose people were within reach, as JSON; none: from before batches went on by themselves.
    sa.Column("reaches", sa.Text),
    # Since when no line waits; none: some do.
    sa.Column("ended_ms", sa.BigInteger, index=True),
)

# A line with neither a card nor a fault waits.
card_batch_line = sa.Table(
    "card_batch_line",
    STATE,
    sa.Column("batch_id", sa.ForeignKey("card_batch.id"), primary_key=True, autoincrement=False),
    sa.Column("line", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("person_id", sa.ForeignKey("person.id"), nullable=False),
    sa.Column("profile", sa.String(20), nullable=False),
    sa.Column("valid_from_ms", sa.BigInteger),
    sa.Column("card_id", sa.ForeignKey("card.id")),
    sa.Column("fault", sa.String(200)),
)
