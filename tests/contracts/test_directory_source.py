# SPDX-License-Identifier: EUPL-1.2
"""The directory contract against real OpenLDAP, and against the embedded double where it is there."""

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ldap3
import pytest
from contracts.directory_source import DirectorySourceContract, MakeSource, first_entries, settings_for
from support.slapd import ADMIN_DN, ADMIN_PASSWORD, Slapd, base_entries

from directorysim import DirectoryServer
from integrations.ldap import LdapSource


@pytest.fixture
def make_source() -> MakeSource:
    return lambda wish: LdapSource(settings_for(wish))


@pytest.mark.slapd
class TestOpenLdap(DirectorySourceContract):
    """Real slapd with memberof, refint, ppolicy and syncprov."""

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Iterator[Slapd]:
        server = Slapd(tmp_path / "slapd", first_entries(Slapd.suffix))
        server.start()
        yield server
        server.stop()


class TestDouble(DirectorySourceContract):
    """The embedded double of the demonstration."""

    @pytest.fixture
    def directory(self) -> Iterator["DoubleDirectory"]:
        entries = [
            (dn, {kind: [values] if isinstance(values, str) else list(values) for kind, values in attributes.items()})
            for dn, attributes in [*base_entries(), *first_entries(Slapd.suffix)]
        ]
        server = DirectoryServer(Slapd.suffix, entries, admin_dn=ADMIN_DN, admin_password=ADMIN_PASSWORD)
        with server.run_in_thread() as running:
            yield DoubleDirectory(running)


class DoubleDirectory:
    """The double in the shape the contract wants."""

    suffix = Slapd.suffix
    bind_dn = Slapd.bind_dn
    password = Slapd.password

    def __init__(self, running: Any) -> None:
        self._running = running
        self.url: str = running.ldaps_url
        self.ca_file = Path(running.ca_file)
        self.pause = running.pause
        self.resume = running.resume

    @contextlib.contextmanager
    def admin(self) -> Iterator[ldap3.Connection]:
        tls = ldap3.Tls(validate=ssl.CERT_NONE)
        connection = ldap3.Connection(
            ldap3.Server(self.url, tls=tls, get_info=ldap3.NONE),
            ADMIN_DN,
            ADMIN_PASSWORD,
            auto_bind=True,
            auto_referrals=False,
            raise_exceptions=True,
            check_names=False,
        )
        try:
            yield connection
        finally:
            connection.unbind()
