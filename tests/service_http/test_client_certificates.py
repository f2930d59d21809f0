# SPDX-License-Identifier: EUPL-1.2
"""Client certificates of systems: by TLS to the service itself or passed on by a proxy; each refusal has its code."""

import base64
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import Depends, FastAPI, Request
from prometheus_client import CollectorRegistry, generate_latest
from service_http.conftest import build
from service_http.test_accounts import API, Desk
from support.client_certificates import Authority, Holder
from support.command import run_cli
from support.metrics import values
from support.service import CityFiles, ServiceProcess, directory_in_thread
from support.waiting import LIMIT_S, wait_until
from support.web_server import serving

from cardservice.client_certificates import Authorities
from cardservice.database import open_databases, upgrade
from cardservice.errors import Conflict
from cardservice.server import certificate_of
from cardservice.settings import ServiceSection
from cardservice.web import problems
from cardservice.web.accounts.book import AccountBook
from cardservice.web.accounts.rules import Terms
from cardservice.web.accounts.service import Accounts, Who, Wish
from cardservice.web.callers import Caller, digest
from cardservice.web.gate import Actor, Gate
from cardservice.web.operations import Scope
from cardservice.web.reach import EVERYWHERE
from rig.tls_files import make_tls_files

ANNA = Who("anna")
LOOK_EVERY_S = 0.02
PATH = "/api/v1/doors"
SETTLED = Caller("facility", digest("settled-token"), frozenset({"door"}))


@dataclass
class Clock:
    """The wall clock, ahead by as much as a test says."""

    ahead_ms: int = 0

    def now_ms(self) -> int:
        return int(time.time() * 1_000) + self.ahead_ms

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


@dataclass
class Office:
    """Accounts and authorities, and the gate of a service."""

    folder: Path
    authority: Authority
    authorities: Authorities
    clock: Clock
    book: AccountBook
    accounts: Accounts
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1_000)))

    @property
    def app(self) -> FastAPI:
        app = FastAPI()
        problems.install(app)
        gate = Gate(self.book.callers, lambda _: None)

        @app.get(PATH)
        def who(request: Request, actor: Annotated[Actor, Depends(gate.allows("doors.list"))]) -> dict[str, Any]:
            return {"name": actor.name, "headers": [name for name in request.headers if "cert" in name]}

        return app

    def account(self, *holders: Holder, needs_both: bool = False) -> str:
        """Add an account that is bound to these."""
        name = f"till-{next(self.numbers)}"
        self.accounts.add(Wish(name, Terms(frozenset({Scope.DOOR}), EVERYWHERE, needs_both=needs_both), "why"), ANNA)
        for holder in holders:
            self.accounts.bind_certificate(name, holder.pem, ANNA)
        return name

    def key(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.accounts.issue_key(name, ANNA)['token']}"}

    @contextmanager
    def serving(self, **section: Any) -> Iterator[int]:
        """Serve by TLS."""
        service = ServiceSection(
            tls_certificate=self.folder / "tls" / "cert.pem", tls_key=self.folder / "tls" / "key.pem", **section
        )
        certificate = certificate_of(service, self.authorities)
        assert certificate is not None
        beside = tuple(partial(one.follow, LOOK_EVERY_S) for one in (certificate, self.authorities))
        with serving(self.app, service, certificate, beside, self.authorities) as port:
            yield port

    @contextmanager
    def client(self, port: int, holder: Holder | None = None, newest: ssl.TLSVersion | None = None) -> Iterator[Any]:
        """A system that shows a certificate, or none."""
        context = ssl.create_default_context(cafile=self.folder / "tls" / "ca.pem")
        if newest is not None:
            context.maximum_version = newest
        if holder is not None:
            context.load_cert_chain(holder.store(self.folder))
        with httpx2.Client(verify=context, base_url=f"https://127.0.0.1:{port}", timeout=LIMIT_S) as client:
            yield client


@contextmanager
def opened(folder: Path, *, required: bool = False) -> Iterator[Office]:
    make_tls_files(folder / "tls")
    authority = Authority()
    (folder / "clients.pem").write_bytes(authority.pem)
    databases = open_databases(f"sqlite:///{folder / 'stores'}")
    upgrade(databases)
    authorities, clock = Authorities(folder / "clients.pem", required=required), Clock()
    book = AccountBook(databases.state, clock, [SETTLED], authorities)
    yield Office(folder, authority, authorities, clock, book, book.desk(book.refresh))
    book.close()
    databases.close()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with opened(tmp_path_factory.mktemp("office")) as made:
        yield made


@pytest.fixture(scope="module")
def port(office: Office) -> Iterator[int]:
    with office.serving() as found:
        yield found


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_bound_certificate_is_enough(office: Office, port: int, version: ssl.TLSVersion) -> None:
    """Without a key, request after request; somebody who shows none is nobody."""
    holder = office.authority.issue()
    name = office.account(holder)
    with office.client(port, holder, version) as client:
        assert [client.get(PATH).json()["name"] for _ in range(2)] == [name, name]
    with office.client(port, newest=version) as client:
        assert code(client.get(PATH)) == (401, "not_authenticated")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_no_ticket_carries_a_certificate_on(office: Office, port: int, version: ssl.TLSVersion) -> None:
    """Each connection shows its own, to the authorities that count by then."""
    holder = office.authority.issue()
    office.account(holder)
    context = ssl.create_default_context(cafile=office.folder / "tls" / "ca.pem")
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(holder.store(office.folder))
    with (
        socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert connection.session is None or not connection.session.has_ticket


def test_a_certificate_below_another_authority_counts(office: Office, port: int) -> None:
    """The client shows those in between; so does whoever binds it."""
    holder = Authority("Department", office.authority).issue()
    name = office.account(holder)
    with office.client(port, holder) as client:
        assert client.get(PATH).json()["name"] == name


STRANGER = Authority("Stranger")


@pytest.mark.parametrize("wrong", ["authority", "expired", "not yet", "for servers"])
def test_a_wrong_certificate_is_refused_by_the_handshake(office: Office, port: int, wrong: str) -> None:
    """Though its key is bound: no request of such a connection is answered."""
    key = ec.generate_private_key(ec.SECP256R1())
    office.account(office.authority.issue(key=key))
    holders = {
        "authority": STRANGER.issue(key=key),
        "expired": office.authority.issue(key=key, hours=(-48, -1)),
        "not yet": office.authority.issue(key=key, hours=(1, 48)),
        "for servers": office.authority.issue(key=key, for_clients=False),
    }
    with office.client(port, holders[wrong]) as client, pytest.raises(httpx2.TransportError):
        client.get(PATH)


def test_what_is_bound_to_nobody_opens_nothing(office: Office, port: int) -> None:
    """Of the right authority, with the name of an account; a browser that has one is sent to sign in as ever."""
    office.account(office.authority.issue("till-1"))
    with office.client(port, office.authority.issue("till-1")) as client:
        assert code(client.get(PATH)) == (401, "certificate_unknown")
        assert code(client.get(PATH, headers={"Accept": "text/html"})) == (401, "not_authenticated")


def test_a_revoked_certificate_is_refused_at_once(office: Office, port: int) -> None:
    """On a connection that is open; for good: its key is bound to nothing again."""
    holder = office.authority.issue()
    name = office.account(holder)
    with office.client(port, holder) as client:
        assert client.get(PATH).status_code == 200
        bound = office.accounts.show(name, ANNA).certificates[0].certificate
        office.accounts.revoke_certificate(name, bound, ANNA)
        assert code(client.get(PATH)) == (401, "certificate_revoked")
    with pytest.raises(Conflict) as taken:
        office.accounts.bind_certificate(name, holder.pem, ANNA)
    assert taken.value.code == "certificate_taken"


def test_a_certificate_ends_on_a_connection_that_is_open(office: Office, port: int) -> None:
    """By the clock of the service, at the second that it says."""
    holder = office.authority.issue(hours=(-1, 2))
    office.account(holder)
    try:
        with office.client(port, holder) as client:
            assert client.get(PATH).status_code == 200
            office.clock.ahead_ms = 2 * 3_600_000 + 1_000
            assert code(client.get(PATH)) == (401, "certificate_expired")
            office.clock.ahead_ms = -2 * 3_600_000
            assert code(client.get(PATH)) == (401, "certificate_not_yet_valid")
    finally:
        office.clock.ahead_ms = 0


def test_an_account_may_ask_for_both(office: Office, port: int) -> None:
    """Neither is worth anything alone, nor with the certificate of another account."""
    holder, other = office.authority.issue(), office.authority.issue()
    office.account(other)
    name = office.account(holder, needs_both=True)
    key = office.key(name)
    with office.client(port) as client:
        assert code(client.get(PATH, headers=key)) == (401, "certificate_needed")
    with office.client(port, other) as client:
        assert code(client.get(PATH, headers=key)) == (401, "certificate_unknown")
    with office.client(port, holder) as client:
        assert code(client.get(PATH)) == (401, "key_needed")
        assert code(client.get(PATH, headers={"Authorization": "Bearer oc_wrong"})) == (401, "not_authenticated")
        assert client.get(PATH, headers=key).json()["name"] == name
        office.accounts.ask_for_both(name, ANNA, "why", both=False)
        assert client.get(PATH).json()["name"] == name


def test_where_certificates_are_required_no_key_is_enough(tmp_path: Path) -> None:
    """Of any account, nor one of the settings."""
    with opened(tmp_path, required=True) as office:
        holder = office.authority.issue()
        name = office.account(holder)
        key = office.key(name)
        with office.serving() as port:
            with office.client(port) as client:
                assert code(client.get(PATH, headers=key)) == (401, "certificate_needed")
                settled = {"Authorization": "Bearer settled-token"}
                assert code(client.get(PATH, headers=settled)) == (401, "certificate_needed")
            with office.client(port, holder) as client:
                assert client.get(PATH, headers=key).json()["name"] == name
                assert client.get(PATH).json()["name"] == name


def test_certificates_are_rotated_without_a_gap(office: Office, port: int) -> None:
    """Two count at a time and a third is refused; one that is renewed for the same key goes on, with its new end."""
    key = ec.generate_private_key(ec.SECP256R1())
    old, new = office.authority.issue(key=key), office.authority.issue()
    name = office.account(old, new)
    for holder in (old, new):
        with office.client(port, holder) as client:
            assert client.get(PATH).json()["name"] == name
    with pytest.raises(Conflict) as many:
        office.accounts.bind_certificate(name, office.authority.issue().pem, ANNA)
    assert many.value.code == "too_many_certificates"
    office.clock.ahead_ms = 2 * 3_600_000
    try:
        renewed = office.authority.issue(key=key, hours=(-1, 900))
        with office.client(port, renewed) as client:
            assert client.get(PATH).json()["name"] == name
    finally:
        office.clock.ahead_ms = 0
    ends_ms = int(renewed.certificate.not_valid_after_utc.timestamp()) * 1_000
    wait_until(lambda: ends_ms in {one.expires_ms for one in office.accounts.show(name, ANNA).certificates})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: "rubbish", "certificate_unreadable"),
        (lambda _: STRANGER.issue().pem, "certificate_untrusted"),
        (lambda office: office.authority.issue(for_clients=False).pem, "certificate_untrusted"),
        (lambda office: office.authority.issue(hours=(-9, -1)).pem, "certificate_expired"),
        (lambda office: office.authority.issue().pem * 6, "certificate_unreadable"),
    ],
    ids=["rubbish", "another authority", "for servers", "expired", "too many"],
)
def test_a_certificate_that_would_open_nothing_is_not_bound(office: Office, make: Any, said: str) -> None:
    with pytest.raises(Conflict) as refused:
        office.accounts.bind_certificate(office.account(), make(office), ANNA)
    assert refused.value.code == said


def test_a_foreign_page_cannot_use_a_browsers_certificate(office: Office, port: int) -> None:
    """A certificate goes along with whatever a page asks for; systems say nothing of pages."""
    holder = office.authority.issue()
    name = office.account(holder)
    with office.client(port, holder) as client:
        for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert code(client.get(PATH, headers=foreign)) == (403, "foreign_page")
        assert client.get(PATH, headers={"Sec-Fetch-Site": "same-origin"}).json()["name"] == name


def client_cert(holder: Holder) -> dict[str, str]:
    """What a proxy sends (RFC 9440, section 2)."""
    sent = {"Client-Cert": f":{base64.b64encode(holder.der).decode()}:"}
    if holder.above:
        chain = (base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in holder.above)
        sent["Client-Cert-Chain"] = ", ".join(f":{one}:" for one in chain)
    return sent


@pytest.fixture(scope="module")
def behind(office: Office) -> Iterator[str]:
    """The service behind a proxy on this machine, by plain HTTP."""
    section = ServiceSection(trusted_proxies=("127.0.0.1",))
    with serving(office.app, section, authorities=office.authorities) as port:
        yield f"http://127.0.0.1:{port}{PATH}"


def ask(url: str, headers: Mapping[str, str] | list[tuple[str, str]]) -> httpx2.Response:
    return httpx2.get(url, headers=headers, timeout=LIMIT_S)


def test_a_proxy_passes_certificates_on(office: Office, behind: str) -> None:
    """Checked here as well, with those in between; the headers reach no route."""
    below = Authority("Department", office.authority).issue()
    for holder in (office.authority.issue(), below):
        name = office.account(holder)
        forwarded = {"X-Forwarded-For": "192.0.2.1", **client_cert(holder)}
        assert ask(behind, forwarded).json() == {"name": name, "headers": []}
    assert code(ask(behind, {})) == (401, "not_authenticated")
    alone = {"Client-Cert": client_cert(below)["Client-Cert"]}
    assert code(ask(behind, alone)) == (401, "certificate_untrusted")


def _wrong(office: Office, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    right = client_cert(office.authority.issue(key=key))["Client-Cert"]
    return {
        "authority": [("Client-Cert", client_cert(STRANGER.issue(key=key))["Client-Cert"])],
        "expired": client_cert(office.authority.issue(key=key, hours=(-48, -1))),
        "not yet": client_cert(office.authority.issue(key=key, hours=(1, 48))),
        "for servers": client_cert(office.authority.issue(key=key, for_clients=False)),
        "bound to nobody": client_cert(office.authority.issue()),
        "twice": [("Client-Cert", right), ("Client-Cert", right)],
        "no byte sequence": {"Client-Cert": right.strip(":")},
        "empty": {"Client-Cert": "::"},
        "half": {"Client-Cert": right[:100] + ":"},
        "chain alone": {"Client-Cert-Chain": right},
        "long chain": {"Client-Cert": right, "Client-Cert-Chain": ", ".join([right] * 5)},
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("authority", "certificate_untrusted"),
        ("expired", "certificate_expired"),
        ("not yet", "certificate_not_yet_valid"),
        ("for servers", "certificate_untrusted"),
        ("bound to nobody", "certificate_unknown"),
        ("twice", "certificate_unreadable"),
        ("no byte sequence", "certificate_unreadable"),
        ("empty", "certificate_unreadable"),
        ("half", "certificate_unreadable"),
        ("chain alone", "certificate_unreadable"),
        ("long chain", "certificate_unreadable"),
    ],
)
def test_what_a_proxy_passes_on_is_checked(office: Office, behind: str, wrong: str, said: str) -> None:
    """Each by its own code, though the key is bound."""
    key = ec.generate_private_key(ec.SECP256R1())
    office.account(office.authority.issue(key=key))
    assert code(ask(behind, _wrong(office, key)[wrong])) == (401, said)


@pytest.mark.parametrize("proxies", [(), ("192.0.2.7",)], ids=["none", "another"])
def test_nobody_else_passes_certificates_on(office: Office, proxies: tuple[str, ...]) -> None:
    """Forged by the caller: as if it were not there, and seen by no route."""
    holder = office.authority.issue()
    office.account(holder)
    key = office.key(office.account())
    with serving(office.app, ServiceSection(trusted_proxies=proxies), authorities=office.authorities) as port:
        url = f"http://127.0.0.1:{port}{PATH}"
        assert code(ask(url, client_cert(holder))) == (401, "not_authenticated")
        assert ask(url, client_cert(holder) | key).json()["headers"] == []
    with office.serving(trusted_proxies=proxies) as port, office.client(port, office.authority.issue()) as client:
        # Nor beside a certificate of its own.
        assert code(client.get(PATH, headers=client_cert(holder))) == (401, "certificate_unknown")


def test_a_proxys_own_certificate_is_nobodys_account(office: Office) -> None:
    """It speaks TLS with the service too: what counts is whom it passes on, and nobody if it passes on none."""
    proxy, holder = office.authority.issue("proxy"), office.authority.issue()
    office.account(proxy)
    name = office.account(holder)
    with office.serving(trusted_proxies=("127.0.0.1",)) as port, office.client(port, proxy) as client:
        assert code(client.get(PATH)) == (401, "not_authenticated")
        assert client.get(PATH, headers=client_cert(holder)).json()["name"] == name


def test_authorities_are_renewed_without_a_restart(tmp_path: Path) -> None:
    """With the service's own certificate or by themselves; rubbish in the file changes nothing and is said."""
    with opened(tmp_path) as office, office.serving() as port:
        newer = Authority("Newer")
        (tmp_path / "clients.pem").write_bytes(office.authority.pem + newer.pem)
        wait_until(lambda: _admits(office, newer.issue()))
        holder = newer.issue()
        name = office.account(holder)

        def opens() -> bool:
            try:
                with office.client(port, holder) as client:
                    return bool(client.get(PATH).json().get("name") == name)
            except httpx2.TransportError:
                return False

        wait_until(opens)
        make_tls_files(tmp_path / "tls")
        wait_until(opens)
        (tmp_path / "clients.pem").write_bytes(b"rubbish")
        wait_until(office.authorities.sentences)
        assert opens()
        (tmp_path / "clients.pem").write_bytes(newer.pem)
        wait_until(lambda: not office.authorities.sentences())
        assert opens()


def _admits(office: Office, holder: Holder) -> bool:
    try:
        office.accounts.bind_certificate(office.account(), holder.pem, ANNA)
    except Conflict:
        return False
    return True


def test_the_days_left_are_measured(office: Office) -> None:
    """Of each account's last certificate, by its name, before anybody is refused."""
    name = office.account(office.authority.issue(hours=(-1, 48)), office.authority.issue(hours=(-1, 240)))
    registry = CollectorRegistry()
    registry.register(office.book)
    left = values(generate_latest(registry).decode(), "cardservice_account_certificate_days_left", "account")
    assert left[name,] == pytest.approx(10, abs=0.1)
    assert f"account {name}: its last certificate ends in 10 days" in " ".join(office.book.sentences())


def test_the_api_and_the_command_line_manage_certificates(tmp_path: Path) -> None:
    """Of the whole service, behind a proxy: bound once, used at every kind of route, asked for with a key, revoked."""
    authority = Authority()
    (tmp_path / "clients.pem").write_bytes(authority.pem)
    changes = {
        "": {"roles": [{"role": "administrator", "group": "IT"}]},
        "service": {"trusted_proxies": ["127.0.0.1"]},
        "api": {"client_ca_file": str(tmp_path / "clients.pem")},
    }
    with directory_in_thread() as directory, closing(build(directory, tmp_path / "city", None, **changes)) as city:
        desk, holder = Desk(city.visitor("yilmaz")), authority.issue("till-2")
        desk.add("till-2", scopes=["door", "tap"])
        once = {"Idempotency-Key": "bind-it-once"}
        path, body = f"{API}/till-2/certificates", {"pem": holder.pem}
        bound = [desk.send("POST", path, body, **once) for _ in range(2)]
        assert [one.status_code for one in bound] == [201, 201]
        assert bound[0].json() == bound[1].json()
        assert code(desk.send("POST", path, body)) == (409, "certificate_taken")
        assert code(desk.send("POST", path, {"pem": "x"})) == (409, "certificate_unreadable")
        doors, shown = city.service.url + PATH, client_cert(holder)
        assert httpx2.get(doors, headers=shown, timeout=LIMIT_S).status_code == 200
        tap = {"point": "bauamt.aussen", "number": "00" * 12}
        taps = httpx2.post(f"{city.service.url}/api/v1/taps", json=tap, headers=shown, timeout=LIMIT_S)
        assert (taps.status_code, taps.json()["permit"]) == (200, False)
        assert code(httpx2.get(city.service.url + API, headers=shown, timeout=LIMIT_S)) == (403, "foreign_use")

        def run(*arguments: str) -> Any:
            done = run_cli("accounts", *arguments, "--json", "--config", str(city.files.config))
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        assert run("both", "till-2", "--reason", "ticket 4711")["needs_both"] is True
        wait_until(lambda: code(httpx2.get(doors, headers=shown, timeout=LIMIT_S)) == (401, "key_needed"))
        key = {"Authorization": f"Bearer {desk.key('till-2')}"}
        assert code(httpx2.get(doors, headers=key, timeout=LIMIT_S)) == (401, "certificate_needed")
        assert httpx2.get(doors, headers=shown | key, timeout=LIMIT_S).status_code == 200
        (tmp_path / "second.pem").write_text(authority.issue("till-2").pem)
        second = run("certificate", "till-2", str(tmp_path / "second.pem"))
        states = [one["state"] for one in run("revoke-certificate", "till-2", second["certificate"])["certificates"]]
        assert states == ["revoked", "valid"]
        name = bound[0].json()["certificate"]
        assert desk.send("POST", f"{path}/{name}/revoke").status_code == 200
        assert code(httpx2.get(doors, headers=shown | key, timeout=LIMIT_S)) == (401, "certificate_revoked")


def test_the_service_itself_asks_for_certificates(tmp_path: Path) -> None:
    """`cardservice serve` with TLS of its own: a system shows its certificate, a browser needs none."""
    authority = Authority()
    holder = authority.issue("facility-2")
    (tmp_path / "clients.pem").write_bytes(authority.pem)
    make_tls_files(tmp_path / "tls")
    tls = {"tls_certificate": str(tmp_path / "tls" / "cert.pem"), "tls_key": str(tmp_path / "tls" / "key.pem")}
    changes = {"service": tls, "api": {"client_ca_file": str(tmp_path / "clients.pem")}}
    with directory_in_thread() as directory:
        files = CityFiles(tmp_path / "city", directory.address, None, changes)
        files.upgrade()
        with files.stores() as stores:
            accounts = Accounts(stores.state, Clock(), authorities=Authorities(tmp_path / "clients.pem"))
            accounts.add(Wish("facility-2", Terms(frozenset({Scope.DOOR}), EVERYWHERE), "why"), ANNA)
            accounts.bind_certificate("facility-2", holder.pem, ANNA)
        with ServiceProcess(files, tmp_path / "log") as service:
            context = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.pem")
            assert httpx2.get(service.url + "/login", verify=context, timeout=LIMIT_S).status_code == 200
            assert code(httpx2.get(service.url + PATH, verify=context, timeout=LIMIT_S))[0] == 401
            context.load_cert_chain(holder.store(tmp_path))
            assert httpx2.get(service.url + PATH, verify=context, timeout=LIMIT_S).json()["doors"] == []
