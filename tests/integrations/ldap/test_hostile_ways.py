# SPDX-License-Identifier: EUPL-1.2
"""What must not happen on the way to a real slapd: old TLS, no name, a referral followed, half a list believed."""

import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import ldap3
import pytest
from contracts.directory_source import RecordingSink, following
from contracts.directory_source import replace as write
from support.slapd import SUFFIX, CertificateWish, Slapd, group, make_tls_files, person

from cardservice.parts import ldap_settings
from cardservice.people.ports import DirectoryChange
from cardservice.settings import DirectorySection
from integrations.ldap import LdapSettings, LdapSource, check
from integrations.ldap.settings import Timing
from integrations.ldap.tls import CheckedTls
from rig.slapd import SLAPD

PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
QUICK = Timing(beat_s=0.05, dead_s=1.0, refused_wait_s=0.1)
# As GnuTLS writes it, which Debian 12's slapd is built with. Debian 13's is built with OpenSSL: what it must not speak
# has to be said in a file of OpenSSL's own.
GNUTLS_ONLY_1_1 = "TLSCipherSuite NORMAL:%COMPAT:-VERS-ALL:+VERS-TLS1.1"
OPENSSL_FROM_1_1 = "TLSProtocolMin 3.2"
OPENSSL_ONLY_1_1 = """
openssl_conf = all
[all]
ssl_conf = kinds
[kinds]
system_default = every
[every]
MinProtocol = TLSv1.1
MaxProtocol = TLSv1.1
CipherString = ALL:@SECLEVEL=0
"""


def settings_for(server: Slapd) -> LdapSettings:
    return LdapSettings(
        servers=(server.url,),
        bind_dn=server.bind_dn,
        password=lambda: server.password,
        people_base=PEOPLE,
        groups_base=GROUPS,
        ca_file=server.ca_file,
        timing=QUICK,
    )


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    server = Slapd(tmp_path / "slapd", [person("anna"), group("inner", [f"uid=anna,{PEOPLE}"])]).start()
    yield server
    server.stop()


class OldSlapd(Slapd):
    """It speaks TLS 1.1 and nothing newer."""

    def _config_text(self) -> str:
        # Which library it is stands in libldap, not in the program.
        linked = subprocess.run(["ldd", SLAPD], capture_output=True, text=True, timeout=30, check=True).stdout
        only = OPENSSL_FROM_1_1 if "libssl.so" in linked else GNUTLS_ONLY_1_1
        text = super()._config_text().replace("TLSProtocolMin 3.3", only)
        assert only in text
        return text

    def start(self, *, maintenance: bool = False) -> Self:
        openssl = self.directory / "openssl.cnf"
        openssl.write_text(OPENSSL_ONLY_1_1)
        self._program.environment = {"OPENSSL_CONF": str(openssl)}
        return super().start(maintenance=maintenance)


@pytest.mark.slapd
def test_tls_older_than_1_2_is_refused(tmp_path: Path) -> None:
    """Both ways into TLS; a client that is less strict is served."""
    server = OldSlapd(tmp_path / "slapd", [person("anna")]).start()
    lax = ssl.create_default_context(cafile=server.ca_file)
    lax.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what is old on purpose
        lax.minimum_version = ssl.TLSVersion.TLSv1_1
    try:
        with (
            socket.create_connection(("127.0.0.1", server.tls_port)) as connection,
            lax.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
        ):
            assert secured.version() == "TLSv1.1"
        findings = [
            finding
            for url in (server.url, server.plain_url)
            for finding in check(replace(settings_for(server), servers=(url,)))
        ]
    finally:
        server.stop()
    assert [finding.severity for finding in findings] == ["error", "error"]
    # This library's own defaults refuse it too; ours must not rest on them.
    assert CheckedTls("127.0.0.1", server.ca_file)._context.minimum_version is ssl.TLSVersion.TLSv1_2


@contextmanager
def listening(certificates: Path) -> Iterator[tuple[int, list[str | None]]]:
    """A server that notes which name each client asks for, and hangs up after the handshake."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, context.wrap_socket(connection, server_side=True):
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        listener.close()
        thread.join(5)


def test_the_server_is_told_by_which_name_it_is_asked(tmp_path: Path) -> None:
    """Several directories may share an address; each shows the certificate of the name (RFC 6066, section 3)."""
    make_tls_files(tmp_path, CertificateWish(ip=None, dns="localhost"))
    with listening(tmp_path) as (port, asked):
        url = f"ldaps://localhost:{port}"
        settings = LdapSettings((url,), "cn=doors", lambda: "x", "dc=x", "dc=x", ca_file=tmp_path / "ca.pem")
        findings = check(settings)
    assert asked == ["localhost"]
    assert "trusted" not in findings[0].text


@pytest.mark.slapd
@pytest.mark.parametrize("mode", ["syncrepl", "polling"])
def test_no_referral_is_followed(slapd: Slapd, scripted: Any, mode: str) -> None:
    """Whoever can write a referral would get the service's password: nobody is asked, and everything else is read."""
    with slapd.admin() as admin:
        for branch in (PEOPLE, GROUPS):
            values = {"cn": "elsewhere", "ref": f"{scripted.url}/cn=elsewhere,{branch}"}
            admin.add(f"cn=elsewhere,{branch}", ["referral", "extensibleObject"], values)
    sink = RecordingSink()
    with following(LdapSource(replace(settings_for(slapd), mode=mode)), sink):
        sink.wait_for(lambda: sink.proofs)
        with slapd.admin() as admin:
            write(admin, f"uid=anna,{PEOPLE}", displayName="Anna Neu")
        sink.wait_for(lambda: sink.person("anna").name == "Anna Neu")
    assert len(sink.entries) == 2
    assert check(settings_for(slapd))[0].severity == "ok"
    assert scripted.connections == 0


@pytest.mark.slapd
def test_a_base_that_lies_elsewhere_is_an_error_and_nobody_is_asked(slapd: Slapd, scripted: Any) -> None:
    """The server answers with a referral where people should be (LDAP result 10)."""
    with slapd.admin() as admin:
        values = {"ou": "abroad", "ref": f"{scripted.url}/ou=abroad,{SUFFIX}"}
        admin.add(f"ou=abroad,{SUFFIX}", ["referral", "extensibleObject"], values)
    sink = RecordingSink()
    abroad = replace(settings_for(slapd), people_base=f"ou=abroad,{SUFFIX}", groups_base=f"ou=abroad,{SUFFIX}")
    with following(LdapSource(abroad), sink):
        sink.wait_for(lambda: any("ended the search" in (state.trouble or "") for state in sink.states))
    assert (sink.proofs, scripted.connections) == ([], 0)


@pytest.mark.slapd
def test_whoever_leaves_outside_the_filter_does_not_stop_the_proofs(slapd: Slapd) -> None:
    """The server tells nothing of them, and its position goes on all the same; nobody of ours is lost."""
    sink = RecordingSink()
    with slapd.admin() as admin:
        admin.add(f"cn=printer,{PEOPLE}", "device")
        admin.add(f"ou=other,{SUFFIX}", "organizationalUnit")
        with following(LdapSource(settings_for(slapd)), sink):
            sink.wait_for(lambda: sink.proofs)
            before = len(sink.changes)
            for dn in (f"cn=printer,{PEOPLE}", f"ou=other,{SUFFIX}"):
                admin.delete(dn)
                sink.wait_current()
                sink.wait_current()
    assert len(sink.entries) == 2
    assert not any(change.removed or change.upserts or change.complete for change in sink.changes[before:])
    assert {state.trouble for state in sink.states if state.connected} == {None}


class DeadlySink(RecordingSink):
    """The server is killed when the first people of a full read arrive."""

    deadly: Any = None

    def apply(self, change: DirectoryChange) -> None:
        kill, self.deadly = self.deadly, None
        if kill is not None and change.upserts:
            kill()
        super().apply(change)


@pytest.mark.slapd
@pytest.mark.parametrize("mode", ["syncrepl", "polling"])
def test_half_a_list_makes_no_smaller_city(tmp_path: Path, mode: str) -> None:
    """The server dies in the middle of a full read: nobody is removed, and the next read is whole."""
    names = [f"p{number}" for number in range(1200)]
    # Far more than can be under way between the two.
    people = [person(name, displayName="x" * 10_000) for name in names]
    server = Slapd(tmp_path / "slapd", [*people, group("g", [f"uid=p0,{PEOPLE}"])]).start()
    settings = replace(settings_for(server), mode=mode)
    first = RecordingSink()
    try:
        with following(LdapSource(settings), first):
            first.wait_for(lambda: first.proofs)
        assert len(first.entries) == len(names) + 1
        sink = DeadlySink(entries=dict(first.entries))
        sink.deadly = server.kill
        with following(LdapSource(settings), sink):
            sink.wait_for(lambda: any(not state.connected and state.trouble for state in sink.states))
            assert not any(change.removed or change.complete for change in sink.changes)
            assert len(sink.entries) == len(names) + 1
            server.start()
            sink.wait_current()
    finally:
        server.stop()
    assert set(sink.entries) == set(first.entries)
    assert not any(change.removed for change in sink.changes)


@pytest.mark.slapd
def test_a_password_changed_in_its_file_is_used_at_the_next_connection(slapd: Slapd, tmp_path: Path) -> None:
    """The service is not started anew for it, and no password ever stands in a state or a setting."""
    secret = tmp_path / "directory.secret"
    secret.write_text(f"{slapd.password}\n")
    secret.chmod(0o600)
    section = DirectorySection(
        servers=(slapd.url,),
        bind_dn=slapd.bind_dn,
        password_file=secret,
        ca_file=slapd.ca_file,
        people_base=PEOPLE,
        groups_base=GROUPS,
    )
    settings = replace(ldap_settings(section), timing=QUICK)
    sink = RecordingSink()
    with following(LdapSource(settings), sink):
        sink.wait_for(lambda: sink.proofs)
        with slapd.admin() as admin:
            admin.modify(slapd.bind_dn, {"userPassword": [(ldap3.MODIFY_REPLACE, ["the-next-one"])]})
        slapd.stop()
        slapd.start()
        sink.wait_for(lambda: any("password is wrong" in (state.trouble or "") for state in sink.states))
        secret.write_text("the-next-one\n")
        sink.wait_current()
    assert "the-next-one" not in repr((settings, section, sink.states))
    assert slapd.password not in repr((settings, section, sink.states))
