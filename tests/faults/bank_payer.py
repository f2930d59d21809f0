# SPDX-License-Identifier: EUPL-1.2
"""Pays until it is killed, and prints each payment once its future says that it is on disk.

A life is told `START`: it asks for the payments START, START + 1, ... in order, each under the key of its number, and
says `number name` of each acknowledged one.
"""

import sys
import threading
from concurrent.futures import Future
from functools import partial

from faults.bank import payment_number, request
from sqlalchemy.engine import Connection
from support.lives import each_line, say

from cardservice.canteen.service import Canteen, Paid
from cardservice.database import open_databases
from cardservice.ledger.service import Answer, Ledger
from cardservice.recorder import Recorder

OUTSTANDING = 100


def pay_until_killed(url: str, start: int) -> None:
    databases = open_databases(url)
    ledger = Ledger()
    canteen = Canteen(ledger)
    recorder = Recorder(databases.record, (ledger,))
    recorder.start()
    room = threading.Semaphore(OUTSTANDING)

    def unit(number: int, connection: Connection) -> Answer:
        def make() -> Answer:
            paid = canteen.pay(connection, payment_number(number))
            assert isinstance(paid, Paid)
            return {"payment": paid.payment}

        return canteen.once(connection, *request(number), make)

    def acknowledged(number: int, future: "Future[Answer]") -> None:
        say(f"{number} {future.result()['payment']}")
        room.release()

    for number in range(start, sys.maxsize):
        room.acquire()
        canteen.expect_request(*request(number)[:2])
        recorder.submit(partial(unit, number)).add_done_callback(partial(acknowledged, number))


if __name__ == "__main__":
    each_line(lambda line: pay_until_killed(sys.argv[1], int(line)))
