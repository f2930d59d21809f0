# SPDX-License-Identifier: EUPL-1.2
"""The directory contract against real OpenLDAP, and against the embedded double where it is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.directory_source import DirectorySourceContract, MakeSource, SourceWish, first_entries
from support.slapd import Slapd, make_tls_files, slapd_is_installed

from integrations.ldap import LdapSettings, SyncreplSource
from integrations.ldap.settings import Timing


@pytest.fixture
def make_source() -> MakeSource:
    def make(wish: SourceWish) -> SyncreplSource:
        return SyncreplSource(
            LdapSettings(
                servers=wish.servers,
                bind_dn=wish.bind_dn,
                password=lambda: wish.password,
                people_base=f"ou=people,{wish.suffix}",
                groups_base=f"ou=groups,{wish.suffix}",
                ca_file=wish.ca_file,
                timing=Timing(beat_s=0.05, dead_s=1.0),
            )
        )

    return make


@pytest.fixture
def foreign_ca_file(tmp_path: Path) -> Path:
    make_tls_files(tmp_path / "foreign")
    return tmp_path / "foreign" / "ca.pem"


@pytest.mark.slapd
@pytest.mark.skipif(not slapd_is_installed(), reason="OpenLDAP's slapd is not installed (Debian: slapd)")
class TestOpenLdap(DirectorySourceContract):
    """Real slapd with memberof, refint, ppolicy and syncprov."""

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Iterator[Slapd]:
        server = Slapd(tmp_path / "slapd", first_entries(Slapd.suffix))
        server.start()
        yield server
        server.stop()
