# SPDX-License-Identifier: EUPL-1.2
"""A desk with real lockers for tests, in a folder whose path is short enough for its sockets."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.waiting import wait_until

from rig.sessions import Desk, DeskSession

UTE = DeskSession("c1", "berger")
ANNA = DeskSession("c2", "schmidt")


@contextmanager
def desk(*sessions: DeskSession, lockers: bool = True) -> Iterator[Desk]:
    """Run a desk with these sessions while the context lasts; nobody has locked anything yet."""
    with tempfile.TemporaryDirectory(prefix="desk-") as folder, Desk(Path(folder), sessions, lockers=lockers) as made:
        yield made


def wait_locked(at: Desk, session: DeskSession, limit_s: float = 15.0) -> None:
    """Return once the lock window of a session is there."""
    wait_until(lambda: at.is_locked(session.number), limit_s)


def wait_open(at: Desk, session: DeskSession, limit_s: float = 15.0) -> None:
    """Return once the lock window of a session is gone."""
    wait_until(lambda: not at.is_locked(session.number), limit_s)
