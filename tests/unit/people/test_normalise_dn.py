# SPDX-License-Identifier: EUPL-1.2
"""Distinguished names in one comparable form (RFC 4514)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.people.rules import MAX_DN_LENGTH, MalformedDn, normalise_dn

PLAIN = "uid=anna,ou=people,dc=city"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PLAIN, "UID=Anna, OU=People, DC=City"),
        (PLAIN, "  uid = anna ,ou= people,dc=city  "),
        (PLAIN, r"uid=\61nna,ou=people,dc=city"),
        (PLAIN, r"uid=\61\n\n\61,ou=people,dc=city"),
        ("cn=anna  maria,dc=city", "cn=Anna Maria,dc=city"),
        (r"cn=Schmidt\, Anna,dc=city", r"cn=Schmidt\2c Anna,dc=city"),
        (r"cn=Schmidt\, Anna,dc=city", r"cn=Schmidt\2C Anna,dc=city"),
        (r"cn=a\+b,dc=city", r"cn=a\2bb,dc=city"),
        (r"cn=a\=b,dc=city", "cn=a=b,dc=city"),
        (r"cn=a\\b,dc=city", r"cn=a\5cb,dc=city"),
        (r"cn=\#1,dc=city", "cn=#1,dc=city"),
        (r"cn=\"quoted\",dc=city", r"cn=\22quoted\22,dc=city"),
        (r"cn=J\c3\bcrgen,dc=city", "cn=Jürgen,dc=city"),
        ("cn=Ju\u0308rgen,dc=city", "cn=J\u00fcrgen,dc=city"),
        ("cn=JÜRGEN,dc=city", "cn=jürgen,dc=city"),
        ("uid=anna+cn=Anna,dc=city", "CN=anna+UID=ANNA,dc=city"),
        (r"cn=\ anna\ ,dc=city", "cn=anna,dc=city"),
    ],
)
def test_two_spellings_of_one_name_are_equal(one: str, other: str) -> None:
    """Case, spaces, escapes, Unicode forms and the order inside a multi-valued RDN do not tell names apart."""
    assert normalise_dn(one) == normalise_dn(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PLAIN, "uid=anne,ou=people,dc=city"),
        (PLAIN, "cn=anna,ou=people,dc=city"),
        (PLAIN, "ou=people,uid=anna,dc=city"),
        (r"cn=a\,ou=people,dc=city", "cn=a,ou=people,dc=city"),
        (r"cn=a\+cn=b,dc=city", "cn=a+cn=b,dc=city"),
        ("cn=a+cn=b,dc=city", "cn=a,cn=b,dc=city"),
        ("cn=a\uff0cou=people,dc=city", "cn=a,ou=people,dc=city"),
        ("cn=a\uff0bcn=b,dc=city", "cn=a+cn=b,dc=city"),
        (r"cn=a\\,dc=city", "cn=a,dc=city"),
        ("cn=Weiß,dc=city", "cn=Weiss,dc=city"),
        (r"cn=\\2c,dc=city", r"cn=\2c,dc=city"),
    ],
)
def test_different_names_stay_different(one: str, other: str) -> None:
    """An escaped or wide separator is part of a value and never makes a second part."""
    assert normalise_dn(one) != normalise_dn(other)


@pytest.mark.parametrize("dn", ["", ",", "anna", "uid=anna,", "uid=anna,,dc=city", "=anna", " =anna", "uid=a+,dc=b"])
def test_what_is_not_a_name_is_refused(dn: str) -> None:
    with pytest.raises(MalformedDn):
        normalise_dn(dn)


@pytest.mark.parametrize("dn", ["uid=anna\\", "uid=anna,dc=city\\", "\\"])
def test_a_backslash_at_the_end_is_refused(dn: str) -> None:
    with pytest.raises(MalformedDn, match="backslash"):
        normalise_dn(dn)


@pytest.mark.parametrize("dn", ["cn=a\0b,dc=city", r"cn=a\00b,dc=city"])
def test_the_character_nul_is_refused(dn: str) -> None:
    """No database text can hold it, and no directory needs it."""
    with pytest.raises(MalformedDn, match="NUL"):
        normalise_dn(dn)


def test_the_length_is_bounded() -> None:
    """4,096 characters are read, one more is not."""
    assert normalise_dn("cn=" + "a" * (MAX_DN_LENGTH - 3))
    with pytest.raises(MalformedDn, match="4097"):
        normalise_dn("cn=" + "a" * (MAX_DN_LENGTH - 2))


def test_the_most_parts_a_name_can_have_are_read() -> None:
    dn = ",".join(["a=b"] * 1024)
    assert normalise_dn(dn) == dn


HOSTILE = st.text(st.one_of(st.sampled_from(list('\\,+=;#" \0abAB0129fF\u00fc\u0130\ud800\uff0c')), st.characters()))


@given(HOSTILE)
def test_only_malformed_dn_leaves_it(dn: str) -> None:
    """Whatever the text, the answer is a text or MalformedDn, and always the same."""
    try:
        first = normalise_dn(dn)
    except MalformedDn:
        with pytest.raises(MalformedDn):
            normalise_dn(dn)
        return
    assert normalise_dn(dn) == first


VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


def _fully_escaped(value: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in value.encode())


@given(st.lists(VALUES, min_size=1, max_size=5), st.lists(VALUES, min_size=1, max_size=5))
def test_any_value_can_be_written_and_no_value_forges_a_part(one: list[str], other: list[str]) -> None:
    """Names whose values differ in number of parts are never equal, however the values read."""
    first = normalise_dn(",".join(f"cn={_fully_escaped(value)}" for value in one))
    second = normalise_dn(",".join(f"cn={_fully_escaped(value)}" for value in other))
    assert first.count(",") == len(one) - 1
    if len(one) != len(other):
        assert first != second
