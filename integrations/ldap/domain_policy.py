# SPDX-License-Identifier: EUPL-1.2
"""How long Active Directory locks an account out after wrong passwords: what the domain says, asked once a connection.

An account says only when its lock began. A fine-grained password policy may say another time for some; it is not read.
"""

import re
from dataclasses import replace
from typing import Final

from integrations.ldap.asking import Patience, entries
from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.dirsync_server import ANYTHING, naming_context
from integrations.ldap.errors import AnswerBroken, SearchRefused, SettingsRefused
from integrations.ldap.settings import LdapSettings

UNREADABLE: Final = (
    "does not show how long it locks accounts out after wrong passwords (lockoutDuration of the domain); set lock_out_s"
)
_DURATION: Final = "lockoutduration"
_INTERVALS_PER_MS: Final = 10_000
_FOR_GOOD: Final = -(2**63)


def with_domain_policy(settings: LdapSettings, channel: Channel, patience: Patience) -> LdapSettings | None:
    """Return the settings with the duration that the domain says; None where it cannot be read.

    Of servers that know no such policy the settings are returned as they are.

    Raises:
        LdapTrouble: the server does not answer.
    """
    if not settings.mapping.lockout_time:
        return settings
    try:
        contexts = _read(channel, "", "namingcontexts", patience)
        values = _read(channel, naming_context(settings, channel.url, contexts), _DURATION, patience)
    except (SearchRefused, SettingsRefused):
        return None
    if len(values) != 1 or not re.fullmatch(rb"-?\d{1,19}", values[0]):
        return None
    return replace(settings, mapping=replace(settings.mapping, lock_out_ms=_lasts_ms(int(values[0]))))


def _read(channel: Channel, dn: str, attribute: str, patience: Patience) -> list[bytes]:
    message_id = channel.search(encode_search(dn, ANYTHING, (attribute,), whole_tree=False))
    found = list(entries(channel, message_id, patience))
    if len(found) > 1:
        raise AnswerBroken(f"{channel.url} answers with several entries where one was asked for.")
    return found[0].attributes.get(attribute, []) if found else []


def _lasts_ms(intervals: int) -> int | None:
    """Return how long a lock-out lasts, None where only an administrator ends it ([MS-SAMR], 3.1.1.5)."""
    return None if intervals >= 0 or intervals == _FOR_GOOD else -intervals // _INTERVALS_PER_MS
