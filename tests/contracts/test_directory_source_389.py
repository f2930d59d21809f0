# SPDX-License-Identifier: EUPL-1.2
"""The directory contract for mode `content-sync`, against a real 389 Directory Server."""

from collections.abc import Iterator

import ldap3
import pytest
from contracts.directory_source import DirectorySourceContract, MakeSource, first_entries, replace, settings_for
from support.ds389 import Ds389

from integrations.ldap import LdapSource
from integrations.ldap.content_sync import CONTENT_SYNC
from integrations.ldap.mapping_attributes import DS389

pytestmark = pytest.mark.ds389

PRESET = {
    "people_filter": DS389.people_filter,
    "groups_filter": DS389.groups_filter,
    "mapping": DS389.mapping,
}


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
    return lambda wish: LdapSource(settings_for(wish, **PRESET), CONTENT_SYNC)


class TestDs389(DirectorySourceContract):
    """Real ns-slapd with content synchronisation, retro changelog, memberOf and referential integrity."""

    @staticmethod
    def disable(admin: ldap3.Connection, dn: str) -> None:
        replace(admin, dn, nsAccountLock="true")

    @staticmethod
    def enable(admin: ldap3.Connection, dn: str) -> None:
        replace(admin, dn, nsAccountLock=[])
