# SPDX-License-Identifier: EUPL-1.2
"""Pays until it is killed, and prints each payment once its future says that it is on disk.

For every line `START` on standard input a child is forked, so that many deaths cost one start of the interpreter. It
asks for the payments START, START + 1, ... in order, each under the key of its number, and prints `pid N`, then
`number name` for each acknowledged one; when it is dead, its parent prints `ended`.
"""

import os
import sys
import threading
from concurrent.futures import Future
from functools import partial

from faults.bank import WALLETS, payment_number, request
from sqlalchemy.engine import Connection

from cardservice.canteen.service import Canteen, Paid
from cardservice.database import open_databases
from cardservice.ledger.service import Answer, Ledger
from cardservice.recorder import Recorder

OUTSTANDING = 100


def say(line: str) -> None:
    """Print unbuffered: what was acknowledged must have left the process before it dies."""
    os.write(1, f"{line}\n".encode())


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

    say(f"pid {os.getpid()}")
    for number in range(start, sys.maxsize):
        room.acquire()
        canteen.expect(*request(number)[:2], payment_number(number))
        recorder.submit(partial(unit, number)).add_done_callback(partial(acknowledged, number))


def main() -> None:
    assert len(WALLETS) > 1
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            pay_until_killed(sys.argv[1], int(line))
        os.waitpid(child, 0)
        say("ended")


if __name__ == "__main__":
    main()
