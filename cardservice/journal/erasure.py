# SPDX-License-Identifier: EUPL-1.2
"""Erasing the personal part of lines: the chain still verifies, since it covers what was sealed by its digest alone.

What is sealed goes, the pseudonym of whom it was about, and with the last line of somebody the key of theirs in that
stream. The open part stays: what happened, when and where, about nobody. Runs inside the recorder's transaction.
"""

from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.journal.rules import Place
from cardservice.journal.service import Journal
from cardservice.journal.store import journal_entry, journal_subject, journal_subject_key

_E: Final = journal_entry.c
_S: Final = journal_subject.c
_K: Final = journal_subject_key.c
_NEVER_AGAIN: Final = (
    sa.delete(journal_subject_key)
    .where(_K.stream == sa.bindparam("in_stream"), _K.pseudonym == sa.bindparam("of"))
    .where(~sa.exists().where(_S.pseudonym == _K.pseudonym, _S.stream == _K.stream))
)


def erase(connection: Connection, journal: Journal, places: Iterable[Place]) -> int:
    """Erase the personal part of the lines at these places; return how many still had one."""
    journal.write_gathered(connection)
    erased = 0
    for (stream, epoch), chain in groupby(sorted(places), key=lambda place: (place.stream, place.epoch)):
        sequences = [place.sequence for place in chain]
        erased += _erase_lines(connection, journal, Place(stream, epoch, 0), sequences)
    return erased


def _erase_lines(connection: Connection, journal: Journal, chain: Place, sequences: Collection[int]) -> int:
    mine = (_S.stream == chain.stream, _S.epoch == chain.epoch, _S.sequence.in_(sequences))
    pseudonyms = set(connection.execute(sa.select(_S.pseudonym).where(*mine).distinct()).scalars())
    connection.execute(sa.delete(journal_subject).where(*mine))
    lines = (_E.stream == chain.stream, _E.epoch == chain.epoch, _E.sequence.in_(sequences), _E.sealed.is_not(None))
    erased = connection.execute(sa.update(journal_entry).where(*lines).values(sealed=None)).rowcount
    pseudonyms.discard(journal.nobodys(chain.stream))
    if pseudonyms:
        connection.execute(_NEVER_AGAIN, [{"in_stream": chain.stream, "of": one} for one in sorted(pseudonyms)])
        journal.forget_keys(chain.stream, pseudonyms)
    return erased
