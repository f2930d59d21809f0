# SPDX-License-Identifier: EUPL-1.2
"""The rig's 389 Directory Server: alone on loopback, in its own directory, and gone afterwards."""

import socket
from pathlib import Path

import pytest
from support.ds389 import SUFFIX, Ds389

from rig.errors import Ds389FailedError

pytestmark = pytest.mark.ds389


def listening_addresses() -> set[str]:
    """Every address and port somebody listens on, in the kernel's own spelling."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add(fields[1])
    return found


def test_it_keeps_its_entries_listens_on_loopback_only_and_leaves_nothing_behind() -> None:
    server = Ds389()
    try:
        server.start().prepare()
        ports = {int(url.rpartition(":")[2]) for url in (server.url, server.plain_url)}
        mine = {address for address in listening_addresses() if int(address.rpartition(":")[2], 16) in ports}
        loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
        assert {address.partition(":")[0] for address in mine} == {loopback}
        server.kill()
        server.start()
        with server.admin() as admin:
            assert admin.search(SUFFIX, "(objectClass=domain)")
        server.stop()
        server.stop()
        assert not listening_addresses() & mine
    finally:
        server.close()
    assert not server.directory.exists()


def test_what_does_not_run_cannot_be_paused() -> None:
    server = Ds389()
    try:
        with pytest.raises(Ds389FailedError, match="not running"):
            server.pause()
    finally:
        server.close()
