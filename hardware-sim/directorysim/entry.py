# SPDX-License-Identifier: EUPL-1.2
"""Entries of the directory: immutable, and encoded for the wire once."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from directorysim import ber
from directorysim.csn import Stamp
from directorysim.dn import Dn
from directorysim.errors import OperationError, ResultCode
from directorysim.names import attribute_key, is_attribute_description
from directorysim.passwords import PasswordHash
from directorysim.schema import OBJECT_CLASS, is_password, normalise, with_superior_classes

MAX_VALUES: Final = 200_000

_WELL_KNOWN: Final = """
    objectClass givenName displayName employeeNumber employeeType departmentNumber telephoneNumber userPassword
    entryUUID entryCSN contextCSN createTimestamp modifyTimestamp creatorsName modifiersName entryDN
    hasSubordinates memberOf pwdAccountLockedTime structuralObjectClass uniqueMember roleOccupant
"""
_SPELLINGS: Final = {name.lower(): name for name in _WELL_KNOWN.split()}


class Attribute:
    """One attribute with its values in the order they were given."""

    __slots__ = ("_encoded", "_matching", "_normal", "key", "name", "values")

    def __init__(self, name: str, values: tuple[bytes, ...]) -> None:
        self.key = attribute_key(name)
        self.name = _SPELLINGS.get(self.key, name)
        self.values = values
        self._normal: dict[Hashable, bytes] | None = None
        self._matching: frozenset[Hashable] | None = None
        self._encoded: bytes | None = None

    def normal(self) -> dict[Hashable, bytes]:
        """Return the values by their comparable form.

        Raises:
            OperationError: a value is not valid, or is there twice.
        """
        if self._normal is None:
            normal: dict[Hashable, bytes] = {}
            for index, value in enumerate(self.values):
                form = checked_form(self.name, self.key, value, index)
                if form in normal:
                    first = list(normal).index(form)
                    raise OperationError(
                        ResultCode.ATTRIBUTE_OR_VALUE_EXISTS, f"{self.name}: value #{first} provided more than once"
                    )
                normal[form] = value
            self._normal = normal
        return self._normal

    def matches(self, form: Hashable) -> bool:
        """Tell whether a filter finds this comparable form here; for objectClass in superior classes, too."""
        if self.key != OBJECT_CLASS:
            return form in self.normal()
        if self._matching is None:
            self._matching = frozenset(name for known in self.normal() for name in with_superior_classes(str(known)))
        return form in self._matching

    def with_normal(self, normal: dict[Hashable, bytes]) -> "Attribute":
        """Return this attribute with other values, whose comparable forms are known already."""
        changed = Attribute(self.name, tuple(normal.values()))
        changed._normal = normal
        return changed

    def encoded(self) -> bytes:
        """Return the PartialAttribute (RFC 4511, section 4.1.7)."""
        if self._encoded is None:
            values = b"".join([ber.encode_octets(value) for value in self.values])
            self._encoded = ber.encode_sequence(ber.encode_octets(self.name.encode()), ber.encode(ber.SET, values))
        return self._encoded

    def encoded_type(self) -> bytes:
        """Return the PartialAttribute without values, for a search with typesOnly."""
        return ber.encode_sequence(ber.encode_octets(self.name.encode()), ber.encode(ber.SET, b""))


def checked_form(name: str, key: str, value: bytes, index: int) -> Hashable:
    """Return the comparable form of a value that is about to be stored.

    Raises:
        OperationError: the value is not valid in the attribute's syntax.
    """
    try:
        return normalise(key, value)
    except ValueError as error:
        raise OperationError(
            ResultCode.INVALID_ATTRIBUTE_SYNTAX, f"{name}: value #{index} invalid per syntax"
        ) from error


def checked_attribute(name: str, values: tuple[bytes, ...]) -> Attribute:
    """Make an attribute from outside values.

    Raises:
        OperationError: the name or a value is not valid, or there is no value.
    """
    if not is_attribute_description(name):
        raise OperationError(ResultCode.UNDEFINED_ATTRIBUTE_TYPE, "attribute description is not well-formed")
    if not values:
        raise OperationError(ResultCode.PROTOCOL_ERROR, f"{name}: no values given")
    if len(values) > MAX_VALUES:
        raise OperationError(ResultCode.ADMIN_LIMIT_EXCEEDED, f"{name}: more than {MAX_VALUES} values")
    attribute = Attribute(name, values)
    attribute.normal()
    return attribute


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `uuid` is 16 bytes, `attributes` holds no password."""

    dn: Dn
    uuid: bytes
    csn: str
    attributes: Mapping[str, Attribute]
    passwords: tuple[PasswordHash, ...] = ()

    def named(self, key: str) -> Attribute | None:
        """Return the attribute with this key, if the entry has it."""
        return self.attributes.get(key)

    def with_attribute(self, attribute: Attribute) -> "Entry":
        """Return this entry with one attribute put in place, without counting as a change of it."""
        return Entry(self.dn, self.uuid, self.csn, {**self.attributes, attribute.key: attribute}, self.passwords)

    def moved(self, dn: Dn) -> "Entry":
        """Return this entry under another name, without counting as a change of it."""
        attributes = {**self.attributes, "entrydn": single("entryDN", dn.text)}
        return Entry(dn, self.uuid, self.csn, attributes, self.passwords)

    def stamped(
        self, attributes: Mapping[str, Attribute], passwords: tuple[PasswordHash, ...], stamp: Stamp
    ) -> "Entry":
        """Return this entry with changed content and the stamp of the change."""
        marked = {
            **attributes,
            "entrycsn": single("entryCSN", stamp.csn),
            "modifiersname": single("modifiersName", stamp.actor),
            "modifytimestamp": single("modifyTimestamp", stamp.time),
        }
        return Entry(self.dn, self.uuid, stamp.csn, marked, passwords)


def single(name: str, value: str) -> Attribute:
    """Make a single-valued attribute whose value the server made itself."""
    return Attribute(name, (value.encode(),))


def add_naming_values(attributes: dict[str, Attribute], dn: Dn) -> None:
    """Add the values of the leading RDN that are missing, as OpenLDAP does.

    Raises:
        OperationError: a value is not valid for its attribute.
    """
    for name, text in dn.naming_values():
        value = text.encode()
        attribute = attributes.get(attribute_key(name))
        if attribute is None:
            attributes[attribute_key(name)] = checked_attribute(name, (value,))
            continue
        form = checked_form(name, attribute.key, value, 0)
        if form not in attribute.normal():
            attributes[attribute.key] = attribute.with_normal({**attribute.normal(), form: value})


def check_content(attributes: Mapping[str, Attribute], dn: Dn) -> None:
    """Check what every entry needs: an object class and the values that name it.

    Raises:
        OperationError: one of them is missing.
    """
    if OBJECT_CLASS not in attributes:
        raise OperationError(ResultCode.OBJECT_CLASS_VIOLATION, "no objectClass attribute")
    for name, text in dn.naming_values():
        if is_password(attribute_key(name)):
            raise OperationError(ResultCode.NAMING_VIOLATION, "a password cannot name an entry")
        attribute = attributes.get(attribute_key(name))
        if attribute is None or checked_form(name, attribute.key, text.encode(), 0) not in attribute.normal():
            raise OperationError(
                ResultCode.NAMING_VIOLATION, f"value of naming attribute '{name}' is not present in entry"
            )
