# SPDX-License-Identifier: EUPL-1.2
"""The Modify operation on one entry (RFC 4511, section 4.6): all changes or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from directorysim.csn import Stamp
from directorysim.entry import Attribute, Entry, check_content, checked_attribute
from directorysim.errors import OperationError, ResultCode
from directorysim.names import attribute_key
from directorysim.passwords import PasswordHash, hash_password
from directorysim.schema import NO_USER_MODIFICATION, is_password

MAX_CHANGES: Final = 10_000


class ChangeKind(IntEnum):
    """The kinds of change this server knows."""

    ADD = 0
    DELETE = 1
    REPLACE = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a Modify request; the values may be passwords and are not shown."""

    kind: ChangeKind
    name: str
    values: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Change({self.kind.name}, {self.name}, {len(self.values)} values)"


def apply_changes(entry: Entry, changes: Sequence[Change], stamp: Stamp) -> Entry:
    """Return the entry after all changes.

    Raises:
        OperationError: a change does not apply; then none is made.
    """
    if len(changes) > MAX_CHANGES:
        raise OperationError(ResultCode.ADMIN_LIMIT_EXCEEDED, f"more than {MAX_CHANGES} changes")
    attributes = dict(entry.attributes)
    passwords = entry.passwords
    for change in changes:
        key = attribute_key(change.name)
        if key in NO_USER_MODIFICATION:
            raise OperationError(ResultCode.CONSTRAINT_VIOLATION, f"{change.name}: no user modification allowed")
        if is_password(key):
            passwords = _change_passwords(passwords, change)
        else:
            _change_attribute(attributes, change, key)
    check_content(attributes, entry.dn)
    return entry.stamped(attributes, passwords, stamp)


def _change_attribute(attributes: dict[str, Attribute], change: Change, key: str) -> None:
    if change.kind is ChangeKind.REPLACE:
        attributes.pop(key, None)
        if change.values:
            attributes[key] = checked_attribute(change.name, change.values)
    elif change.kind is ChangeKind.ADD:
        if not change.values:
            raise OperationError(ResultCode.PROTOCOL_ERROR, "modify/add operation requires values")
        _add_values(attributes, checked_attribute(change.name, change.values))
    else:
        _delete_values(attributes, change, key)


def _add_values(attributes: dict[str, Attribute], added: Attribute) -> None:
    present = attributes.get(added.key)
    if present is None:
        attributes[added.key] = added
        return
    normal = dict(present.normal())
    for index, (form, value) in enumerate(added.normal().items()):
        if form in normal:
            raise OperationError(
                ResultCode.ATTRIBUTE_OR_VALUE_EXISTS, f"modify/add: {added.name}: value #{index} already exists"
            )
        normal[form] = value
    attributes[added.key] = present.with_normal(normal)


def _delete_values(attributes: dict[str, Attribute], change: Change, key: str) -> None:
    present = attributes.get(key)
    if present is None:
        raise _missing(change.name, "no such attribute")
    if not change.values:
        del attributes[key]
        return
    normal = dict(present.normal())
    for form in checked_attribute(change.name, change.values).normal():
        if normal.pop(form, None) is None:
            raise _missing(change.name, "no such value")
    if normal:
        attributes[key] = present.with_normal(normal)
    else:
        del attributes[key]


def _change_passwords(passwords: tuple[PasswordHash, ...], change: Change) -> tuple[PasswordHash, ...]:
    if change.kind is ChangeKind.REPLACE:
        return tuple(hash_password(value) for value in change.values)
    if change.kind is ChangeKind.ADD:
        return (*passwords, *(hash_password(value) for value in change.values))
    if not passwords:
        raise _missing(change.name, "no such attribute")
    if not change.values:
        return ()
    kept = tuple(known for known in passwords if not any(known.matches(value) for value in change.values))
    if len(kept) == len(passwords):
        raise _missing(change.name, "no such value")
    return kept


def _missing(name: str, what: str) -> OperationError:
    return OperationError(ResultCode.NO_SUCH_ATTRIBUTE, f"modify/delete: {name}: {what}")
