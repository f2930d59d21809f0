# SPDX-License-Identifier: EUPL-1.2
"""The directory contract for mode `dirsync`, against a real Active Directory domain controller (Samba)."""

from collections.abc import Iterator

import ldap3
import pytest
from contracts.directory_source import DirectorySourceContract, MakeSource, SourceWish, replace
from support.samba import (
    DISABLED,
    ENABLED,
    Samba,
    Tree,
    person_values,
    settings_for,
    shared_domain,
    template_of_the_run,
)

from integrations.ldap import LdapSource
from integrations.ldap.dirsync import DIRSYNC


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    base = tmp_path_factory.getbasetemp()
    with shared_domain(template_of_the_run(base), base / "dc") as server:
        yield server


@pytest.fixture
def directory(domain: Samba) -> Iterator[Tree]:
    tree = Tree(domain, "contract")
    tree.plant()
    yield tree
    tree.fell()


@pytest.fixture
def make_source(directory: Tree) -> MakeSource:
    def make(wish: SourceWish) -> LdapSource:
        changes = {"servers": wish.servers, "password": lambda: wish.password, "ca_file": wish.ca_file}
        return LdapSource(settings_for(directory, **changes), DIRSYNC)

    return make


@pytest.mark.samba
class TestActiveDirectory(DirectorySourceContract):
    """Real Samba; every test has a branch of its own in one domain."""

    @staticmethod
    def rdn(uid: str) -> str:
        return f"cn={uid}"

    @staticmethod
    def add_person(admin: ldap3.Connection, dn: str, uid: str, name: str) -> None:
        admin.add(dn, "user", person_values(uid, name))

    @staticmethod
    def disable(admin: ldap3.Connection, dn: str) -> None:
        replace(admin, dn, userAccountControl=DISABLED)

    @staticmethod
    def enable(admin: ldap3.Connection, dn: str) -> None:
        replace(admin, dn, userAccountControl=ENABLED)

    @staticmethod
    def misnamed_url(url: str) -> str:
        host = url.removeprefix("ldaps://").partition(":")[0]
        first, second, third, fourth = map(int, host.split("."))
        return url.replace(host, f"{first}.{second}.{third * 256 + fourth}")
