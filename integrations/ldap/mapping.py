# SPDX-License-Identifier: EUPL-1.2
"""From LDAP attributes to people and groups. Pure.

What decides about access is read strictly: a value that is unknown or cannot be parsed makes the person disabled and is
reported by attribute name. Values come as bytes, because a library's idea of dates and numbers is lossy.
"""

import datetime as dt
import functools
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cardservice.people.rules import DirectoryEntry, DirectoryGroup, DirectoryPerson, MalformedDn, normalise_dn

LOCKED_FOR_GOOD = b"000001010000Z"
"""pwdAccountLockedTime of an account that only an administrator can unlock (draft-behera-ldap-password-policy-10)."""

MAX_NAME_CHARACTERS = 256
MAX_LOGIN_CHARACTERS = 200
MAX_MAIL_CHARACTERS = 320
MAX_NUMBER_CHARACTERS = 64
MAX_PLAIN_DN = 512
_DAY_MS = 86_400_000
_NO_EXPIRY_DAY = -1
_DN_CACHE = 65_536
# One spelling only: printable ASCII without what separates or escapes, single inner spaces. But for case it is its own
# normal form.
_PLAIN_WORD = r"[!#-*\-./0-9:;<>?@A-Z\[\]^_`a-z{|}~]+"
_PLAIN_DN = re.compile(rf"(?:(?:^|,)[A-Za-z][A-Za-z0-9-]*={_PLAIN_WORD}(?: {_PLAIN_WORD})*)+")
_GENERALIZED_TIME = re.compile(
    rb"(\d{4})(\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)?)?(?:[.,](\d{1,9}))?(?:Z|([+-])(\d\d)(\d\d)?)"
)
_UID_PART = re.compile(r"#'[01]*'B$")

Values = Mapping[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class StatusAttribute:
    """An attribute whose value says whether an account may be used; compared without case.

    With `enabled_values`, a value in neither list is unknown and disables. Without, every other value enables.
    """

    name: str
    disabled_values: tuple[str, ...]
    enabled_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttributeMapping:
    """Which attribute means what; the defaults are the preset for OpenLDAP with inetOrgPerson and ppolicy."""

    group_classes: tuple[str, ...] = ("groupofnames", "groupofuniquenames", "groupofmembers")
    member: tuple[str, ...] = ("member", "uniquemember")
    group_name: tuple[str, ...] = ("cn",)
    person_name: tuple[str, ...] = ("displayname", "cn")
    login: str = "uid"
    mail: str = "mail"
    personnel_number: str = "employeenumber"
    password_policy_lock: str = "pwdaccountlockedtime"  # noqa: S105 - the name of an attribute
    shadow_expire: str = "shadowexpire"
    valid_from: str = ""
    valid_until: str = ""
    status: tuple[StatusAttribute, ...] = ()

    def attributes(self) -> tuple[str, ...]:
        """Return every attribute to ask for, operational ones by name."""
        named = (
            "objectclass",
            "entryuuid",
            "entrycsn",
            *self.member,
            *self.group_name,
            *self.person_name,
            *(self.login, self.mail, self.personnel_number, self.password_policy_lock, self.shadow_expire),
            *(self.valid_from, self.valid_until),
            *(status.name for status in self.status),
        )
        return tuple(dict.fromkeys(name.lower() for name in named if name))


@dataclass(frozen=True, slots=True)
class Mapped:
    """An entry, and the names of attributes that could not be read."""

    entry: DirectoryEntry
    unreadable: tuple[str, ...] = ()


@dataclass(slots=True)
class _Access:
    """What is learned about one account while its attributes are read."""

    enabled: bool = True
    locked_out: bool = False
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    unreadable: list[str] = field(default_factory=list)

    def refuse(self, attribute: str) -> None:
        self.enabled = False
        self.unreadable.append(attribute)

    def end_at(self, instant_ms: int) -> None:
        self.valid_until_ms = instant_ms if self.valid_until_ms is None else min(self.valid_until_ms, instant_ms)


def map_entry(mapping: AttributeMapping, stable_id: str, dn: str, attributes: Values) -> Mapped:
    """Return the person or group that an entry describes.

    `attributes` has lower-case names. An entry whose object classes cannot be read is a disabled person.
    """
    classes = {value.decode("ascii", "replace").lower() for value in attributes.get("objectclass", ())}
    if classes.intersection(name.lower() for name in mapping.group_classes):
        return _map_group(mapping, stable_id, dn, attributes)
    return _map_person(mapping, stable_id, dn, attributes, classes_known=bool(classes))


def read_stable_id(attributes: Values) -> str | None:
    """Return the entryUUID attribute as lower-case UUID text, None where there is none or it is not one."""
    values = attributes.get("entryuuid", ())
    try:
        return str(uuid.UUID(values[0].decode("ascii"))) if len(values) == 1 else None
    except ValueError:
        return None


@functools.lru_cache(maxsize=_DN_CACHE)
def comparable_dn(dn: str) -> str:
    """Return `normalise_dn(dn)`, 20 times as fast for the plain spelling that servers send.

    Raises:
        MalformedDn: as `normalise_dn`.
    """
    if len(dn) <= MAX_PLAIN_DN and _PLAIN_DN.fullmatch(dn):
        return dn.lower()
    return normalise_dn(dn)


def _map_group(mapping: AttributeMapping, stable_id: str, dn: str, attributes: Values) -> Mapped:
    unreadable: list[str] = []
    members: set[str] = set()
    for kind in mapping.member:
        for value in attributes.get(kind.lower(), ()):
            try:
                members.add(comparable_dn(_UID_PART.sub("", value.decode("utf-8"))))
            except (MalformedDn, UnicodeDecodeError):
                unreadable.append(kind)
    own_dn = _own_dn(stable_id, dn, unreadable)
    name = _first_text(attributes, mapping.group_name, MAX_NAME_CHARACTERS) or own_dn[:MAX_NAME_CHARACTERS]
    group = DirectoryGroup(stable_id=stable_id, dn=own_dn, name=name, member_dns=frozenset(members))
    return Mapped(group, tuple(dict.fromkeys(unreadable)))


def _map_person(
    mapping: AttributeMapping, stable_id: str, dn: str, attributes: Values, *, classes_known: bool
) -> Mapped:
    access = _Access()
    if not classes_known:
        access.refuse("objectclass")
    own_dn = _own_dn(stable_id, dn, access.unreadable)
    if access.unreadable:
        access.enabled = False
    _read_password_policy(mapping, attributes, access)
    _read_shadow(mapping, attributes, access)
    _read_validity(mapping, attributes, access)
    for status in mapping.status:
        _read_status(status, attributes, access)
    exact = functools.partial(_exact_text, attributes, access.unreadable)
    person = DirectoryPerson(
        stable_id=stable_id,
        dn=own_dn,
        name=_first_text(attributes, mapping.person_name, MAX_NAME_CHARACTERS) or own_dn[:MAX_NAME_CHARACTERS],
        enabled=access.enabled,
        locked_out=access.locked_out,
        valid_from_ms=access.valid_from_ms,
        valid_until_ms=access.valid_until_ms,
        login=exact(mapping.login, MAX_LOGIN_CHARACTERS),
        mail=exact(mapping.mail, MAX_MAIL_CHARACTERS),
        personnel_number=exact(mapping.personnel_number, MAX_NUMBER_CHARACTERS),
    )
    return Mapped(person, tuple(dict.fromkeys(access.unreadable)))


def _own_dn(stable_id: str, dn: str, unreadable: list[str]) -> str:
    """A name that cannot be read becomes one that no group can hold."""
    try:
        return comparable_dn(dn)
    except MalformedDn:
        unreadable.append("dn")
        return f"entryuuid={stable_id}"


def _read_password_policy(mapping: AttributeMapping, attributes: Values, access: _Access) -> None:
    for value in attributes.get(mapping.password_policy_lock.lower(), ()):
        if value == LOCKED_FOR_GOOD:
            access.enabled = False
        elif read_generalized_time_ms(value) is not None:
            access.locked_out = True
        else:
            access.refuse(mapping.password_policy_lock)


def _read_shadow(mapping: AttributeMapping, attributes: Values, access: _Access) -> None:
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


def _read_validity(mapping: AttributeMapping, attributes: Values, access: _Access) -> None:
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


def _read_status(status: StatusAttribute, attributes: Values, access: _Access) -> None:
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


def _first_text(attributes: Values, names: Sequence[str], limit: int) -> str | None:
    """Return the first value of the first name that has one, for showing: cut and repaired rather than refused."""
    for name in names:
        for value in attributes.get(name.lower(), ()):
            text = value.decode("utf-8", "replace").replace("\0", "\ufffd").strip()
            if text:
                return text[:limit]
    return None


def _exact_text(attributes: Values, unreadable: list[str], name: str, limit: int) -> str | None:
    """Return the first value, which others compare with: whole, or None and reported."""
    values = attributes.get(name.lower(), ()) if name else ()
    if not values:
        return None
    try:
        text = values[0].decode("utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > limit or "\0" in text:
        unreadable.append(name)
        return None
    return text
