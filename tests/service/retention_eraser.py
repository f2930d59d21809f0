# SPDX-License-Identifier: EUPL-1.2
"""Erases what is over until it is killed; says `batch` before each transaction and `done` at the end."""

import sys
import time

from service.chains import secret
from service.fake_clock import FakeClock
from support.lives import each_line, say

from cardservice.database import open_databases
from cardservice.journal.service import Journal
from cardservice.keeping import RetentionSection
from cardservice.ledger.service import Ledger
from cardservice.recorder import Recorder
from cardservice.retention.service import Hands, Retention


def erase(url: str, now_ms: int) -> None:
    databases = open_databases(url)
    clock = FakeClock(wall_ms=now_ms)
    journal, ledger = Journal(secret), Ledger(clock)
    recorder = Recorder(databases.record, (journal, ledger))
    recorder.start()

    def told(pause_s: float) -> bool:
        say("batch")
        time.sleep(pause_s)
        return False

    Retention(
        Hands(databases, recorder, journal, ledger, lambda: secret("canteen", "pseudonym"), clock, told),
        RetentionSection(),
    ).run()
    recorder.stop()
    databases.close()
    say("done")


if __name__ == "__main__":
    each_line(lambda line: erase(sys.argv[1], int(line)))
