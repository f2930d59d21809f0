# SPDX-License-Identifier: EUPL-1.2
"""Attribute names and text as LDAP compares them: without regard to case, spelling of aliases and spaces."""

import re
import unicodedata
from typing import Final

_DESCRIPTION: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9-]{0,127}|\d{1,10}(?:\.\d{1,10}){1,30})(?:;[A-Za-z0-9-]{1,64}){0,4}"
)

# Second names that the standard schema gives to one attribute (RFC 4519, RFC 4524).
_ALIASES: Final = {
    "commonname": "cn",
    "surname": "sn",
    "gn": "givenname",
    "userid": "uid",
    "rfc822mailbox": "mail",
    "domaincomponent": "dc",
    "organizationname": "o",
    "organizationalunitname": "ou",
    "localityname": "l",
    "countryname": "c",
    "stateorprovincename": "st",
    "streetaddress": "street",
    # the password's number is listed so that it cannot be read under that name
    "2.5.4.35": "userpassword",
}


def is_attribute_description(name: str) -> bool:
    """Tell whether `name` is a well-formed attribute description (RFC 4512, section 2.5)."""
    return _DESCRIPTION.fullmatch(name) is not None


def attribute_key(name: str) -> str:
    """Return the one lower-case key under which an attribute is kept and looked up."""
    base, semicolon, options = name.lower().partition(";")
    return _ALIASES.get(base, base) + semicolon + options


def fold_text(text: str) -> str:
    """Return text prepared for caseIgnoreMatch: folded case, outer spaces off, inner spaces single (RFC 4518)."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
