# SPDX-License-Identifier: EUPL-1.2
"""Sends what is due to one webhook, until there is nothing more or somebody kills it: arguments are URL and number."""

import ipaddress
import sys

from cardservice.clock import SystemClock
from cardservice.database import open_databases
from cardservice.webhooks.courier import Carriage, deliver_next
from cardservice.webhooks.outgoing import Sender
from cardservice.webhooks.rules import TargetRules
from cardservice.webhooks.service import SecretBox


def main() -> None:
    """Run."""
    loopback = TargetRules((ipaddress.ip_network("127.0.0.0/8"),), plain_http=True)
    databases = open_databases(sys.argv[1])
    box = SecretBox(lambda: b"k" * 32)
    carriage = Carriage(databases.state, box, Sender(loopback), SystemClock(), lambda: 0.5)
    while deliver_next(carriage, int(sys.argv[2])):
        pass
    databases.close()


if __name__ == "__main__":
    main()
