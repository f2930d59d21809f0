# SPDX-License-Identifier: EUPL-1.2
"""Bind, search and writes answer as slapd does; the codes and texts were compared with slapd 2.5."""

import pytest

from directorysim import ThreadedServer, ber
from tests.directorysim.client import (
    ADMIN,
    PEOPLE,
    PLAIN,
    READER,
    SUFFIX,
    BareClient,
    control,
    equality,
    sync_control,
)
from tests.directorysim.conftest import Connect, Serve

U1 = f"uid=u1,{PEOPLE}"


@pytest.mark.parametrize(
    ("dn", "password", "code"),
    [
        (ADMIN, "adminpw", 0),
        (READER.upper(), "doorspw", 0),
        (READER, "wrong", 49),
        (READER, "DOORSPW", 49),
        (f"cn=nobody,{SUFFIX}", "x", 49),
        (U1, "x", 49),
        (READER, "", 53),
        ("", "", 48),
        ("", "x", 49),
        ("rubbish", "x", 34),
    ],
)
def test_bind(connect: Connect, dn: str, password: str, code: int) -> None:
    """Only the right password binds; empty passwords and anonymous binds are refused."""
    assert connect(None).bind(dn, password).code == code


def test_a_failed_bind_leaves_nobody_bound(connect: Connect) -> None:
    """After a failed bind the earlier identity is gone."""
    client = connect(READER)
    assert client.bind(READER, "wrong").code == 49
    assert client.found(SUFFIX)[-1].code == 32


def test_old_protocol_versions_and_sasl_are_refused(connect: Connect) -> None:
    """LDAP v2 is a protocol error, SASL an unsupported method."""
    client = connect(None)
    assert client.bind(READER, "doorspw", version=2).code == 2
    client.send(ber.encode(0x60, b"\x02\x01\x03\x04\x00\xa3\x0a\x04\x08EXTERNAL"))
    assert client.receive().code == 7


def test_without_a_bind_only_the_root_dse_is_there(connect: Connect) -> None:
    """The root DSE is readable; entries do not exist, writes need authentication."""
    client = connect(None)
    root, done = client.found("", scope=0, attributes=["*", "+"])
    assert done.code == 0
    assert root.attribute("namingContexts") == [SUFFIX]
    assert "1.3.6.1.4.1.4203.1.9.1.1" in (root.attribute("supportedControl") or [])
    assert "1.3.6.1.4.1.1466.20037" in (root.attribute("supportedExtension") or [])
    assert root.attribute("supportedLDAPVersion") == ["3"]
    assert root.attribute("vendorName") == ["directorysim"]
    assert client.found(SUFFIX)[-1].code == 32
    assert client.found(U1, scope=0)[-1].code == 32
    assert client.delete(U1).code == 8
    assert client.modify(U1, 2, "sn", "x").code == 8


def test_scopes(connect: Connect) -> None:
    """Base, one level, subtree and subordinates return the right entries."""
    client = connect()
    names = {
        scope: [reply.name for reply in client.found(PEOPLE, scope=scope, attributes=["1.1"])[:-1]]
        for scope in range(4)
    }
    people = [f"uid=u{number},{PEOPLE}" for number in range(1, 6)]
    assert names == {0: [PEOPLE], 1: people, 2: [PEOPLE, *people], 3: people}


def test_a_missing_base_names_the_nearest_entry(connect: Connect) -> None:
    """A noSuchObject result carries the matched name; other suffixes do not exist either."""
    client = connect()
    done = client.found(f"uid=x,uid=y,{PEOPLE}")[-1]
    assert done.code == 32
    assert done.operation.children[1].content.decode() == PEOPLE
    assert client.found("dc=other")[-1].code == 32
    assert client.found("", scope=2)[-1].code == 32
    assert client.found("rubbish")[-1].code == 34


def test_attribute_selection(connect: Connect) -> None:
    """`*`, `+`, names in any case, `1.1` and types only."""
    client = connect()

    def names(*attributes: str, types_only: bool = False) -> list[str]:
        return client.found(U1, scope=0, attributes=attributes, types_only=types_only)[0].names()

    user = ["objectClass", "uid", "cn", "sn", "mail"]
    operational = {"entryUUID", "entryCSN", "createTimestamp", "modifyTimestamp", "entryDN", "hasSubordinates"}
    assert names() == user
    assert names("*") == user
    assert names("1.1") == []
    assert names("MAIL", "surname", "missing") == ["sn", "mail"]
    assert operational <= set(names("+"))
    assert not set(user) & set(names("+"))
    assert set(user) | operational <= set(names("*", "+"))
    assert names("entryuuid", "*") == [*user, "entryUUID"]
    entry = client.found(U1, scope=0, attributes=["cn"], types_only=True)[0]
    assert entry.attribute("cn") == []


def test_the_suffix_shows_the_context_csn(connect: Connect) -> None:
    """The contextCSN is on the suffix entry, by name only, and follows every change."""
    admin = connect(ADMIN)
    before = admin.found(SUFFIX, scope=0, attributes=["contextCSN"])[0].attribute("contextCSN")
    assert admin.modify(U1, 2, "sn", "New").code == 0
    after = admin.found(SUFFIX, scope=0, attributes=["contextCSN"])[0].attribute("contextCSN")
    changed = admin.found(U1, scope=0, attributes=["entryCSN"])[0].attribute("entryCSN")
    assert before is not None
    assert after is not None
    assert after == changed
    assert after > before
    assert "contextCSN" not in admin.found(SUFFIX, scope=0)[0].names()


def test_passwords_are_never_returned(connect: Connect) -> None:
    """Neither owner nor administrator gets a password by any name, filter or compare."""
    for who in (ADMIN, READER):
        client = connect(who)
        for wanted in (["*", "+"], ["userPassword"], ["2.5.4.35"], ["userPassword;x"]):
            entry = client.found(READER, scope=0, attributes=wanted)[0]
            assert not [name for name in entry.names() if "assword" in name or name.startswith("2.")]
        assert len(client.found(SUFFIX, filter=equality("userPassword", "doorspw"))) == 1
        assert len(client.found(SUFFIX, filter=ber.encode_octets(b"userPassword", 0x87))) == 1


def test_a_password_cannot_hide_behind_an_option_or_a_name(connect: Connect) -> None:
    """A userPassword with an option binds and stays hidden; as the name of an entry it is refused."""
    admin = connect(ADMIN)
    assert admin.modify(U1, 2, "userPassword;x-new", "geheim").code == 0
    assert not [name for name in admin.found(U1, scope=0, attributes=["*", "+"])[0].names() if "assword" in name]
    assert connect(None).bind(U1, "geheim").code == 0
    assert admin.add(f"userPassword=geheim,{PEOPLE}", objectClass="person").code == 64


def test_changing_and_removing_a_password(connect: Connect) -> None:
    """A replaced password binds, the old one does not; a deleted one binds no more."""
    admin = connect(ADMIN)
    assert admin.modify(READER, 2, "userPassword", "neu").code == 0
    assert connect(None).bind(READER, "doorspw").code == 49
    assert connect(None).bind(READER, "neu").code == 0
    assert admin.modify(READER, 1, "userPassword", "falsch").code == 16
    assert admin.modify(READER, 1, "userPassword").code == 0
    assert connect(None).bind(READER, "neu").code == 49


def test_a_locked_account_cannot_bind(connect: Connect) -> None:
    """A pwdAccountLockedTime locks; it is operational, so it is returned only when asked for."""
    admin = connect(ADMIN)
    assert admin.modify(READER, 2, "pwdAccountLockedTime", "000001010000Z").code == 0
    assert connect(None).bind(READER, "doorspw").code == 49
    assert "pwdAccountLockedTime" not in admin.found(READER, scope=0)[0].names()
    assert admin.found(READER, scope=0, attributes=["pwdAccountLockedTime"])[0].names() == ["pwdAccountLockedTime"]


def test_only_the_administrator_writes(connect: Connect) -> None:
    """Everybody else gets insufficientAccess, or noSuchObject for what is not there."""
    reader = connect(READER)
    assert reader.modify(U1, 2, "sn", "x").code == 50
    assert reader.modify(READER, 2, "userPassword", "x").code == 50
    assert reader.delete(U1).code == 50
    assert reader.add(f"uid=n,{PEOPLE}", objectClass="inetOrgPerson", cn="n", sn="n").code == 50
    assert reader.rename(U1, "uid=n").code == 50
    assert reader.delete(f"uid=nobody,{PEOPLE}").code == 32


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ((0, "mail", "U1@corp.example"), 20, "modify/add: mail: value #0 already exists"),
        ((1, "title"), 16, "modify/delete: title: no such attribute"),
        ((1, "mail", "zz"), 16, "modify/delete: mail: no such value"),
        ((2, "entryUUID", "8e193ad8-7a57-1041-95f7-03e96d5b5acd"), 19, "entryUUID: no user modification allowed"),
        ((2, "uid", "other"), 64, "value of naming attribute 'uid' is not present in entry"),
        ((1, "objectClass"), 65, "no objectClass attribute"),
        ((2, "manager", "rubbish"), 21, "manager: value #0 invalid per syntax"),
        ((0, "title", "x", "X "), 20, "title: value #0 provided more than once"),
        ((0, "title"), 2, "modify/add operation requires values"),
        ((0, "ti tle", "x"), 17, "attribute description is not well-formed"),
        ((2, "title"), 0, ""),
        ((0, "title", "x"), 0, ""),
        ((1, "mail", "U1@CORP.example"), 0, ""),
    ],
)
def test_modify(connect: Connect, change: tuple[int, str], code: int, text: str) -> None:
    """Each kind of change ends with slapd's code and text."""
    reply = connect(ADMIN).modify(U1, *change)
    assert (reply.code, reply.text) == (code, text)


def test_a_failed_modify_changes_nothing(connect: Connect) -> None:
    """The first change is undone when the second one fails."""
    admin = connect(ADMIN)
    changes = b"".join(
        ber.encode_sequence(
            ber.encode_integer(2, ber.ENUMERATED),
            ber.encode_sequence(ber.encode_octets(name), ber.encode_sequence(ber.encode_octets(value), tag=ber.SET)),
        )
        for name, value in ((b"sn", b"x"), (b"entryUUID", b"8e193ad8-7a57-1041-95f7-03e96d5b5acd"))
    )
    before = admin.found(U1, scope=0, attributes=["*", "+"])[0].operation
    admin.send(ber.encode_sequence(ber.encode_octets(U1.encode()), ber.encode(ber.SEQUENCE, changes), tag=0x66))
    assert admin.receive().code == 19
    assert admin.found(U1, scope=0, attributes=["*", "+"])[0].operation == before


def test_add_and_delete(connect: Connect) -> None:
    """Adding and deleting answer as slapd does, and naming values are added when missing."""
    admin = connect(ADMIN)
    new = f"uid=new,{PEOPLE}"
    assert admin.add(new, objectClass="inetOrgPerson", cn="n", sn="n").code == 0
    assert admin.found(new, scope=0)[0].attribute("uid") == ["new"]
    assert admin.add(new.upper(), objectClass="inetOrgPerson", cn="n", sn="n").code == 68
    assert admin.add(f"uid=a,ou=none,{SUFFIX}", objectClass="inetOrgPerson", cn="n", sn="n").code == 32
    outside = admin.add("uid=a,dc=other", objectClass="inetOrgPerson", cn="n", sn="n")
    assert (outside.code, outside.text) == (53, "no global superior knowledge")
    assert admin.add(f"uid=b,{PEOPLE}", cn="b").code == 65
    assert (
        admin.add(f"uid=b,{PEOPLE}", objectClass="person", entryUUID="8e193ad8-7a57-1041-95f7-03e96d5b5acd").code == 19
    )
    assert admin.delete(PEOPLE).code == 66
    assert admin.delete(new).code == 0
    assert admin.delete(new).code == 32


def test_rename_moves_everything_below(connect: Connect) -> None:
    """A renamed branch keeps its entries and their identifiers under the new name."""
    admin = connect(ADMIN)
    before = admin.found(U1, scope=0, attributes=["entryUUID"])[0]
    assert admin.rename(PEOPLE, "ou=staff").code == 0
    moved = admin.found(f"uid=u1,ou=staff,{SUFFIX}", scope=0, attributes=["entryUUID", "entryDN"])[0]
    assert moved.attribute("entryUUID") == before.attribute("entryUUID")
    assert moved.attribute("entryDN") == [f"uid=u1,ou=staff,{SUFFIX}"]
    assert admin.found(U1, scope=0)[-1].code == 32
    assert len(admin.found(f"ou=staff,{SUFFIX}", scope=1)) == 6
    assert admin.found(f"ou=staff,{SUFFIX}", scope=0)[0].attribute("ou") == ["staff"]


def test_rename_to_another_place(connect: Connect) -> None:
    """A new superior moves; the old naming value stays when it should; impossible moves are refused."""
    admin = connect(ADMIN)
    assert admin.rename(U1, "uid=one", SUFFIX, delete_old=False).code == 0
    assert admin.found(f"uid=one,{SUFFIX}", scope=0)[0].attribute("uid") == ["u1", "one"]
    assert admin.rename(f"uid=u2,{PEOPLE}", "uid=u3").code == 68
    assert admin.rename(f"uid=u2,{PEOPLE}", "uid=u2", f"ou=none,{SUFFIX}").text == "new superior not found"
    assert admin.rename(PEOPLE, "ou=people", f"uid=u2,{PEOPLE}").code == 53
    assert admin.rename(SUFFIX, "dc=other").code == 71
    assert admin.rename(f"uid=u2,{PEOPLE}", "UID=U2").code == 0
    assert admin.found(f"uid=u2,{PEOPLE}", scope=0)[0].name == f"uid=U2,{PEOPLE}"


@pytest.mark.parametrize(
    ("dn", "name", "value", "code"),
    [
        (U1, "sn", "NAME1", 6),
        (U1, "sn", "x", 5),
        (U1, "title", "x", 16),
        (U1, "uidNumber", "x", 21),
        (U1, "uidNumber", "1", 16),
        (U1, "userPassword", "x", 50),
        (f"uid=nobody,{PEOPLE}", "sn", "x", 32),
        (f"cn=staff,{SUFFIX}", "member", f"UID=U1, {PEOPLE}", 6),
    ],
)
def test_compare(connect: Connect, dn: str, name: str, value: str, code: int) -> None:
    """Compare follows the attribute's rule; a password cannot be compared."""
    client = connect()
    assertion = ber.encode_sequence(ber.encode_octets(name.encode()), ber.encode_octets(value.encode()))
    client.send(ber.encode_sequence(ber.encode_octets(dn.encode()), assertion, tag=0x6E))
    assert client.receive().code == code


def test_the_size_limit_holds_for_normal_users(serve: Serve, connect: Connect) -> None:
    """A normal user gets the server's limit, a listed one and the administrator everything, all their own."""
    server = serve(30, size_limit=10)
    plain = connect(PLAIN, to=server)
    replies = plain.found(SUFFIX)
    assert (len(replies) - 1, replies[-1].code) == (10, 4)
    assert [len(plain.found(SUFFIX, size_limit=limit)) - 1 for limit in (3, 20)] == [3, 10]
    for who in (READER, ADMIN):
        client = connect(who, to=server)
        assert client.found(SUFFIX)[-1].code == 0
        limited = client.found(SUFFIX, size_limit=7)
        assert (len(limited) - 1, limited[-1].code) == (7, 4)


def page(client: BareClient, size: int, cookie: bytes) -> tuple[int, bytes, int]:
    """Fetch a page: number of entries, next cookie, result code."""
    value = ber.encode_sequence(ber.encode_integer(size), ber.encode_octets(cookie))
    replies = client.found(PEOPLE, control("1.2.840.113556.1.4.319", value), attributes=["1.1"])
    answer = replies[-1].controls.get("1.2.840.113556.1.4.319")
    following = ber.decode(answer).children[1].content if answer is not None else b""
    return len(replies) - 1, following, replies[-1].code


def test_paged_results(connect: Connect) -> None:
    """Pages cover every entry once; a cookie works once, and only the right one."""
    client = connect()
    counts, cookie = [], b""
    for _ in range(3):
        count, cookie, code = page(client, 2, cookie)
        assert code == 0
        counts.append(count)
    assert (counts, cookie) == ([2, 2, 2], b"")
    _, cookie, _ = page(client, 4, b"")
    assert page(client, 4, b"wrong") == (0, b"", 2)
    assert page(client, 4, b"not this") == (0, b"", 53)
    assert page(client, 4, cookie) == (0, b"", 53)
    _, cookie, _ = page(client, 4, b"")
    assert page(client, 0, cookie) == (0, b"", 0)


def test_the_size_limit_counts_over_all_pages(serve: Serve, connect: Connect) -> None:
    """As in slapd, paging is no way around the limit."""
    client = connect(PLAIN, to=serve(30, size_limit=10))
    _, cookie, _ = page(client, 8, b"")
    assert page(client, 8, cookie) == (2, b"", 4)


def test_controls(connect: Connect) -> None:
    """An unknown critical control is refused, an uncritical one ignored; a sync control needs a naming context."""
    client = connect()
    refused = client.found(U1, control("1.2.3.4"), scope=0)[-1]
    assert (refused.code, refused.text) == (12, "critical extension is not recognized")
    assert client.found(U1, control("1.2.3.4", critical=False), scope=0)[-1].code == 0
    assert client.found(U1, control("2.16.840.1.113730.3.4.2"), scope=0)[-1].code == 0
    assert client.found("", sync_control(1), scope=0)[-1].code == 12
    assert client.found(U1, control("1.3.6.1.4.1.4203.1.9.1.1", b"x"), scope=0)[-1].code == 2
    assert client.found(U1, control("1.2.3"), control("1.2.3"), scope=0)[-1].code == 12


def test_extended_operations(connect: Connect) -> None:
    """Who am I names the bound one; an unknown operation is a protocol error."""
    who_am_i = "1.3.6.1.4.1.4203.1.11.3"
    assert connect(READER).extended(who_am_i).operation.children[-1].content == f"dn:{READER}".encode()
    assert connect(None).extended(who_am_i).operation.children[-1].content == b""
    assert connect(READER).extended("1.2.3.4").code == 2


def test_a_body_that_cannot_be_decoded_is_a_protocol_error(connect: Connect) -> None:
    """The connection survives a request whose operation is malformed."""
    client = connect()
    client.send(b"\x63\x02\x04\x00")
    assert client.receive().code == 2
    assert client.found(U1, scope=0)[-1].code == 0


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.0\r\n\r\n", b"\x30\x84\x7f\xff\xff\xff", b"\x30\x05\x02\x01\x01\x7e\x00", b"\x30\x02\x05\x00"],
)
def test_what_is_not_ldap_is_disconnected(server: ThreadedServer, connect: Connect, data: bytes) -> None:
    """A stranger gets a notice of disconnection; the server goes on."""
    client = connect(None)
    client.socket.sendall(data)
    notice = client.receive()
    assert (notice.message_id, notice.tag, notice.code) == (0, 0x78, 2)
    with pytest.raises(EOFError):
        client.receive()
    assert connect().found(U1, scope=0)[-1].code == 0
