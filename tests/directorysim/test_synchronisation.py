# SPDX-License-Identifier: EUPL-1.2
"""Content synchronisation (RFC 4533): what a consumer is told, message by message, as slapd tells it."""

import uuid
from dataclasses import dataclass

import pytest

from directorysim import ThreadedServer, ber
from tests.directorysim.client import (
    ADMIN,
    PEOPLE,
    PLAIN,
    SUFFIX,
    BareClient,
    Reply,
    equality,
    sync_control,
)
from tests.directorysim.conftest import Connect, Serve

STATE = "1.3.6.1.4.1.4203.1.9.1.2"
DONE = "1.3.6.1.4.1.4203.1.9.1.3"
INFO = "1.3.6.1.4.1.4203.1.9.1.4"
REFRESH, PERSIST = 1, 3
PERSON = equality("objectClass", "inetOrgPerson")
NOT_OUT = ber.encode_sequence(PERSON, ber.encode_sequence(equality("sn", "Out"), tag=0xA2), tag=0xA0)


@dataclass
class Told:
    """What a consumer learned: (state, name) of entries, id sets as (refreshDeletes, count), and the end."""

    entries: list[tuple[int, str]]
    id_sets: list[tuple[bool, int]]
    cookie: bytes | None
    refresh_deletes: bool


def flagged(parts: tuple[ber.Element, ...]) -> bool:
    """Whether a BOOLEAN among the parts is TRUE."""
    return any(ber.to_boolean(part) for part in parts if part.tag == ber.BOOLEAN)


def cookie_of(parts: tuple[ber.Element, ...]) -> bytes | None:
    """The cookie among the parts."""
    return next((part.content for part in parts if part.tag == ber.OCTET_STRING), None)


def state_of(reply: Reply) -> tuple[int, bytes, bytes | None]:
    """State, identifier and cookie of an entry's Sync State control."""
    parts = ber.decode(reply.controls[STATE]).children
    return ber.to_integer(parts[0]), parts[1].content, parts[2].content if len(parts) > 2 else None


def info_of(reply: Reply) -> ber.Element:
    """The syncInfoValue of an intermediate response."""
    assert reply.operation.children[0].content.decode() == INFO
    return ber.decode(reply.operation.children[1].content)


def short(name: str) -> str:
    """The first component of a name."""
    return name.partition(",")[0]


def refresh(client: BareClient, mode: int = REFRESH, cookie: bytes | None = None, **options: object) -> Told:
    """Synchronise up to the end of the refresh."""
    options.setdefault("filter", PERSON)
    client.search(SUFFIX, sync_control(mode, cookie), **options)
    entries, id_sets = [], []
    while True:
        reply = client.receive()
        if reply.tag == 0x64:
            entries.append((state_of(reply)[0], short(reply.name)))
            continue
        if reply.tag == 0x65:
            assert reply.code == 0, reply.text
            parts = ber.decode(reply.controls[DONE]).children
            return Told(entries, id_sets, cookie_of(parts), flagged(parts))
        info = info_of(reply)
        if info.tag != 0xA3:
            return Told(entries, id_sets, cookie_of(info.children), info.tag == 0xA1)
        id_sets.append((flagged(info.children), len(info.children[-1].children)))


@pytest.fixture
def admin(connect: Connect) -> BareClient:
    """A connection of the administrator."""
    return connect(ADMIN)


@pytest.fixture
def consumer(connect: Connect) -> BareClient:
    """A connection of a user without a size limit."""
    return connect()


def test_the_first_refresh_adds_everything(server: ThreadedServer, consumer: BareClient) -> None:
    """Without a cookie all matching entries come as add, then a cookie with refreshDeletes, as from slapd."""
    told = refresh(consumer)
    assert told.entries == [(1, f"uid=u{number}") for number in range(1, 6)]
    assert told.cookie == f"rid=000,csn={server.context_csn}".encode()
    assert (told.id_sets, told.refresh_deletes) == ([], True)


def test_the_identifier_in_the_control_is_the_entry_uuid(consumer: BareClient) -> None:
    """The control's 16 bytes are the entryUUID; no cookie is needed per entry."""
    reply = consumer.found(PEOPLE, sync_control(REFRESH), filter=equality("uid", "u1"), attributes=["entryUUID"])[0]
    state, identifier, cookie = state_of(reply)
    assert (state, [str(uuid.UUID(bytes=identifier))], cookie) == (1, reply.attribute("entryUUID"), None)


def test_a_current_cookie_ends_at_once(consumer: BareClient) -> None:
    """Nothing new: Sync Done without entries and without a cookie, refreshDeletes TRUE (the heartbeat)."""
    cookie = refresh(consumer).cookie
    assert refresh(consumer, cookie=cookie) == Told([], [], None, True)
    assert refresh(consumer, PERSIST, cookie) == Told([], [], None, True)


def test_resuming_with_the_session_log(admin: BareClient, consumer: BareClient) -> None:
    """Changes come as add; deleted entries and those that match no more in a syncIdSet with refreshDeletes."""
    cookie = refresh(consumer, filter=NOT_OUT).cookie
    admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "New")
    admin.modify(f"uid=u2,{PEOPLE}", 2, "sn", "Out")
    admin.delete(f"uid=u3,{PEOPLE}")
    admin.add(f"uid=u6,{PEOPLE}", objectClass="inetOrgPerson", cn="n", sn="x")
    admin.rename(f"uid=u4,{PEOPLE}", "uid=u4x")
    told = refresh(consumer, cookie=cookie, filter=NOT_OUT)
    assert sorted(told.entries) == [(1, "uid=u1"), (1, "uid=u4x"), (1, "uid=u6")]
    assert told.id_sets == [(True, 1), (True, 1)]
    assert told.refresh_deletes
    assert refresh(consumer, cookie=told.cookie, filter=NOT_OUT).entries == []


def test_many_entries_are_named_in_sets_of_256(serve: Serve, connect: Connect) -> None:
    """A present phase for 300 people takes two syncIdSet messages; 40 deletes from the log take one each."""
    server = serve(340)
    consumer, admin = connect(to=server), connect(ADMIN, to=server)
    cookie = refresh(consumer).cookie
    for number in range(1, 41):
        assert admin.delete(f"uid=u{number},{PEOPLE}").code == 0
    assert refresh(consumer, cookie=cookie).id_sets == [(True, 1)] * 40
    server.forget_session_log()
    assert refresh(consumer, cookie=cookie).id_sets == [(False, 256), (False, 44)]


@pytest.mark.parametrize("mode", [REFRESH, PERSIST])
def test_without_the_log_there_is_a_present_phase(
    server: ThreadedServer, admin: BareClient, consumer: BareClient, mode: int
) -> None:
    """All entries are named, changed ones sent, refreshDeletes is FALSE: whoever is not named is gone."""
    cookie = refresh(consumer).cookie
    admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "New")
    admin.delete(f"uid=u2,{PEOPLE}")
    server.forget_session_log()
    told = refresh(consumer, mode, cookie)
    assert told.entries == [(1, "uid=u1")]
    assert told.id_sets == [(False, 4)]
    assert not told.refresh_deletes
    assert told.cookie == f"rid=000,csn={server.context_csn}".encode()


def test_a_full_session_log_leads_to_a_present_phase(serve: Serve, connect: Connect) -> None:
    """The log holds as many changes as configured: exactly so many can be resumed, one more cannot."""
    server = serve(session_log_size=3)
    consumer, admin = connect(to=server), connect(ADMIN, to=server)
    cookie = refresh(consumer).cookie
    for text in ("a", "b", "c"):
        admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", text)
    assert refresh(consumer, cookie=cookie).refresh_deletes
    admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "d")
    assert refresh(consumer, cookie=cookie) == Told(
        [(1, "uid=u1")], [(False, 5)], f"rid=000,csn={server.context_csn}".encode(), False
    )


def test_a_restart_loses_the_log_but_not_the_content(
    server: ThreadedServer, connect: Connect, admin: BareClient
) -> None:
    """After a restart on the same port a current cookie still holds, an older one gets a present phase."""
    old = refresh(connect()).cookie
    admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "New")
    current = refresh(connect()).cookie
    server.restart()
    again = connect()
    assert refresh(again, cookie=current) == Told([], [], None, True)
    assert not refresh(again, cookie=old).refresh_deletes


@pytest.mark.parametrize(
    "cookie",
    [
        b"",
        b"rubbish",
        b"rid=000",
        b"rid=000,csn=bogus",
        b"rid=000,csn=20269999999999.000000Z#000000#000#000000",
        b"\xff\x00" * 4_000,
    ],
)
def test_a_rubbish_cookie_means_a_full_refresh(consumer: BareClient, cookie: bytes) -> None:
    """A cookie that says nothing to this server is as good as none."""
    told = refresh(consumer, cookie=cookie)
    assert len(told.entries) == 5
    assert told.cookie
    assert told.refresh_deletes


def test_a_cookie_of_another_server_means_everything_is_named_again(consumer: BareClient) -> None:
    """All entries come, and refreshDeletes is FALSE, so the consumer drops what it does not see."""
    told = refresh(consumer, cookie=b"rid=000,csn=29990101000000.000000Z#000000#007#000000")
    assert (len(told.entries), told.refresh_deletes) == (5, False)


def test_a_cookie_from_the_future_is_refused(consumer: BareClient) -> None:
    """A consumer that knows more than the server gets result 53, as after a restored backup."""
    cookie = b"rid=000,csn=20991231000000.000000Z#000000#000#000000"
    for mode in (REFRESH, PERSIST):
        done = consumer.found(SUFFIX, sync_control(mode, cookie))[-1]
        assert (done.code, done.text) == (53, "consumer state is newer than provider!")


@pytest.mark.parametrize(("dereference", "code"), [(0, 0), (1, 2), (2, 0), (3, 2)])
def test_dereferencing_in_a_search_is_refused(consumer: BareClient, dereference: int, code: int) -> None:
    """Aliases cannot be followed while synchronising; finding the base is allowed, as in slapd."""
    assert consumer.found(SUFFIX, sync_control(REFRESH), dereference=dereference)[-1].code == code


def test_the_size_limit_holds_for_a_synchronisation(serve: Serve, connect: Connect) -> None:
    """A limited user gets result 4 and no cookie; nothing persists after that."""
    server = serve(30, size_limit=10)
    limited, admin = connect(PLAIN, to=server), connect(ADMIN, to=server)
    for mode in (REFRESH, PERSIST):
        replies = limited.found(SUFFIX, sync_control(mode), filter=PERSON)
        assert (len(replies) - 1, replies[-1].code, replies[-1].controls) == (10, 4, {})
    admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "New")
    assert limited.extended("1.3.6.1.4.1.4203.1.11.3").code == 0


def test_changes_are_delivered_while_persisting(
    server: ThreadedServer, admin: BareClient, consumer: BareClient
) -> None:
    """Each write that concerns the content comes at once, with the right state and its own cookie."""
    refresh(consumer, PERSIST, filter=NOT_OUT)

    def told() -> tuple[int, str]:
        reply = consumer.receive()
        state, _, cookie = state_of(reply)
        assert cookie == f"rid=000,csn={server.context_csn}".encode()
        assert bool(reply.names()) is (state != 3)
        return state, short(reply.name)

    assert admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "New").code == 0
    assert told() == (2, "uid=u1")
    assert admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "Out").code == 0
    assert told() == (3, "uid=u1")
    assert admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "Back").code == 0
    assert told() == (1, "uid=u1")
    assert admin.delete(f"uid=u2,{PEOPLE}").code == 0
    assert told() == (3, "uid=u2")
    assert admin.add(f"uid=u6,{PEOPLE}", objectClass="inetOrgPerson", cn="n", sn="n").code == 0
    assert told() == (1, "uid=u6")
    assert admin.rename(f"uid=u3,{PEOPLE}", "uid=u3x").code == 0
    assert told() == (2, "uid=u3x")
    assert admin.modify(f"uid=u4,{PEOPLE}", 2, "userPassword", "geheim").code == 0
    reply = consumer.receive()
    assert short(reply.name) == "uid=u4"
    assert "userPassword" not in reply.names()


def test_leaving_the_scope_is_a_delete(admin: BareClient, consumer: BareClient) -> None:
    """An entry moved out of the base is deleted for the consumer, one moved in is added."""
    consumer.search(PEOPLE, sync_control(PERSIST), scope=1)
    while consumer.receive().tag != 0x79:
        pass
    admin.rename(f"uid=u1,{PEOPLE}", "uid=u1", SUFFIX)
    reply = consumer.receive()
    assert (state_of(reply)[0], reply.name) == (3, f"uid=u1,{SUFFIX}")
    admin.rename(f"uid=u1,{SUFFIX}", "uid=u1", PEOPLE)
    assert state_of(consumer.receive())[0] == 1


def test_other_operations_go_on_beside_a_persistent_search(admin: BareClient, consumer: BareClient) -> None:
    """A heartbeat on the same connection is answered, also while changes arrive."""
    cookie = refresh(consumer, PERSIST).cookie
    assert refresh(consumer, cookie=cookie) == Told([], [], None, True)
    admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "New")
    assert state_of(consumer.receive())[0] == 2


def test_an_abandoned_search_is_silent(admin: BareClient, consumer: BareClient) -> None:
    """After Abandon no change is delivered; the connection lives on."""
    message_id = consumer.search(SUFFIX, sync_control(PERSIST), filter=PERSON)
    while consumer.receive().tag != 0x79:
        pass
    consumer.send(ber.encode(0x50, bytes([message_id])))
    assert consumer.extended("1.3.6.1.4.1.4203.1.11.3").code == 0
    admin.modify(f"uid=u1,{PEOPLE}", 2, "sn", "New")
    assert consumer.extended("1.3.6.1.4.1.4203.1.11.3").code == 0


def test_changes_of_other_entries_bring_a_new_cookie(
    server: ThreadedServer, admin: BareClient, consumer: BareClient
) -> None:
    """Add, modify and rename outside the content are told as newcookie; a delete there is not told, as in slapd."""
    refresh(consumer, PERSIST)

    def new_cookie() -> None:
        info = info_of(consumer.receive())
        assert (info.tag, info.content) == (0x80, f"rid=000,csn={server.context_csn}".encode())

    assert admin.modify(PEOPLE, 2, "description", "outside the filter").code == 0
    new_cookie()
    assert admin.add(f"ou=a,{SUFFIX}", objectClass="organizationalUnit").code == 0
    new_cookie()
    assert admin.rename(f"ou=a,{SUFFIX}", "ou=b").code == 0
    new_cookie()
    assert admin.delete(f"ou=b,{SUFFIX}").code == 0
    assert admin.modify(PEOPLE, 2, "description", "again").code == 0
    new_cookie()


def test_paging_a_synchronisation_is_refused(consumer: BareClient) -> None:
    """Both controls together make no sense here."""
    value = ber.encode_sequence(ber.encode_integer(2), ber.encode_octets(b""))
    paged = ber.encode_sequence(ber.encode_octets(b"1.2.840.113556.1.4.319"), ber.encode_octets(value))
    assert consumer.found(SUFFIX, sync_control(REFRESH), paged)[-1].code == 53
