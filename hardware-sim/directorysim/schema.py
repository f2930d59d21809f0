# SPDX-License-Identifier: EUPL-1.2
"""How values of an attribute are compared (RFC 4517): the part of the usual schema that a search can tell apart."""

import re
import uuid
from collections.abc import Hashable
from enum import Enum
from typing import Final

from directorysim.dn import parse_dn
from directorysim.errors import DnError
from directorysim.names import fold_text


class Syntax(Enum):
    """The families of values; everything not listed below is caseIgnore text."""

    TEXT = "caseIgnoreMatch"
    EXACT_TEXT = "caseExactMatch"
    OBJECT_CLASS = "objectIdentifierMatch"
    PHONE = "telephoneNumberMatch"
    NAME = "distinguishedNameMatch"
    INTEGER = "integerMatch"
    BOOLEAN = "booleanMatch"
    TIME = "generalizedTimeMatch"
    CSN = "CSNMatch"
    UUID = "UUIDMatch"
    OCTETS = "octetStringMatch"


OBJECT_CLASS: Final = "objectclass"

_ATTRIBUTES: Final = {
    Syntax.OBJECT_CLASS: "objectclass structuralobjectclass",
    Syntax.NAME: "member uniquemember owner manager secretary seealso roleoccupant memberof"
    " creatorsname modifiersname entrydn distinguishedname",
    Syntax.INTEGER: "uidnumber gidnumber shadowexpire shadowlastchange shadowmax shadowmin shadowwarning shadowflag",
    Syntax.TIME: "createtimestamp modifytimestamp pwdaccountlockedtime pwdchangedtime",
    Syntax.CSN: "entrycsn contextcsn",
    Syntax.UUID: "entryuuid",
    Syntax.BOOLEAN: "hassubordinates pwdreset",
    Syntax.PHONE: "telephonenumber mobile pager homephone facsimiletelephonenumber",
    Syntax.EXACT_TEXT: "homedirectory loginshell gecos labeleduri",
    Syntax.OCTETS: "jpegphoto usercertificate;binary usercertificate cacertificate;binary userpassword",
}
_SYNTAX_OF: Final = {key: syntax for syntax, keys in _ATTRIBUTES.items() for key in keys.split()}

_SUPERIOR_CLASS: Final = {
    "inetorgperson": "organizationalperson",
    "organizationalperson": "person",
    "pilotperson": "person",
    "residentialperson": "person",
}

_SERVER_MADE: Final = """
    entryuuid entrycsn contextcsn createtimestamp modifytimestamp creatorsname modifiersname entrydn
    structuralobjectclass subschemasubentry hassubordinates
"""
_OTHER_OPERATIONAL: Final = """
    memberof pwdaccountlockedtime pwdchangedtime pwdreset
    namingcontexts supportedcontrol supportedextension supportedfeatures supportedldapversion vendorname
"""
NO_USER_MODIFICATION: Final = frozenset(_SERVER_MADE.split())
OPERATIONAL: Final = NO_USER_MODIFICATION | frozenset(_OTHER_OPERATIONAL.split())

_ORDERED: Final = frozenset({Syntax.INTEGER, Syntax.TIME, Syntax.CSN, Syntax.UUID})
_WITH_SUBSTRINGS: Final = frozenset({Syntax.TEXT, Syntax.EXACT_TEXT, Syntax.PHONE})
_TIME: Final = re.compile(r"(\d{10})(\d{2})?(\d{2})?(?:[.,](\d{1,9}))?Z")
_CSN: Final = re.compile(r"\d{14}\.\d{6}Z#[0-9a-f]{6}#[0-9a-f]{3}#[0-9a-f]{6}")
_INTEGER: Final = re.compile(r"-?(?:0|[1-9]\d{0,39})")


def is_password(key: str) -> bool:
    """Tell whether the attribute with this key holds passwords, with or without options."""
    return key.partition(";")[0] == "userpassword"


def syntax_of(key: str) -> Syntax:
    """Return the syntax of the attribute with this key."""
    return _SYNTAX_OF.get(key, Syntax.TEXT)


def is_ordered(key: str) -> bool:
    """Tell whether >= and <= are defined for the attribute; as in OpenLDAP they are not for text."""
    return syntax_of(key) in _ORDERED


def has_substrings(key: str) -> bool:
    """Tell whether substring filters are defined for the attribute."""
    return syntax_of(key) in _WITH_SUBSTRINGS


def fold_substring(key: str, value: bytes) -> str:
    """Return text prepared for comparing parts of it: like `normalise`, but spaces at the ends stay.

    Raises:
        ValueError: it is not UTF-8.
    """
    text = value.decode()
    if syntax_of(key) is Syntax.EXACT_TEXT:
        return text
    if syntax_of(key) is Syntax.PHONE:
        return _phone(text)
    folded = fold_text(text)
    before = " " if text[:1].isspace() and folded else ""
    after = " " if text[-1:].isspace() and folded else ""
    return before + folded + after


def normalise(key: str, value: bytes) -> Hashable:
    """Return a form of `value` that is equal for equal values and ordered for ordered syntaxes.

    Raises:
        ValueError: the value is not valid in the attribute's syntax.
    """
    syntax = syntax_of(key)
    if syntax is Syntax.OCTETS:
        return value
    text = value.decode()
    if syntax in {Syntax.TEXT, Syntax.OBJECT_CLASS}:
        return fold_text(text)
    if syntax is Syntax.NAME:
        return _name(text)
    return _normalise_rare(syntax, text)


def _normalise_rare(syntax: Syntax, text: str) -> Hashable:
    if syntax is Syntax.INTEGER:
        if _INTEGER.fullmatch(text) is None:
            raise ValueError("not an integer")
        return int(text)
    if syntax is Syntax.TIME:
        return _time(text)
    if syntax is Syntax.CSN:
        if _CSN.fullmatch(text) is None:
            raise ValueError("not a change sequence number")
        return text
    if syntax is Syntax.UUID:
        return uuid.UUID(text).bytes
    if syntax is Syntax.BOOLEAN:
        if text not in {"TRUE", "FALSE"}:
            raise ValueError("neither TRUE nor FALSE")
        return text
    return _phone(text) if syntax is Syntax.PHONE else text


def _name(text: str) -> str:
    try:
        return parse_dn(text).key
    except DnError as error:
        raise ValueError(str(error)) from error


def _phone(text: str) -> str:
    return text.replace(" ", "").replace("-", "").lower()


def _time(text: str) -> str:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a generalized time in UTC")
    hour, minute, second, fraction = match.groups()
    return f"{hour}{minute or '00'}{second or '00'}.{(fraction or '').ljust(9, '0')}"


def with_superior_classes(folded_name: str) -> tuple[str, ...]:
    """Return an object class and the classes it derives from, `top` included (RFC 4512, section 2.4)."""
    classes = [folded_name]
    while classes[-1] in _SUPERIOR_CLASS:
        classes.append(_SUPERIOR_CLASS[classes[-1]])
    return (*classes, "top")
