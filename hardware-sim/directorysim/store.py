# SPDX-License-Identifier: EUPL-1.2
"""The directory information tree in memory: reads by normalised name, and writes that tell their listeners."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from directorysim.csn import CsnClock, Stamp, is_own_csn
from directorysim.dn import Dn, join, parse_dn
from directorysim.entry import (
    Attribute,
    Entry,
    add_naming_values,
    check_content,
    checked_attribute,
    checked_form,
    single,
)
from directorysim.errors import OperationError, ResultCode
from directorysim.modify import Change, apply_changes
from directorysim.names import attribute_key
from directorysim.passwords import PasswordHash, hash_password
from directorysim.schema import NO_USER_MODIFICATION, is_password
from directorysim.sync import SessionLog

_COMPUTED: Final = frozenset({"entrydn", "contextcsn", "hassubordinates", "subschemasubentry"})


class Scope(IntEnum):
    """Search scopes; subordinates is OpenLDAP's `children`."""

    BASE = 0
    ONE_LEVEL = 1
    SUBTREE = 2
    SUBORDINATES = 3


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One completed write: the entry before (None: it is new) and after (None: it is deleted)."""

    before: Entry | None
    after: Entry | None
    csn: str


@dataclass(frozen=True, slots=True)
class Renaming:
    """The arguments of ModifyDN (RFC 4511, section 4.9)."""

    dn: Dn
    new_rdn: str
    delete_old: bool
    new_superior: Dn | None


class Directory:
    """All entries under one suffix."""

    def __init__(self, suffix: Dn, *, session_log_size: int = 10_000, clock: CsnClock | None = None) -> None:
        self.suffix = suffix
        self.session_log = SessionLog(session_log_size)
        self.listeners: list[Callable[[ChangeEvent], None]] = []
        self._clock = clock or CsnClock()
        self._entries: dict[str, Entry] = {}
        self._children: dict[str, dict[str, None]] = {}
        self._key_by_uuid: dict[bytes, str] = {}
        self.context_csn = self._clock.stamp("").csn

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, dn: Dn) -> Entry | None:
        """Return the entry with this name, or None."""
        return self._entries.get(dn.key)

    def by_uuid(self, entry_uuid: bytes) -> Entry | None:
        """Return the entry with this 16-byte identifier, or None."""
        key = self._key_by_uuid.get(entry_uuid)
        return self._entries[key] if key is not None else None

    def require(self, dn: Dn) -> Entry:
        """Return the entry with this name.

        Raises:
            OperationError: noSuchObject with the nearest entry above it.
        """
        entry = self._entries.get(dn.key)
        if entry is None:
            raise OperationError(ResultCode.NO_SUCH_OBJECT, matched_dn=self._nearest_above(dn))
        return entry

    def has_children(self, entry: Entry) -> bool:
        """Tell whether there are entries below this one."""
        return bool(self._children.get(entry.dn.key))

    def in_scope(self, base: Entry, scope: Scope) -> Iterator[Entry]:
        """Yield the entries of a scope, parents before children."""
        if scope in {Scope.BASE, Scope.SUBTREE}:
            yield base
        if scope is Scope.BASE:
            return
        stack = list(reversed(self._children.get(base.dn.key, {})))
        while stack:
            key = stack.pop()
            yield self._entries[key]
            if scope is not Scope.ONE_LEVEL:
                stack.extend(reversed(self._children.get(key, {})))

    def add(self, dn: Dn, attributes: Mapping[str, Sequence[bytes]], *, actor: str) -> None:
        """Add an entry (RFC 4511, section 4.7).

        Raises:
            OperationError: it is there already, has no parent, or its content is not valid.
        """
        for name in attributes:
            if attribute_key(name) in NO_USER_MODIFICATION:
                raise OperationError(ResultCode.CONSTRAINT_VIOLATION, f"{name}: no user modification allowed")
        self._check_place(dn)
        entry = self._build(self._placed(dn), attributes, self._clock.stamp(actor))
        self._insert(entry)
        self._completed(ChangeEvent(None, entry, entry.csn))

    def load(self, dn: Dn, attributes: Mapping[str, Sequence[bytes]], *, actor: str) -> None:
        """Add an entry of the initial content, keeping operational attributes it brings; no change is logged.

        Raises:
            OperationError: it is there already, has no parent, or its content is not valid.
        """
        self._check_place(dn)
        kept = {name: values for name, values in attributes.items() if attribute_key(name) not in _COMPUTED}
        entry = self._build(self._placed(dn), kept, self._clock.stamp(actor))
        if is_own_csn(entry.csn):
            self._clock.move_past(entry.csn)
        self._insert(entry)

    def finish_loading(self) -> None:
        """Start the life of the directory at the newest change that was loaded."""
        self._set_context_csn(max((entry.csn for entry in self._entries.values()), default=self.context_csn))
        self.session_log.forget(self.context_csn)

    def forget_session_log(self) -> None:
        """Drop the log, as a restarted server has."""
        self.session_log.forget(self.context_csn)

    def modify(self, dn: Dn, changes: Sequence[Change], *, actor: str) -> None:
        """Change attributes of an entry (RFC 4511, section 4.6).

        Raises:
            OperationError: there is no such entry or a change does not apply; then none is made.
        """
        before = self.require(dn)
        after = apply_changes(before, changes, self._clock.stamp(actor))
        self._entries[dn.key] = after
        self._completed(ChangeEvent(before, after, after.csn))

    def delete(self, dn: Dn, *, actor: str) -> None:
        """Delete an entry (RFC 4511, section 4.8).

        Raises:
            OperationError: there is no such entry, or there are entries below it.
        """
        entry = self.require(dn)
        if self.has_children(entry):
            raise OperationError(ResultCode.NOT_ALLOWED_ON_NON_LEAF, "subordinate objects must be deleted first")
        self._remove(entry)
        self._completed(ChangeEvent(entry, None, self._clock.stamp(actor).csn))

    def rename(self, renaming: Renaming, *, actor: str) -> None:
        """Rename or move an entry with everything below it (RFC 4511, section 4.9).

        Raises:
            OperationError: the entry or the new superior is missing, or the new name cannot be taken.
        """
        before = self.require(renaming.dn)
        target = self._renamed_dn(renaming)
        stamp = self._clock.stamp(actor)
        after = _renamed_entry(before, target, renaming, stamp)
        subtree = list(self.in_scope(before, Scope.SUBTREE))
        depth = len(before.dn.rdn_texts)
        for entry in reversed(subtree):
            self._remove(entry)
        self._insert(after)
        for entry in subtree[1:]:
            own_rdns = entry.dn.rdn_texts[: len(entry.dn.rdn_texts) - depth]
            self._insert(entry.moved(join(own_rdns, target)))
        self._completed(ChangeEvent(before, after, after.csn))

    def _renamed_dn(self, renaming: Renaming) -> Dn:
        dn, superior = renaming.dn, renaming.new_superior
        if dn.key == self.suffix.key or (superior is not None and not superior.is_within(self.suffix.key)):
            raise OperationError(ResultCode.AFFECTS_MULTIPLE_DSAS, "cannot rename between DSAs")
        if superior is not None and superior.is_within(dn.key):
            raise OperationError(ResultCode.UNWILLING_TO_PERFORM, "cannot place an entry below itself")
        if superior is not None and superior.key not in self._entries:
            raise OperationError(ResultCode.NO_SUCH_OBJECT, "new superior not found")
        parent = superior or parse_dn(",".join(dn.rdn_texts[1:]))
        target = join((renaming.new_rdn,), self._entries[parent.key].dn)
        if target.key != dn.key and target.key in self._entries:
            raise OperationError(ResultCode.ENTRY_ALREADY_EXISTS)
        return target

    def _nearest_above(self, dn: Dn) -> str:
        for level in range(1, len(dn.rdn_texts)):
            above = self._entries.get(dn.ancestor_key(level))
            if above is not None:
                return above.dn.text
        return ""

    def _check_place(self, dn: Dn) -> None:
        if not dn.is_within(self.suffix.key):
            raise OperationError(ResultCode.UNWILLING_TO_PERFORM, "no global superior knowledge")
        if dn.key in self._entries:
            raise OperationError(ResultCode.ENTRY_ALREADY_EXISTS)
        if dn.key != self.suffix.key and dn.parent_key not in self._entries:
            raise OperationError(ResultCode.NO_SUCH_OBJECT, matched_dn=self._nearest_above(dn))

    def _placed(self, dn: Dn) -> Dn:
        """Return the name spelled as the entry above it is."""
        parent = self._entries.get(dn.parent_key)
        return dn.below(parent.dn) if parent is not None else dn

    def _build(self, dn: Dn, given: Mapping[str, Sequence[bytes]], stamp: Stamp) -> Entry:
        attributes: dict[str, Attribute] = {}
        passwords: tuple[PasswordHash, ...] = ()
        for name, values in given.items():
            key = attribute_key(name)
            if is_password(key):
                passwords += tuple(hash_password(value) for value in values)
                continue
            if key in attributes:
                raise OperationError(ResultCode.ATTRIBUTE_OR_VALUE_EXISTS, f"{name}: given more than once")
            attributes[key] = checked_attribute(name, tuple(values))
        add_naming_values(attributes, dn)
        check_content(attributes, dn)
        identifier = _kept_uuid(attributes)
        for name, value in (
            ("entryUUID", str(identifier)),
            ("creatorsName", stamp.actor),
            ("createTimestamp", stamp.time),
            ("entryCSN", stamp.csn),
            ("modifiersName", stamp.actor),
            ("modifyTimestamp", stamp.time),
            ("entryDN", dn.text),
        ):
            attributes.setdefault(name.lower(), single(name, value))
        csn = attributes["entrycsn"].values[0].decode()
        if not is_own_csn(csn):
            csn = stamp.csn
            attributes["entrycsn"] = single("entryCSN", csn)
        return Entry(dn, identifier.bytes, csn, attributes, passwords)

    def _insert(self, entry: Entry) -> None:
        if entry.uuid in self._key_by_uuid:
            raise OperationError(ResultCode.CONSTRAINT_VIOLATION, "entryUUID is taken by another entry")
        key = entry.dn.key
        self._entries[key] = entry
        self._key_by_uuid[entry.uuid] = key
        if key != self.suffix.key:
            self._children.setdefault(entry.dn.parent_key, {})[key] = None

    def _remove(self, entry: Entry) -> None:
        key = entry.dn.key
        del self._entries[key]
        del self._key_by_uuid[entry.uuid]
        if key != self.suffix.key:
            siblings = self._children[entry.dn.parent_key]
            del siblings[key]
            if not siblings:
                del self._children[entry.dn.parent_key]

    def _completed(self, event: ChangeEvent) -> None:
        entry = event.after or event.before
        if entry is not None:
            self.session_log.record(event.csn, entry.uuid)
        self._set_context_csn(event.csn)
        for listener in tuple(self.listeners):
            listener(event)

    def _set_context_csn(self, csn: str) -> None:
        self.context_csn = csn
        top = self._entries.get(self.suffix.key)
        if top is not None:
            self._entries[self.suffix.key] = top.with_attribute(single("contextCSN", csn))


def _kept_uuid(attributes: Mapping[str, Attribute]) -> uuid.UUID:
    given = attributes.get("entryuuid")
    return uuid.UUID(given.values[0].decode()) if given is not None else uuid.uuid4()


def _renamed_entry(before: Entry, target: Dn, renaming: Renaming, stamp: Stamp) -> Entry:
    attributes = dict(before.attributes)
    if renaming.delete_old:
        for name, text in before.dn.naming_values():
            attribute = attributes[attribute_key(name)]
            normal = dict(attribute.normal())
            normal.pop(checked_form(name, attribute.key, text.encode(), 0), None)
            if normal:
                attributes[attribute.key] = attribute.with_normal(normal)
            else:
                del attributes[attribute.key]
    add_naming_values(attributes, target)
    check_content(attributes, target)
    return before.moved(target).stamped(
        {**attributes, "entrydn": single("entryDN", target.text)}, before.passwords, stamp
    )
