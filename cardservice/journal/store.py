# SPDX-License-Identifier: EUPL-1.2
"""Tables of the journal, in the record store."""

from typing import Final

import sqlalchemy as sa

from cardservice.database import RECORD, RowNumber

journal_epoch = sa.Table(
    "journal_epoch",
    RECORD,
    sa.Column("epoch", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# The streams that people read as one list, as the index below and the list's query must both have it, word for word:
# a database sees that the index serves the query only where no parameter stands in between. SQLite would take the
# table's key, which begins with the stream, and sort everything: so the stream is no plain column there.
STREAM_OF: Final = {"sqlite": "stream || ''", "postgresql": "stream"}
AUDITED: Final = {name: f"{stream} IN ('access', 'audit', 'sign_in')" for name, stream in STREAM_OF.items()}
AUDIT_INDEX: Final = "ix_journal_entry_audit"

journal_entry = sa.Table(
    "journal_entry",
    RECORD,
    sa.Column("stream", sa.String(20), primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    # The personal part, encrypted under the person's key of this use; erased by erasing it or the key.
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("sealed_digest", sa.LargeBinary(32), nullable=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
    # What has a personal part yet, the oldest first: that is what is erased one day.
    sa.Index(
        "ix_journal_entry_sealed",
        "stream",
        "at_ms",
        sqlite_where=sa.text("sealed IS NOT NULL"),
        postgresql_where=sa.text("sealed IS NOT NULL"),
    ),
    # What people read of it, the newest first.
    sa.Index(
        AUDIT_INDEX,
        *("at_ms", "epoch", "sequence", "stream"),
        sqlite_where=sa.text(AUDITED["sqlite"]),
        postgresql_where=sa.text(AUDITED["postgresql"]),
    ),
)

# The pseudonym a person has in one stream, entry by entry: apart, so that it can be erased without touching the chain.
journal_subject = sa.Table(
    "journal_subject",
    RECORD,
    sa.Column("stream", sa.String(20), primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("pseudonym", sa.String(32), nullable=False, index=True),
)

journal_subject_key = sa.Table(
    "journal_subject_key",
    RECORD,
    sa.Column("stream", sa.String(20), primary_key=True),
    sa.Column("pseudonym", sa.String(32), primary_key=True),
    sa.Column("wrapped_key", sa.LargeBinary(64), nullable=False),
)

# The newest link of every chain, so that a chain cut short is noticed.
journal_head = sa.Table(
    "journal_head",
    RECORD,
    sa.Column("stream", sa.String(20), primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
)

# What points in mode "counts" leave behind: how many taps of a day ended how, nobody's name, no minute.
journal_count = sa.Table(
    "journal_count",
    RECORD,
    sa.Column("stream", sa.String(20), primary_key=True),
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(40), primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)
