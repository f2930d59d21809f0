# SPDX-License-Identifier: EUPL-1.2
"""The preset for OpenLDAP: who is disabled, locked out, valid from when to when, and what is doubtful."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.people.rules import NO_KNOWN_END_MS, DirectoryGroup, DirectoryPerson, MalformedDn, normalise_dn
from integrations.ldap.mapping import (
    AttributeMapping,
    Mapped,
    StatusAttribute,
    comparable_dn,
    map_entry,
    read_stable_id,
)
from integrations.ldap.mapping_access import read_generalized_time_ms

ID = "758581b8-7a5a-1041-930d-e7964142ed9d"
DN = "uid=Anna,ou=People,dc=corp,dc=example"
BASE = {"objectclass": [b"top", b"inetOrgPerson"], "cn": [b"Anna Arndt"], "uid": [b"anna"]}


def person(mapping: AttributeMapping | None = None, dn: str = DN, **values: bytes | list[bytes]) -> Mapped:
    lists = {name: [value] if isinstance(value, bytes) else value for name, value in values.items()}
    return map_entry(mapping or AttributeMapping(), ID, dn, {**BASE, **lists})


def ms(*parts: int) -> int:
    return int(dt.datetime(*parts, tzinfo=dt.UTC).timestamp() * 1000)


def test_a_person_without_anything_special() -> None:
    mapped = person(displayname=b"Anna M. Arndt", mail=b"anna@stadt.example", employeenumber=b"4711")
    assert mapped.unreadable == ()
    assert mapped.entry == DirectoryPerson(
        stable_id=ID,
        dn="uid=anna,ou=people,dc=corp,dc=example",
        name="Anna M. Arndt",
        enabled=True,
        login="anna",
        mail="anna@stadt.example",
        personnel_number="4711",
    )


def test_a_group_with_spellings_and_optional_uids() -> None:
    values = {
        "objectclass": [b"groupOfUniqueNames"],
        "cn": [b"Doors"],
        "member": [b"UID=Anna, OU=People,dc=corp,dc=example"],
        "uniquemember": [b"cn=Inner,dc=corp,dc=example#'0101'B"],
    }
    mapped = map_entry(AttributeMapping(), ID, "cn=Doors,dc=corp,dc=example", values)
    assert mapped.entry == DirectoryGroup(
        ID,
        "cn=doors,dc=corp,dc=example",
        "Doors",
        frozenset({"uid=anna,ou=people,dc=corp,dc=example", "cn=inner,dc=corp,dc=example"}),
    )


def test_a_member_that_is_no_dn_is_reported() -> None:
    mapped = map_entry(
        AttributeMapping(), ID, "cn=g", {"objectclass": [b"groupOfNames"], "member": [b"nonsense", b"\xff=x"]}
    )
    assert isinstance(mapped.entry, DirectoryGroup)
    assert mapped.entry.member_dns == frozenset()
    assert mapped.unreadable == ("member",)


@pytest.mark.parametrize(
    ("value", "enabled", "since_ms", "reported"),
    [
        (b"000001010000Z", False, None, False),
        (b"20261121081500Z", True, 1_795_248_900_000, False),
        (b"20261121081500.123456Z", True, 1_795_248_900_123, False),
        (b"yes", False, None, True),
        (b"", False, None, True),
        (b"00000101000000Z", False, None, True),
    ],
)
def test_the_password_policy_lock(value: bytes, *, enabled: bool, since_ms: int | None, reported: bool) -> None:
    """Its end is known if the settings say how long it lasts."""
    for lock_out_ms in (None, 900_000):
        mapped = person(AttributeMapping(lock_out_ms=lock_out_ms), pwdaccountlockedtime=value)
        assert isinstance(mapped.entry, DirectoryPerson)
        until_ms = NO_KNOWN_END_MS if lock_out_ms is None else (since_ms or 0) + lock_out_ms
        assert mapped.entry.locked_until_ms == (None if since_ms is None else until_ms)
        assert mapped.entry.enabled is enabled
        assert mapped.unreadable == (("pwdaccountlockedtime",) if reported else ())


@pytest.mark.parametrize(
    ("value", "until_ms", "enabled"),
    [
        (b"20000", 20_000 * 86_400_000, True),
        (b"1", 86_400_000, True),
        (b"-1", None, True),
        (b"0", None, False),
        (b"-5", None, False),
        (b"soon", None, False),
        (b"99999999999999999999", None, False),
    ],
)
def test_shadow_expire(value: bytes, until_ms: int | None, *, enabled: bool) -> None:
    """Zero is read as "never" by some and as 1970 by others, so it is refused."""
    mapped = person(shadowexpire=value)
    assert isinstance(mapped.entry, DirectoryPerson)
    assert (mapped.entry.valid_until_ms, mapped.entry.enabled) == (until_ms, enabled)
    assert bool(mapped.unreadable) is not enabled


def test_configured_validity_takes_the_narrowest() -> None:
    mapping = AttributeMapping(valid_from="entryStart", valid_until="entryEnd")
    found = person(
        mapping,
        entrystart=[b"20260101000000Z", b"20260301000000Z"],
        entryend=[b"20271231220000Z", b"20280101000000+0100"],
        shadowexpire=b"30000",
    ).entry
    assert isinstance(found, DirectoryPerson)
    assert found.valid_from_ms == ms(2026, 3, 1)
    assert found.valid_until_ms == ms(2027, 12, 31, 22)
    for name in ("entrystart", "entryend"):
        doubtful = person(mapping, **{name: b"31.12.2027"})
        assert isinstance(doubtful.entry, DirectoryPerson)
        assert not doubtful.entry.enabled
        assert [part.lower() for part in doubtful.unreadable] == [name]


def test_a_configured_status_attribute() -> None:
    mapping = AttributeMapping(status=(StatusAttribute("employeeType", ("left", "Inaktiv"), ("active",)),))
    cases = {
        b"active": (True, False),
        b"INAKTIV": (False, False),
        b" left ": (False, False),
        b"retired?": (False, True),
    }
    for value, (enabled, reported) in cases.items():
        mapped = person(mapping, employeetype=value)
        assert isinstance(mapped.entry, DirectoryPerson)
        assert (mapped.entry.enabled, bool(mapped.unreadable)) == (enabled, reported), value
    lenient = AttributeMapping(status=(StatusAttribute("employeeType", ("left",)),))
    assert person(lenient, employeetype=b"whatever").entry.enabled
    assert "employeetype" in mapping.attributes()


def test_without_object_classes_nobody_is_let_in() -> None:
    mapped = map_entry(AttributeMapping(), ID, DN, {"cn": [b"Anna"]})
    assert isinstance(mapped.entry, DirectoryPerson)
    assert not mapped.entry.enabled
    assert mapped.unreadable == ("objectclass",)


def test_a_name_that_cannot_be_read_disables() -> None:
    mapped = person(dn="no name at all")
    assert isinstance(mapped.entry, DirectoryPerson)
    assert (mapped.entry.enabled, mapped.entry.dn) == (False, f"entryuuid={ID}")


def test_texts_to_compare_with_are_whole_or_none() -> None:
    mapped = person(uid=b"\xff", mail=b"x" * 400, cn=b"N" * 400)
    assert isinstance(mapped.entry, DirectoryPerson)
    assert (mapped.entry.login, mapped.entry.mail, len(mapped.entry.name)) == (None, None, 256)
    assert mapped.unreadable == ("uid", "mail")
    assert mapped.entry.enabled


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"19700101000000Z", 0),
        (b"2026112108Z", ms(2026, 11, 21, 8)),
        (b"202611210815Z", ms(2026, 11, 21, 8, 15)),
        (b"2026112108.5Z", ms(2026, 11, 21, 8, 30)),
        (b"202611210815,25Z", ms(2026, 11, 21, 8, 15, 15)),
        (b"20261121081500.250Z", ms(2026, 11, 21, 8, 15) + 250),
        (b"20261121081500+0130", ms(2026, 11, 21, 6, 45)),
        (b"20261121081500-01", ms(2026, 11, 21, 9, 15)),
        (b"20161231235960Z", ms(2017, 1, 1)),
        (b"99991231235959Z", ms(9999, 12, 31, 23, 59, 59)),
        (b"20261121081500", None),
        (b"20261321081500Z", None),
        (b"00000101000000Z", None),
        (b"20261121081500Z\n", None),
    ],
)
def test_generalized_time(value: bytes, expected: int | None) -> None:
    assert read_generalized_time_ms(value) == expected


def test_the_entry_uuid_attribute() -> None:
    assert read_stable_id({"entryuuid": [ID.upper().encode()]}) == ID
    assert read_stable_id({"entryuuid": [b"x"]}) is None
    assert read_stable_id({"entryuuid": [b"\xff"]}) is None
    assert read_stable_id({}) is None


@given(
    st.lists(
        st.sampled_from(["uid", "=", "A", "b c", " ", ",", "\\", "\\2c", "+", '"', "ß", "#", "\t", "9"]), max_size=9
    )
)
def test_the_fast_way_to_compare_names_is_the_slow_one(parts: list[str]) -> None:
    dn = "cn=" + "".join(parts)
    try:
        expected = normalise_dn(dn)
    except MalformedDn:
        with pytest.raises(MalformedDn):
            comparable_dn(dn)
    else:
        assert comparable_dn(dn) == expected


@given(st.text(max_size=40))
def test_the_fast_way_holds_for_any_value(value: str) -> None:
    dn = f"uid={value},ou=people"
    try:
        expected = normalise_dn(dn)
    except MalformedDn:
        return
    assert comparable_dn(dn) == expected
