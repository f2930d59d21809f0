# SPDX-License-Identifier: EUPL-1.2
"""Writes journal entries until it is killed, and prints each place once its future says that it is on disk.

A life says `epoch sequence` of each acknowledged entry.
"""

import sys
import threading
from concurrent.futures import Future

from support.lives import each_line, say

from cardservice.database import open_databases
from cardservice.journal.rules import Place
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder

OUTSTANDING = 300


def write_until_killed(url: str) -> None:
    databases = open_databases(url)
    journal = Journal(lambda stream, purpose: f"{stream} {purpose}".encode().ljust(32, b".")[:32])
    journal.begin_epoch(databases.record, 0)
    recorder = Recorder(databases.record, (journal,))
    recorder.start()
    room = threading.Semaphore(OUTSTANDING)

    def acknowledged(future: "Future[Place]") -> None:
        place = future.result()
        say(f"{place.epoch} {place.sequence}")
        room.release()

    number = 0
    while True:
        number += 1
        room.acquire()
        entry = Entry("door", number, {"number": number}, person=number % 50, personal={"person": number % 50})
        recorder.submit(lambda connection, entry=entry: journal.append(connection, entry)).add_done_callback(
            acknowledged
        )


if __name__ == "__main__":
    each_line(lambda _: write_until_killed(sys.argv[1]))
