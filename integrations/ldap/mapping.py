# SPDX-License-Identifier: EUPL-1.2
"""From LDAP attributes to people and groups. Pure.

What decides about access is read strictly: a value that is unknown or cannot be parsed makes the person disabled and is
reported by attribute name. Values come as bytes, because a library's idea of dates and numbers is lossy.
"""

import functools
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from cardservice.courtesy import give_way
from cardservice.people.rules import DirectoryEntry, DirectoryGroup, DirectoryPerson, MalformedDn, normalise_dn
from integrations.ldap.mapping_access import Access, Values, read_access
from integrations.ldap.mapping_attributes import AttributeMapping, StatusAttribute

__all__ = [
    "AttributeMapping",
    "Mapped",
    "StatusAttribute",
    "comparable_dn",
    "map_entry",
    "read_primary_group_sid",
    "read_sid",
    "read_stable_id",
    "sid_text",
]

MAX_NAME_CHARACTERS = 256
MAX_LOGIN_CHARACTERS = 200
MAX_MAIL_CHARACTERS = 320
MAX_NUMBER_CHARACTERS = 64
MAX_PLAIN_DN = 512
_GUID_BYTES = 16
_SID_HEAD_BYTES = 8
_MAX_SID_PARTS = 15
_SID_TEXT = re.compile(rb"S-1-(\d{1,15})((?:-\d{1,10}){1,15})")
_RID_BYTES = 4
_DN_CACHE = 65_536
# One spelling only: printable ASCII without what separates or escapes, single inner spaces. But for case it is its own
# normal form.
_PLAIN_WORD = r"[!#-*\-./0-9:;<>?@A-Z\[\]^_`a-z{|}~]+"
_PLAIN_DN = re.compile(rf"(?:(?:^|,)[A-Za-z][A-Za-z0-9-]*={_PLAIN_WORD}(?: {_PLAIN_WORD})*)+")
_UID_PART = re.compile(r"#'[01]*'B$")


@dataclass(frozen=True, slots=True)
class Mapped:
    """An entry, and the names of attributes that could not be read."""

    entry: DirectoryEntry
    unreadable: tuple[str, ...] = ()


def map_entry(mapping: AttributeMapping, stable_id: str, dn: str, attributes: Values) -> Mapped:
    """Return the person or group that an entry describes.

    `attributes` has lower-case names. An entry whose object classes cannot be read is a disabled person.
    """
    classes = {value.decode("ascii", "replace").lower() for value in attributes.get("objectclass", ())}
    if classes.intersection(name.lower() for name in mapping.group_classes):
        return _map_group(mapping, stable_id, dn, attributes)
    return _map_person(mapping, stable_id, dn, attributes, classes_known=bool(classes))


def read_stable_id(attributes: Values, kind: str = "entryuuid") -> str | None:
    """Return the directory's own id of an entry as lower-case UUID text, None where there is none or it is not one.

    objectGUID is 16 bytes of which the first three parts are little-endian, nsUniqueId four parts of eight digits,
    everything else UUID text.
    """
    values = attributes.get(kind.lower(), ())
    if len(values) != 1:
        return None
    try:
        if kind.lower() == "objectguid":
            return str(uuid.UUID(bytes_le=values[0])) if len(values[0]) == _GUID_BYTES else None
        return str(uuid.UUID(values[0].decode("ascii")))
    except ValueError:
        return None


def read_sid(mapping: AttributeMapping, attributes: Values) -> bytes | None:
    """Return the security identifier of an entry ([MS-DTYP], 2.4.2.2), None where there is none that can be read.

    Active Directory holds it in binary form, others (sambaSID, ipaNTSecurityIdentifier) as text.
    """
    values = attributes.get(mapping.sid.lower(), ()) if mapping.sid else ()
    value = values[0] if len(values) == 1 else b""
    if written := _SID_TEXT.fullmatch(value):
        value = _sid_bytes(int(written[1]), [int(part) for part in written[2].split(b"-")[1:]])
    parts = value[1] if len(value) > _SID_HEAD_BYTES else 0
    well_formed = 1 <= parts <= _MAX_SID_PARTS and len(value) == _SID_HEAD_BYTES + parts * _RID_BYTES
    return value if well_formed and value[0] == 1 else None


def _sid_bytes(authority: int, parts: Sequence[int]) -> bytes:
    """Return the binary form; empty where a number does not fit into it."""
    if authority >= 1 << 48 or any(part >= 1 << 32 for part in parts):
        return b""
    head = bytes((1, len(parts))) + authority.to_bytes(6, "big")
    return head + b"".join(part.to_bytes(_RID_BYTES, "little") for part in parts)


def sid_text(sid: bytes) -> str:
    """Return a well-formed security identifier as it is usually written, S-1-5-21-..."""
    parts = [sid[at : at + _RID_BYTES] for at in range(_SID_HEAD_BYTES, len(sid), _RID_BYTES)]
    authority = int.from_bytes(sid[2:_SID_HEAD_BYTES], "big")
    return "-".join(("S-1", str(authority), *(str(int.from_bytes(part, "little")) for part in parts)))


def read_primary_group_sid(mapping: AttributeMapping, attributes: Values) -> bytes | None:
    """Return the security identifier of a person's primary group, which does not name them in its `member`.

    It is the person's own with another last part ([MS-ADTS], 3.1.1.4.5.19).
    """
    own = read_sid(mapping, attributes)
    values = attributes.get(mapping.primary_group.lower(), ()) if mapping.primary_group else ()
    if own is None or len(values) != 1 or not re.fullmatch(rb"\d{1,10}", values[0]) or int(values[0]) >= 1 << 32:
        return None
    return own[:-_RID_BYTES] + int(values[0]).to_bytes(_RID_BYTES, "little")


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
            give_way()
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
    access = Access()
    if not classes_known:
        access.refuse("objectclass")
    own_dn = _own_dn(stable_id, dn, access.unreadable)
    if access.unreadable:
        access.enabled = False
    read_access(mapping, attributes, access)
    exact = functools.partial(_exact_text, attributes, access.unreadable)
    sid = read_sid(mapping, attributes)
    person = DirectoryPerson(
        stable_id=stable_id,
        dn=own_dn,
        name=_first_text(attributes, mapping.person_name, MAX_NAME_CHARACTERS) or own_dn[:MAX_NAME_CHARACTERS],
        enabled=access.enabled,
        locked_until_ms=access.locked_until_ms,
        valid_from_ms=access.valid_from_ms,
        valid_until_ms=access.valid_until_ms,
        login=exact(mapping.login, MAX_LOGIN_CHARACTERS),
        mail=exact(mapping.mail, MAX_MAIL_CHARACTERS),
        personnel_number=exact(mapping.personnel_number, MAX_NUMBER_CHARACTERS),
        upn=exact(mapping.upn, MAX_MAIL_CHARACTERS),
        sid=sid_text(sid) if sid is not None else None,
        department=_first_text(attributes, (mapping.department,), MAX_NAME_CHARACTERS),
        cost_centre=exact(mapping.cost_centre, MAX_NUMBER_CHARACTERS),
    )
    return Mapped(person, tuple(dict.fromkeys(access.unreadable)))


def _own_dn(stable_id: str, dn: str, unreadable: list[str]) -> str:
    """A name that cannot be read becomes one that no group can hold."""
    try:
        return comparable_dn(dn)
    except MalformedDn:
        unreadable.append("dn")
        return f"entryuuid={stable_id}"


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
