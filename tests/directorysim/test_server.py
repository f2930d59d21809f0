# SPDX-License-Identifier: EUPL-1.2
"""Faults on demand, limits on clients, TLS, and the program itself."""

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from directorysim import (
    ConfigurationError,
    DirectoryServer,
    LdifError,
    Limits,
    OperationError,
    Options,
    ResultCode,
    ThreadedServer,
    TlsFiles,
    ber,
)
from directorysim.dn import parse_dn
from directorysim.passwords import hash_password
from directorysim.search import Budget
from directorysim.service import Service
from directorysim.store import Directory
from directorysim.tls import make_tls
from tests.directorysim.client import (
    ADMIN,
    PEOPLE,
    READER,
    SUFFIX,
    BareClient,
    content,
    control,
    port_of,
    sync_control,
)
from tests.directorysim.conftest import Connect, Serve

WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"
START_TLS = "1.3.6.1.4.1.1466.20037"
QUIET_S = 0.2


def is_silent(client: BareClient) -> bool:
    """Whether nothing arrives for a moment."""
    client.socket.settimeout(QUIET_S)
    try:
        client.receive()
    except TimeoutError:
        return True
    else:
        return False
    finally:
        client.socket.settimeout(10)


def persist(client: BareClient) -> None:
    """Start a persistent search and read its refresh."""
    client.search(SUFFIX, sync_control(3))
    while client.receive().tag != 0x79:
        pass


def command(server: ThreadedServer, line: bytes) -> dict[str, object]:
    """Send one line to the control socket and return the answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(server.control_path))
        client.sendall(line + b"\n")
        with client.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    assert isinstance(answer, dict)
    return answer


def test_a_paused_server_accepts_and_does_not_answer(server: ThreadedServer, connect: Connect) -> None:
    """Old and new connections hang while it is paused, and are answered after resume."""
    old = connect()
    server.pause()
    old.send(ber.encode_sequence(ber.encode_octets(WHO_AM_I.encode(), 0x80), tag=0x77))
    new = connect(None)
    new.search("", scope=0)
    assert is_silent(old)
    assert is_silent(new)
    server.resume()
    assert old.receive().code == 0
    assert new.until_result()[-1].code == 0


def test_a_refusing_server_keeps_its_connections(server: ThreadedServer, connect: Connect) -> None:
    """Closed ports refuse new connections only; afterwards the same port is open again."""
    old = connect()
    server.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(None)
    assert old.extended(WHO_AM_I).code == 0
    server.accept()
    assert connect().extended(WHO_AM_I).code == 0


def test_dropped_connections_can_come_back(server: ThreadedServer, connect: Connect) -> None:
    """Every connection is lost at once; a new one works."""
    clients = [connect(), connect()]
    persist(clients[1])
    server.drop_connections()
    for client in clients:
        with pytest.raises((EOFError, ConnectionResetError)):
            client.receive()
    assert connect().extended(WHO_AM_I).code == 0


def test_the_control_socket_does_the_same(server: ThreadedServer, connect: Connect) -> None:
    """Each command answers with the state it leads to; the socket is its owner's alone."""
    assert stat.S_IMODE(server.control_path.stat().st_mode) == 0o600
    client = connect()
    status = command(server, b'{"command": "status"}')
    assert status == {
        "ok": True,
        "paused": False,
        "accepting": True,
        "connections": 1,
        "entries": 10,
        "context_csn": server.context_csn,
    }
    assert command(server, b'{"command": "pause"}')["paused"] is True
    client.send(ber.encode_sequence(ber.encode_octets(WHO_AM_I.encode(), 0x80), tag=0x77))
    assert is_silent(client)
    assert command(server, b'{"command": "resume"}')["paused"] is False
    assert client.receive().code == 0
    assert command(server, b'{"command": "refuse"}')["accepting"] is False
    assert command(server, b'{"command": "accept"}')["accepting"] is True
    assert command(server, b'{"command": "forget_session_log"}')["ok"] is True
    assert command(server, b'{"command": "drop_connections"}')["ok"] is True
    with pytest.raises((EOFError, ConnectionResetError)):
        client.receive()


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b'{"command": 1}', b'{"command": "stop"}', b"[" * 3_000])
def test_wrong_control_commands_are_answered(server: ThreadedServer, line: bytes) -> None:
    """Whatever is sent, the answer says what is wrong and the socket goes on."""
    answer = command(server, line)
    assert answer["ok"] is False
    assert answer["error"]
    assert command(server, b'{"command": "status"}')["ok"] is True


def test_a_consumer_that_does_not_read_is_dropped(serve: Serve, connect: Connect) -> None:
    """What waits for one client is bounded; the others are not disturbed."""
    server = serve(limits=Limits(max_outgoing_bytes=100_000))
    lazy, admin = connect(to=server), connect(ADMIN, to=server)
    persist(lazy)
    for _ in range(400):
        assert admin.modify(f"uid=u1,{PEOPLE}", 2, "description", "x" * 50_000).code == 0
        if server.connection_count == 1:
            break
    assert server.connection_count == 1


def test_the_number_of_connections_is_bounded(serve: Serve, connect: Connect) -> None:
    """One connection too many is closed at once."""
    server = serve(limits=Limits(max_connections=2))
    first, _second, third = connect(to=server), connect(to=server), connect(None, to=server)
    with pytest.raises((EOFError, ConnectionResetError)):
        third.receive()
    assert first.extended(WHO_AM_I).code == 0


def test_the_number_of_operations_is_bounded(serve: Serve, connect: Connect) -> None:
    """One operation too many at the same time is answered busy."""
    client = connect(to=serve(limits=Limits(max_operations=2)))
    persist(client)
    persist(client)
    assert client.found(SUFFIX, scope=0)[-1].code == 51


def test_before_a_bind_messages_are_small(connect: Connect) -> None:
    """A stranger cannot make the server hold a large message; a user can send one."""
    filter_of_70k = ber.encode_sequence(ber.encode_octets(b"cn"), ber.encode_octets(b"x" * 70_000), tag=0xA3)
    assert connect().found(SUFFIX, filter=filter_of_70k)[-1].code == 0
    stranger = connect(None)
    stranger.search("", scope=0, filter=filter_of_70k)
    assert stranger.receive().code == 2


def trusting(server: ThreadedServer) -> ssl.SSLContext:
    """A client context that trusts the server's CA and nothing else."""
    context = ssl.create_default_context(cafile=str(server.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_ldaps_is_trusted_by_its_own_ca_only(server: ThreadedServer) -> None:
    """The certificate is good for 127.0.0.1 with strict checks, and unknown to everybody else."""
    client = BareClient(port_of(server.ldaps_url))
    client.use_tls(trusting(server))
    assert client.bind(READER, "doorspw").code == 0
    client.close()
    stranger = BareClient(port_of(server.ldaps_url))
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.use_tls(ssl.create_default_context())
    stranger.close()


def test_start_tls(server: ThreadedServer, connect: Connect) -> None:
    """StartTLS encrypts the rest of the connection, once, and not beside a running search."""
    client = connect(None)
    assert client.extended(START_TLS).code == 0
    client.use_tls(trusting(server))
    assert client.bind(READER, "doorspw").code == 0
    assert client.extended(START_TLS).code == 1
    persist(client)
    busy = connect()
    persist(busy)
    assert busy.extended(START_TLS).code == 1


def test_a_request_in_the_same_packet_as_the_handshake_is_answered_encrypted(
    server: ThreadedServer, connect: Connect
) -> None:
    """A client may send its bind together with its last handshake bytes; the answer must not leave in the clear."""
    client = connect(None)
    assert client.extended(START_TLS).code == 0
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(server).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    finished = False
    while not finished:
        try:
            tls.do_handshake()
            finished = True
        except ssl.SSLWantReadError:
            client.socket.sendall(outgoing.read())
            incoming.write(client.socket.recv(65_536))
    who_am_i = ber.encode_sequence(ber.encode_octets(WHO_AM_I.encode(), 0x80), tag=0x77)
    tls.write(ber.encode_sequence(ber.encode_integer(7), who_am_i))
    client.socket.sendall(outgoing.read())
    answer = b""
    while not answer:
        incoming.write(client.socket.recv(65_536))
        with suppress(ssl.SSLWantReadError):
            answer = tls.read(1_000)
    assert ber.to_integer(ber.decode(answer).children[0]) == 7


def test_nothing_is_smuggled_into_tls(server: ThreadedServer, connect: Connect) -> None:
    """Bytes in the clear right behind StartTLS end the connection."""
    client = connect(None)
    request = ber.encode_sequence(ber.encode_octets(START_TLS.encode(), 0x80), tag=0x77)
    message = ber.encode_sequence(ber.encode_integer(1), request)
    client.socket.sendall(message + ber.encode_sequence(ber.encode_integer(2), request))
    with pytest.raises((EOFError, ConnectionResetError)):
        client.receive()
    assert connect().extended(WHO_AM_I).code == 0
    assert server.connection_count == 1


def test_a_broken_handshake_leaves_nothing_behind(server: ThreadedServer, connect: Connect) -> None:
    """A client that answers StartTLS with rubbish is forgotten."""
    client = connect(None)
    assert client.extended(START_TLS).code == 0
    client.socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    with suppress(ConnectionResetError):
        while client.socket.recv(4_096):
            pass
    assert connect().extended(WHO_AM_I).code == 0
    assert server.connection_count == 1


def test_given_certificates_are_used(serve: Serve, tmp_path: Path) -> None:
    """Own files replace the made ones, and stay the same over a restart."""
    files = make_tls(tmp_path)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    server = serve(tls=files)
    server.restart()
    assert server.ca_file == files.ca
    client = BareClient(port_of(server.ldaps_url))
    client.use_tls(trusting(server))
    client.close()


def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    """Content and settings that make no sense raise, and say what is wrong."""

    def build(entries: object = (), **changes: str) -> DirectoryServer:
        settings = {"admin_dn": ADMIN, "admin_password": "x", **changes}
        return DirectoryServer(settings.pop("suffix", SUFFIX), entries, **settings)

    with pytest.raises(ConfigurationError, match="password is empty"):
        build(admin_password="")
    with pytest.raises(ConfigurationError, match="suffix"):
        build(suffix="rubbish")
    with pytest.raises(ConfigurationError, match="not empty"):
        build(suffix="")
    with pytest.raises(ConfigurationError, match="no global superior knowledge"):
        build([("dc=other", {"objectClass": "top"})])
    with pytest.raises(ConfigurationError, match="no_such_object"):
        build([(PEOPLE, {"objectClass": "top"})])
    with pytest.raises(ConfigurationError, match="entry_already_exists"):
        build([content(0)[0], content(0)[0]])
    with pytest.raises(LdifError):
        build(tmp_path / "missing.ldif")
    files = make_tls(tmp_path)
    server = build_with_tls(TlsFiles(files.ca, files.ca, files.key))
    with pytest.raises(ConfigurationError, match="cannot be used"), server.run_in_thread():
        pass


def build_with_tls(files: TlsFiles) -> DirectoryServer:
    """A server with these files."""
    return DirectoryServer(SUFFIX, content(1), admin_dn=ADMIN, admin_password="x", options=Options(tls=files))


def test_passwords_do_not_show() -> None:
    """Hashes differ for equal passwords and are not part of a representation."""
    first, second = hash_password(b"geheim"), hash_password(b"geheim")
    assert first != second
    assert first.matches(b"geheim")
    assert not first.matches(b"geheim ")
    assert repr(first) == "PasswordHash()"


def test_entries_of_an_export_keep_their_identity(tmp_path: Path, connect: Connect, serve: Serve) -> None:
    """LDIF written by slapcat brings identifiers, numbers and times; children may come before parents."""
    export = tmp_path / "export.ldif"
    export.write_text(
        f"dn: uid=a,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: a\n"
        "entryUUID: 8e193ad8-7a57-1041-95f7-03e96d5b5acd\n"
        "entryCSN: 20260101000000.000001Z#000000#000#000000\n"
        "createTimestamp: 20250101000000Z\nstructuralObjectClass: inetOrgPerson\n\n"
        f"dn: {SUFFIX}\nobjectClass: dcObject\ndc: corp\n"
        "entryCSN: 20260101000000.000002Z#000000#000#000000\n"
        "contextCSN: 20250101000000.000002Z#000000#000#000000\n"
    )
    server = DirectoryServer(SUFFIX, export, admin_dn=ADMIN, admin_password="adminpw")
    assert server.context_csn == "20260101000000.000002Z#000000#000#000000"
    with server.run_in_thread() as running:
        entry = connect(ADMIN, to=running).found(f"uid=a,{SUFFIX}", scope=0, attributes=["+"])[0]
    assert entry.attribute("entryUUID") == ["8e193ad8-7a57-1041-95f7-03e96d5b5acd"]
    assert entry.attribute("entryCSN") == ["20260101000000.000001Z#000000#000#000000"]
    assert entry.attribute("createTimestamp") == ["20250101000000Z"]


def test_ten_thousand_people(serve: Serve, connect: Connect) -> None:
    """Loading and refreshing 10,000 entries takes about a second each; ten times that fails."""
    begin_s = time.monotonic()
    server = serve(10_000)
    loaded_s = time.monotonic()
    client = connect(to=server)
    client.search(PEOPLE, sync_control(1), scope=1)
    replies = client.until_result()
    assert len(replies) == 10_001
    assert loaded_s - begin_s < 10
    assert time.monotonic() - loaded_s < 10


def test_a_large_answer_waits_for_its_reader(serve: Serve, connect: Connect) -> None:
    """A slow reader of a large search blocks nobody, and gets all of it in the end."""
    server = serve(5_000)
    slow, other = connect(to=server), connect(to=server)
    slow.search(SUFFIX, attributes=["*", "+"])
    assert other.extended(WHO_AM_I).code == 0
    assert len(slow.until_result()) == 5_006


def test_the_time_limit_ends_a_search() -> None:
    """A search that is still being written when its time is over ends with timeLimitExceeded."""
    directory = Directory(parse_dn(SUFFIX))
    service = Service(directory, admin_dn=parse_dn(ADMIN), admin_password=hash_password(b"x"), options=Options())
    now_s = 100.0
    service.monotonic_s = lambda: now_s
    budget = Budget(service, size_limit=0, time_limit_s=2)
    now_s = 101.9
    budget.spend()
    now_s = 102.1
    with pytest.raises(OperationError) as raised:
        budget.spend()
    assert raised.value.code is ResultCode.TIME_LIMIT_EXCEEDED


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The command line of the program with a small LDIF file."""
    ldif, password = tmp_path / "people.ldif", tmp_path / "admin.txt"
    ldif.write_text(f"dn: {SUFFIX}\nobjectClass: dcObject\ndc: corp\n")
    password.write_text("adminpw\n")
    return [
        *(sys.executable, "-m", "directorysim", "--ldif", str(ldif), "--suffix", SUFFIX, "--admin-dn", ADMIN),
        *("--admin-password-file", str(password), "--run-dir", str(tmp_path / "run")),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_until_it_is_told_to_stop(program: list[str], number: signal.Signals) -> None:
    """It says where it listens, serves, and ends with 0 on SIGTERM and SIGINT."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] is True
        client = BareClient(port_of(ready["ldap"]))
        assert client.bind(ADMIN, "adminpw").code == 0
        client.close()
        secure = BareClient(port_of(ready["ldaps"]))
        secure.use_tls(ssl.create_default_context(cafile=ready["ca"]))
        secure.close()
        assert Path(ready["control"]).is_socket()
        process.send_signal(number)
        assert process.wait(10) == 0
    assert not Path(ready["control"]).exists()


def test_the_program_says_why_it_cannot_start(program: list[str]) -> None:
    """A missing file ends with 1 and a sentence, not with a trace."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    program[program.index("--ldif") + 1] = "missing.ldif"
    run = subprocess.run(program, capture_output=True, env=environment, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert run.stderr == "directorysim: missing.ldif: No such file or directory\n"


def test_an_ignored_control_is_no_reason_to_fail(connect: Connect) -> None:
    """A control that is not critical is ignored on every operation."""
    client = connect(ADMIN)
    client.send(ber.encode(0x4A, f"uid=u1,{PEOPLE}".encode()), control("1.2.3", critical=False))
    assert client.receive().code == 0
