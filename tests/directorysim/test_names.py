# SPDX-License-Identifier: EUPL-1.2
"""Names are equal when LDAP says so, and nothing else passes for a name."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directorysim import DnError
from directorysim.dn import join, parse_dn
from directorysim.names import attribute_key, fold_text


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("uid=u1,dc=corp", "UID=U1, DC=Corp"),
        ("cn=Max  Muster,dc=corp", "commonName=max muster,dc=corp"),
        ("cn=a\\,b,dc=corp", "cn=A\\2Cb,dc=corp"),
        ("cn=Jürgen,dc=corp", "cn=J\\c3\\bcrgen,dc=corp"),
        ("cn=a+uid=b,dc=corp", "uid=b+cn=a,dc=corp"),
        ("cn=STRASSE", "cn=straße"),
    ],
)
def test_names_that_are_equal(left: str, right: str) -> None:
    """Case, spaces, aliases, escapes and the order within an RDN do not matter."""
    assert parse_dn(left).key == parse_dn(right).key


@pytest.mark.parametrize(
    ("left", "right"),
    [("cn=a\\,dc\\=b", "cn=a,dc=b"), ("cn=a\\+uid\\=b", "cn=a+uid=b"), ("cn=a\\\\2cb", "cn=a\\,b")],
)
def test_names_that_only_look_equal(left: str, right: str) -> None:
    """An escaped separator is not a separator."""
    assert parse_dn(left).key != parse_dn(right).key


@pytest.mark.parametrize(
    "text",
    ["rubbish", "uid", "=x", "uid=", "uid=a,,dc=b", "cn=a\\", "cn=a\\zz", 'cn="a"', "cn=#0401", "cn=a\\ff", "cn=\x00"],
)
def test_what_is_not_a_name_is_refused(text: str) -> None:
    """Text that is no distinguished name raises DnError."""
    with pytest.raises(DnError):
        parse_dn(text)


def test_length_and_depth_of_names_are_bounded() -> None:
    """A name of more than 64 components or 8,192 characters is refused."""
    with pytest.raises(DnError, match="components"):
        parse_dn(",".join(["dc=a"] * 65))
    with pytest.raises(DnError, match="characters"):
        parse_dn("cn=" + "a" * 9_000)


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    """Random text never raises anything but DnError."""
    with suppress(DnError):
        assert parse_dn(text).is_within("")


def test_places_in_the_tree() -> None:
    """A name knows its parent, and whether it lies below another name."""
    name = parse_dn("uid=u1,ou=people,dc=corp")
    assert name.parent_key == "ou=people,dc=corp"
    assert name.is_within("ou=people,dc=corp")
    assert not name.is_within("ou=le,dc=corp")
    assert join(("cn=x",), name).key == "cn=x,uid=u1,ou=people,dc=corp"
    assert name.naming_values() == (("uid", "u1"),)


def test_names_are_shown_in_plain_spelling() -> None:
    """Attribute names become the usual ones and spaces around components go; values stay as they are."""
    assert parse_dn("UserId = U1 , OU=People,dc=corp").text == "uid=U1,ou=People,dc=corp"
    assert parse_dn("cn=a\\ , dc=corp").text == "cn=a\\ ,dc=corp"


def test_attribute_names_have_one_key() -> None:
    """Case and aliases lead to the same key; the number of userPassword is no way around it."""
    assert attribute_key("SurName") == "sn"
    assert attribute_key("2.5.4.35") == "userpassword"
    assert attribute_key("2.5.4.35;x-a") == "userpassword;x-a"


def test_text_is_folded() -> None:
    """Case and runs of spaces do not count."""
    assert fold_text("  Äpfel \t Birnen ") == fold_text("äPFEL birnen")
