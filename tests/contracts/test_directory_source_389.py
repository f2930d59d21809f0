# SPDX-License-Identifier: EUPL-1.2
"""The directory contract for mode `content-sync`, against a real 389 Directory Server."""

from collections.abc import Iterator
from pathlib import Path

import ldap3
import pytest
from contracts.directory_source import DirectorySourceContract, MakeSource, SourceWish, first_entries, replace
from support.ds389 import Ds389
from support.slapd import make_tls_files

from integrations.ldap import LdapSettings, LdapSource
from integrations.ldap.content_sync import CONTENT_SYNC
from integrations.ldap.mapping_attributes import DS389
from integrations.ldap.settings import Timing

pytestmark = pytest.mark.ds389


@pytest.fixture(scope="module")
def server() -> Iterator[Ds389]:
    """One server for all tests here; each fills it anew."""
    running = Ds389()
    try:
        running.start().prepare()
        yield running
    finally:
        running.close()


@pytest.fixture
def directory(server: Ds389) -> Ds389:
    server.fill(first_entries(server.suffix))
    return server


@pytest.fixture
def make_source() -> MakeSource:
    def make(wish: SourceWish) -> LdapSource:
        return LdapSource(
            LdapSettings(
                servers=wish.servers,
                bind_dn=wish.bind_dn,
                password=lambda: wish.password,
                people_base=f"ou=people,{wish.suffix}",
                groups_base=f"ou=groups,{wish.suffix}",
                ca_file=wish.ca_file,
                people_filter=DS389.people_filter,
                groups_filter=DS389.groups_filter,
                mapping=DS389.mapping,
                timing=Timing(beat_s=0.05, dead_s=1.0),
            ),
            CONTENT_SYNC,
        )

    return make


@pytest.fixture
def foreign_ca_file(tmp_path: Path) -> Path:
    make_tls_files(tmp_path / "foreign")
    return tmp_path / "foreign" / "ca.pem"


class TestDs389(DirectorySourceContract):
    """Real ns-slapd with content synchronisation, retro changelog, memberOf and referential integrity."""

    @staticmethod
    def disable(admin: ldap3.Connection, dn: str) -> None:
        replace(admin, dn, nsAccountLock="true")

    @staticmethod
    def enable(admin: ldap3.Connection, dn: str) -> None:
        replace(admin, dn, nsAccountLock=[])
