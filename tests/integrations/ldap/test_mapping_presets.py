# SPDX-License-Identifier: EUPL-1.2
"""The presets for Active Directory and 389: who is disabled, locked out, until when, and by which id."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.people.rules import NO_KNOWN_END_MS, DirectoryGroup, DirectoryPerson
from integrations.ldap.mapping import (
    Mapped,
    map_entry,
    read_primary_group_sid,
    read_sid,
    read_stable_id,
    sid_text,
)
from integrations.ldap.mapping_attributes import ACTIVE_DIRECTORY, DS389, OPENLDAP, AttributeMapping

ID = "758581b8-7a5a-1041-930d-e7964142ed9d"
DN = "CN=Anna Arndt,OU=People,DC=corp,DC=example"
NORMAL = b"512"
NEVER = b"9223372036854775807"
SID = bytes.fromhex("0105000000000005 15000000 01000000 02000000 03000000 50040000")
AD = ACTIVE_DIRECTORY.mapping
COMPUTED = "msds-user-account-control-computed"


def person(preset: AttributeMapping = AD, **values: bytes | list[bytes]) -> Mapped:
    lists = {name: [value] if isinstance(value, bytes) else value for name, value in values.items()}
    base = {"objectclass": [b"top", b"person", b"user"], "cn": [b"Anna Arndt"]}
    if preset is AD:
        base["useraccountcontrol"] = [NORMAL]
    return map_entry(preset, ID, DN, {**base, **lists})


def test_a_person_of_active_directory_with_everything() -> None:
    mapped = person(
        displayname=b"Anna M. Arndt",
        samaccountname=b"anna",
        mail=b"anna@stadt.example",
        employeenumber=b"4711",
        department=b"Bauamt",
        userprincipalname=b"anna@corp.example",
        accountexpires=NEVER,
        lockouttime=b"0",
        objectsid=SID,
        **{"msds-user-account-control-computed": b"0"},
    )
    assert mapped.unreadable == ()
    assert mapped.entry == DirectoryPerson(
        stable_id=ID,
        dn="cn=anna arndt,ou=people,dc=corp,dc=example",
        name="Anna M. Arndt",
        enabled=True,
        login="anna",
        mail="anna@stadt.example",
        personnel_number="4711",
        upn="anna@corp.example",
        sid="S-1-5-21-1-2-3-1104",
        department="Bauamt",
    )


@pytest.mark.parametrize(
    ("value", "enabled", "reported"),
    [
        (b"512", True, False),
        (b"514", False, False),
        (b"66048", True, False),
        (b"66050", False, False),
        (b"2", False, False),
        (b"-2147483136", True, False),
        (b"yes", False, True),
        (b"", False, True),
        (b" 512", False, True),
        (b"5" * 20, False, True),
        ([], False, True),
        ([b"512", b"512"], False, True),
    ],
)
def test_only_a_readable_account_without_the_flag_is_enabled(
    value: bytes | list[bytes], enabled: bool, reported: bool
) -> None:
    mapped = person(useraccountcontrol=value)
    assert isinstance(mapped.entry, DirectoryPerson)
    assert (mapped.entry.enabled, mapped.unreadable) == (enabled, ("useraccountcontrol",) if reported else ())


@pytest.mark.parametrize(
    ("computed", "lockout", "locked", "unreadable"),
    [
        (None, None, False, ()),
        (None, b"0", False, ()),
        (None, b"134400375000000000", True, ()),
        (b"0", b"134400375000000000", False, ()),  # the lock has run out
        (b"16", b"134400375000000000", True, ()),
        (b"8388608", b"0", False, ()),  # the password has run out: no matter of doors
        (b"?", b"0", False, ("msds-user-account-control-computed",)),
        (None, b"?", False, ("lockouttime",)),
    ],
)
def test_a_lock_after_wrong_passwords_is_told_apart(
    computed: bytes | None, lockout: bytes | None, locked: bool, unreadable: tuple[str, ...]
) -> None:
    """It ends when the domain says so, or nobody knows."""
    values = {"msds-user-account-control-computed": computed, "lockouttime": lockout}
    given = {name: value for name, value in values.items() if value is not None}
    for lock_out_ms, until_ms in ((None, NO_KNOWN_END_MS), (900_000, 1_795_563_900_000 + 900_000)):
        mapped = person(replace(AD, lock_out_ms=lock_out_ms), useraccountcontrol=NORMAL, **given)
        assert isinstance(mapped.entry, DirectoryPerson)
        assert (mapped.entry.locked_until_ms, mapped.unreadable) == (until_ms if locked else None, unreadable)
        assert mapped.entry.enabled is not bool(unreadable)


def test_a_lock_whose_beginning_is_hidden_has_no_known_end() -> None:
    """The computed flags alone say that there is one."""
    mapped = person(replace(AD, lock_out_ms=900_000), useraccountcontrol=NORMAL, **{COMPUTED: b"16"})
    assert isinstance(mapped.entry, DirectoryPerson)
    assert (mapped.entry.locked_until_ms, mapped.entry.enabled) == (NO_KNOWN_END_MS, True)


@pytest.mark.parametrize(
    ("value", "until_ms", "unreadable"),
    [
        ([], None, ()),
        (b"20261121081500Z", 1_795_248_900_000, ()),
        (b"19700101000000Z", NO_KNOWN_END_MS, ()),  # until somebody resets the password
        (b"soon", None, ("accountunlocktime",)),
    ],
)
def test_389_says_when_a_lock_ends(
    value: bytes | list[bytes], until_ms: int | None, unreadable: tuple[str, ...]
) -> None:
    """Whatever the settings say."""
    mapped = person(replace(DS389.mapping, lock_out_ms=900_000), accountunlocktime=value)
    assert isinstance(mapped.entry, DirectoryPerson)
    assert (mapped.entry.locked_until_ms, mapped.unreadable) == (until_ms, unreadable)
    assert mapped.entry.enabled is not bool(unreadable)


@pytest.mark.parametrize(
    ("value", "until_ms"),
    [
        (b"0", None),
        (NEVER, None),
        (b"116444736000000000", 0),
        (b"116444736000010000", 1),
        (b"133801632000000000", 1_735_689_600_000),  # 2025-01-01
        (b"1", -11_644_473_600_000),
    ],
)
def test_an_account_expires_at_an_instant_or_never(value: bytes, until_ms: int | None) -> None:
    mapped = person(accountexpires=value)
    assert isinstance(mapped.entry, DirectoryPerson)
    assert (mapped.entry.valid_until_ms, mapped.entry.enabled, mapped.unreadable) == (until_ms, True, ())


@pytest.mark.parametrize("value", [b"never", b"", b"1.5", b"9" * 20])
def test_an_expiry_that_is_none_disables_and_is_reported(value: bytes) -> None:
    mapped = person(accountexpires=value)
    assert isinstance(mapped.entry, DirectoryPerson)
    assert (mapped.entry.enabled, mapped.unreadable) == (False, ("accountexpires",))


@given(st.dictionaries(st.sampled_from(AD.attributes()), st.lists(st.binary(max_size=30), max_size=3)))
def test_no_bytes_enable_anybody_by_accident(values: dict[str, list[bytes]]) -> None:
    """Whatever comes, nothing is raised, and only a readable flag enables."""
    entry = map_entry(AD, ID, DN, {"objectclass": [b"user"], **values}).entry
    if isinstance(entry, DirectoryPerson) and entry.enabled:
        assert not int(values["useraccountcontrol"][0]) & 2


@given(st.uuids())
def test_ids_are_read_as_each_server_writes_them(one: uuid.UUID) -> None:
    text, plain = str(one), one.hex
    assert read_stable_id({"objectguid": [one.bytes_le]}, AD.stable_id) == text
    assert read_stable_id({"entryuuid": [text.upper().encode()]}) == text
    parts = "-".join(plain[at : at + 8] for at in range(0, 32, 8))
    assert read_stable_id({"nsuniqueid": [parts.encode()]}, DS389.mapping.stable_id) == text


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("objectguid", []),
        ("objectguid", [b"x" * 15]),
        ("objectguid", [b"x" * 16, b"y" * 16]),
        ("objectguid", [b"758581b8-7a5a-1041-930d-e7964142ed9d"]),
        ("nsuniqueid", [b"758581b8-7a5a1041-930de796"]),
        ("nsuniqueid", [b"\xff" * 35]),
    ],
)
def test_an_id_that_is_none_is_no_id(kind: str, values: list[bytes]) -> None:
    assert read_stable_id({kind: values}, kind) is None


def test_a_security_identifier_leads_to_the_primary_group() -> None:
    attributes = {"objectsid": [SID], "primarygroupid": [b"513"]}
    assert read_sid(AD, attributes) == SID
    group = read_primary_group_sid(AD, attributes)
    assert group is not None
    assert sid_text(group) == "S-1-5-21-1-2-3-513"


def test_a_security_identifier_may_be_text() -> None:
    """As Samba's file server and FreeIPA keep it."""
    mapping = AttributeMapping(sid="ipaNTSecurityIdentifier")
    written = {"ipantsecurityidentifier": [b"S-1-5-21-1-2-3-1104"]}
    assert read_sid(mapping, written) == SID
    for wrong in (b"S-1-5", b"S-2-5-21-1", b"S-1-5-4294967296", b"S-1-281474976710656-1", b"S-1-5" + b"-1" * 16, b"x"):
        assert read_sid(mapping, {"ipantsecurityidentifier": [wrong]}) is None


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"objectsid": [SID]},
        {"objectsid": [SID], "primarygroupid": [b"x"]},
        {"objectsid": [SID], "primarygroupid": [b"4294967296"]},
        {"objectsid": [SID], "primarygroupid": [b"513", b"514"]},
        {"objectsid": [SID[:-1]], "primarygroupid": [b"513"]},
        {"objectsid": [SID[:8]], "primarygroupid": [b"513"]},
        {"objectsid": [b"\x02" + SID[1:]], "primarygroupid": [b"513"]},
        {"objectsid": [SID, SID], "primarygroupid": [b"513"]},
    ],
)
def test_what_is_no_security_identifier_leads_nowhere(attributes: dict[str, list[bytes]]) -> None:
    assert read_primary_group_sid(AD, attributes) is None
    assert read_primary_group_sid(OPENLDAP.mapping, {"objectsid": [SID], "primarygroupid": [b"513"]}) is None


def test_a_group_of_active_directory() -> None:
    values = {"objectclass": [b"top", b"group"], "cn": [b"Doors"], "member": [DN.encode()]}
    mapped = map_entry(AD, ID, "CN=Doors,DC=corp,DC=example", values)
    members = frozenset({"cn=anna arndt,ou=people,dc=corp,dc=example"})
    assert mapped.entry == DirectoryGroup(ID, "cn=doors,dc=corp,dc=example", "Doors", members)


@pytest.mark.parametrize(
    ("value", "enabled"), [(None, True), (b"TRUE", False), (b"true", False), (b"false", True), (b"maybe", False)]
)
def test_an_account_of_389_is_open_unless_it_is_locked(value: bytes | None, enabled: bool) -> None:
    mapped = person(DS389.mapping, **({"nsaccountlock": value} if value is not None else {}))
    assert isinstance(mapped.entry, DirectoryPerson)
    assert mapped.entry.enabled is enabled


def test_what_a_server_computes_is_read_but_not_followed() -> None:
    """DirSync refuses or ignores attributes that are not stored."""
    more = set(AD.attributes()) - set(AD.stored_attributes())
    assert more == {"objectclass", "usnchanged", "msds-user-account-control-computed"}
    for preset in (OPENLDAP, ACTIVE_DIRECTORY, DS389):
        assert preset.mapping.stable_id in preset.mapping.attributes()
        assert "" not in preset.mapping.attributes()
