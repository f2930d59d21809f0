# SPDX-License-Identifier: EUPL-1.2
"""What a directory says about one account: disabled, locked out, valid from when to when. Pure.

Read strictly: a value that is unknown or cannot be parsed disables and is reported by attribute name.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cardservice.people.rules import NO_KNOWN_END_MS
from integrations.ldap.mapping_attributes import AttributeMapping, StatusAttribute

LOCKED_FOR_GOOD = b"000001010000Z"
"""pwdAccountLockedTime of an account that only an administrator can unlock (draft-behera-ldap-password-policy-10)."""

LOCKED_UNTIL_RESET = b"19700101000000Z"
"""accountUnlockTime of 389 where the password policy unlocks nobody by itself (passwordUnlock: off)."""

NEVER_FILETIMES = frozenset({0, 2**63 - 1})
"""Both values of accountExpires mean that the account does not expire ([MS-ADA1], 2.1)."""

_DAY_MS = 86_400_000
_NO_EXPIRY_DAY = -1
_ACCOUNT_DISABLED = 0x0002
_LOCKED_OUT = 0x0010
# FILETIME counts 100 ns since 1601-01-01 ([MS-DTYP], 2.3.3).
_FILETIME_AT_1970 = 116_444_736_000_000_000
_FILETIMES_PER_MS = 10_000
_WHOLE_NUMBER = re.compile(rb"-?\d{1,19}")
_GENERALIZED_TIME = re.compile(
    rb"(\d{4})(\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)?)?(?:[.,](\d{1,9}))?(?:Z|([+-])(\d\d)(\d\d)?)"
)

Values = Mapping[str, Sequence[bytes]]


@dataclass(slots=True)
class Access:
    """What is learned about one account while its attributes are read."""

    enabled: bool = True
    locked_until_ms: int | None = None
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    unreadable: list[str] = field(default_factory=list)

    def refuse(self, attribute: str) -> None:
        """Disable: what `attribute` says is not understood."""
        self.enabled = False
        self.unreadable.append(attribute)

    def lock_until(self, instant_ms: int) -> None:
        """Note a lock after wrong passwords; the latest end counts."""
        self.locked_until_ms = instant_ms if self.locked_until_ms is None else max(self.locked_until_ms, instant_ms)

    def lock_since(self, instant_ms: int, lock_out_ms: int | None) -> None:
        """Note a lock of which the beginning is known, and how long it lasts (None: nobody knows)."""
        self.lock_until(NO_KNOWN_END_MS if lock_out_ms is None else instant_ms + lock_out_ms)

    def end_at(self, instant_ms: int) -> None:
        """Note an end of validity; the earliest counts."""
        self.valid_until_ms = instant_ms if self.valid_until_ms is None else min(self.valid_until_ms, instant_ms)


def read_access(mapping: AttributeMapping, attributes: Values, access: Access) -> None:
    """Take everything that `attributes` say about an account into `access`."""
    _read_password_policy(mapping, attributes, access)
    _read_unlock_time(mapping, attributes, access)
    _read_shadow(mapping, attributes, access)
    _read_validity(mapping, attributes, access)
    for status in mapping.status:
        _read_status(status, attributes, access)
    if mapping.account_control:
        _read_account_control(mapping, attributes, access)
        _read_lock_out(mapping, attributes, access)
    _read_account_expiry(mapping, attributes, access)


def _read_account_control(mapping: AttributeMapping, attributes: Values, access: Access) -> None:
    """Active Directory: every account says whether it is disabled; one that does not may not be read by us."""
    flags = _whole_numbers(mapping.account_control, attributes)
    if len(flags) != 1 or flags[0] is None:
        access.refuse(mapping.account_control)
    elif flags[0] & _ACCOUNT_DISABLED:
        access.enabled = False


def _read_lock_out(mapping: AttributeMapping, attributes: Values, access: Access) -> None:
    """Active Directory: the computed flags know when a lock has run out, its time stays until the next sign-in."""
    computed, times = (_whole_numbers(name, attributes) for name in (mapping.computed_control, mapping.lockout_time))
    if None in computed:
        access.refuse(mapping.computed_control)
        return
    if computed and not any(flags & _LOCKED_OUT for flags in computed if flags is not None):
        return
    if None in times:
        access.refuse(mapping.lockout_time)
    since = [filetime for filetime in times if filetime]
    for filetime in since:
        access.lock_since(_filetime_ms(filetime), mapping.lock_out_ms)
    if computed and not since:
        access.lock_until(NO_KNOWN_END_MS)


def _read_account_expiry(mapping: AttributeMapping, attributes: Values, access: Access) -> None:
    for filetime in _whole_numbers(mapping.account_expires, attributes):
        if filetime is None:
            access.refuse(mapping.account_expires)
        elif filetime not in NEVER_FILETIMES:
            access.end_at(_filetime_ms(filetime))


def _filetime_ms(filetime: int) -> int:
    return (filetime - _FILETIME_AT_1970) // _FILETIMES_PER_MS


def _whole_numbers(name: str, attributes: Values) -> list[int | None]:
    """Return the values as numbers, None for one that is none; nothing where there is no such attribute."""
    values = attributes.get(name.lower(), ()) if name else ()
    return [int(value) if _WHOLE_NUMBER.fullmatch(value) else None for value in values]


def _read_password_policy(mapping: AttributeMapping, attributes: Values, access: Access) -> None:
    for value in attributes.get(mapping.password_policy_lock.lower(), ()):
        since_ms = read_generalized_time_ms(value)
        if value == LOCKED_FOR_GOOD:
            access.enabled = False
        elif since_ms is not None:
            access.lock_since(since_ms, mapping.lock_out_ms)
        else:
            access.refuse(mapping.password_policy_lock)


def _read_unlock_time(mapping: AttributeMapping, attributes: Values, access: Access) -> None:
    for value in attributes.get(mapping.unlock_time.lower(), ()):
        until_ms = NO_KNOWN_END_MS if value == LOCKED_UNTIL_RESET else read_generalized_time_ms(value)
        if until_ms is None:
            access.refuse(mapping.unlock_time)
        else:
            access.lock_until(until_ms)


def _read_shadow(mapping: AttributeMapping, attributes: Values, access: Access) -> None:
    """Days since 1970-01-01 UTC; the account ends when that day begins (shadow(5)). Only -1 means never."""
    for value in attributes.get(mapping.shadow_expire.lower(), ()):
        if not re.fullmatch(rb"-?\d{1,7}", value):
            access.refuse(mapping.shadow_expire)
            continue
        days = int(value)
        if days > 0:
            access.end_at(days * _DAY_MS)
        elif days != _NO_EXPIRY_DAY:
            access.refuse(mapping.shadow_expire)


def _read_validity(mapping: AttributeMapping, attributes: Values, access: Access) -> None:
    for value in attributes.get(mapping.valid_until.lower(), ()):
        until_ms = read_generalized_time_ms(value)
        if until_ms is None:
            access.refuse(mapping.valid_until)
        else:
            access.end_at(until_ms)
    for value in attributes.get(mapping.valid_from.lower(), ()):
        from_ms = read_generalized_time_ms(value)
        if from_ms is None:
            access.refuse(mapping.valid_from)
        else:
            access.valid_from_ms = from_ms if access.valid_from_ms is None else max(access.valid_from_ms, from_ms)


def _read_status(status: StatusAttribute, attributes: Values, access: Access) -> None:
    disabled = {value.casefold() for value in status.disabled_values}
    enabled = {value.casefold() for value in status.enabled_values}
    for value in attributes.get(status.name.lower(), ()):
        text = value.decode("utf-8", "replace").replace("\0", "\ufffd").strip().casefold()
        if text in disabled:
            access.enabled = False
        elif enabled and text not in enabled:
            access.refuse(status.name)


def read_generalized_time_ms(value: bytes) -> int | None:
    """Return a generalizedTime (RFC 4517, section 3.3.13) as milliseconds since 1970 UTC, None if it is not one."""
    match = _GENERALIZED_TIME.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour = (int(match[part]) for part in range(1, 5))
    # A fraction belongs to the last part that is written: hours, minutes or seconds.
    unit_ms = 1_000 if match[6] else 60_000 if match[5] else 3_600_000
    fraction_ms = int(match[7]) * unit_ms // 10 ** len(match[7]) if match[7] else 0
    seconds = int(match[6] or 0)
    leap_s = 1 if seconds == 60 else 0
    try:
        instant = dt.datetime(year, month, day, hour, int(match[5] or 0), seconds - leap_s, tzinfo=dt.UTC)
    except ValueError:
        return None
    offset_min = int(match[9]) * 60 + int(match[10] or 0) if match[8] else 0
    if match[8] == b"-":
        offset_min = -offset_min
    since_1970 = instant - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    whole_ms = (since_1970.days * 86_400 + since_1970.seconds + leap_s - offset_min * 60) * 1_000
    return whole_ms + fraction_ms
