# SPDX-License-Identifier: EUPL-1.2
"""The controls that Active Directory is followed with: DirSync, change notification, deleted objects.

[MS-ADTS], sections 3.1.1.3.4.1.3 (DirSync), 3.1.1.3.4.1.9 (notification), 3.1.1.3.4.1.14 (deleted objects).
"""

import enum
from typing import Final

from integrations.ldap import ber
from integrations.ldap.errors import MalformedBer

DIRSYNC_OID: Final = "1.2.840.113556.1.4.841"
NOTIFICATION_OID: Final = "1.2.840.113556.1.4.528"
SHOW_DELETED_OID: Final = "1.2.840.113556.1.4.417"

MAX_POSITION_BYTES: Final = 16_384
_ANSWER_BYTES: Final = 1 << 20
_FLAG_BYTES: Final = 4


class DirSyncFlag(enum.IntFlag):
    """How changes are shown."""

    OBJECT_SECURITY = 0x0000_0001
    """Show what the account may read; needs no right of its own, but the one to list deleted objects to see them."""
    INCREMENTAL_VALUES = 0x8000_0000
    """Show the members that came or went instead of all of them."""


def dirsync_request(position: bytes) -> bytes:
    """Return the value of the DirSync control; an empty position asks for everything since the beginning of time."""
    flags = DirSyncFlag.OBJECT_SECURITY | DirSyncFlag.INCREMENTAL_VALUES
    # The highest bit is set and Active Directory reads four octets: the number is written as the negative one it is.
    signed = ber.encode(ber.INTEGER, int(flags).to_bytes(_FLAG_BYTES, "big"))
    return ber.encode(ber.SEQUENCE, signed + ber.encode_integer(_ANSWER_BYTES) + ber.encode(ber.OCTET_STRING, position))


def read_dirsync(value: bytes) -> tuple[bool, bytes]:
    """Return whether more waits, and the position after this answer.

    Raises:
        MalformedBer: not such a value, or a position of more than 16 KiB.
    """
    start, end = ber.expect(value, 0, len(value), ber.SEQUENCE)
    more_start, more_end = ber.expect(value, start, end, ber.INTEGER)
    _, unused_end = ber.expect(value, more_end, end, ber.INTEGER)
    position_start, position_end = ber.expect(value, unused_end, end, ber.OCTET_STRING)
    if position_end - position_start > MAX_POSITION_BYTES:
        raise MalformedBer(
            f"a position of {position_end - position_start} bytes; at most {MAX_POSITION_BYTES} are kept"
        )
    return ber.read_integer(value, more_start, more_end) != 0, value[position_start:position_end]
