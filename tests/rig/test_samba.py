# SPDX-License-Identifier: EUPL-1.2
"""The rig's domain controller: several at once, killed and started again, put back to a backup."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import ldap3
import pytest
from support.samba import Samba, template_of_the_run

import rig.program
import rig.samba
from rig.errors import SambaFailedError

OFFICE = f"ou=office,{rig.samba.SUFFIX}"


@pytest.fixture
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template_of_the_run(tmp_path_factory.getbasetemp())


@pytest.fixture
def server(template: Path, tmp_path: Path) -> Iterator[Samba]:
    one = Samba(tmp_path / "one", template)
    one.start()
    yield one
    one.stop()


def has_office(server: Samba) -> bool:
    with server.admin() as admin:
        admin.search(rig.samba.SUFFIX, "(ou=office)", attributes=["ou"])
        return any(entry["type"] == "searchResEntry" for entry in admin.response)


@pytest.mark.samba
def test_two_domains_run_beside_each_other_and_differ(server: Samba, template: Path, tmp_path: Path) -> None:
    other = Samba(tmp_path / "other", template)
    other.start()
    try:
        assert other.address != server.address
        with server.admin() as admin:
            admin.add(OFFICE, "organizationalUnit")
        assert has_office(server)
        assert not has_office(other)
    finally:
        other.stop()
    assert not other.runs


@pytest.mark.samba
def test_what_was_written_survives_kill_and_goes_with_a_restore(server: Samba) -> None:
    server.stop()
    backup = server.backup()
    server.start()
    with server.admin() as admin:
        admin.add(OFFICE, "organizationalUnit")
    server.kill()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((server.address, 636), timeout=1)
    server.start()
    assert has_office(server)
    server.stop()
    server.restore(backup)
    server.start()
    assert not has_office(server)


@pytest.mark.samba
def test_a_paused_server_accepts_and_says_nothing(server: Samba) -> None:
    context = ssl.create_default_context(cafile=server.ca_file)
    server.pause()
    with socket.create_connection((server.address, 636), timeout=0.3) as connection, pytest.raises(TimeoutError):
        context.wrap_socket(connection, server_hostname=server.address)
    server.resume()
    with (
        socket.create_connection((server.address, 636), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=server.address) as secured,
    ):
        assert secured.version() in {"TLSv1.2", "TLSv1.3"}


@pytest.mark.samba
def test_a_password_in_the_clear_is_refused(server: Samba) -> None:
    """As a real domain controller does."""
    plain = ldap3.Connection(ldap3.Server(server.address, get_info=ldap3.NONE), server.bind_dn, server.password)
    assert not plain.bind()
    assert plain.result["description"] == "strongerAuthRequired"
    plain.unbind()


def test_without_the_package_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.program, "FOLDERS", (str(tmp_path),))
    with pytest.raises(SambaFailedError, match=r"^samba-tool is not installed \(Debian: "):
        rig.samba.provision(tmp_path / "domain")
