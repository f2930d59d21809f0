# SPDX-License-Identifier: EUPL-1.2
"""The directory contract for mode `polling`, against real OpenLDAP whose synchronisation is not used."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from contracts.directory_source import (
    DirectorySourceContract,
    MakeSource,
    first_entries,
    settings_for,
)
from support.slapd import Slapd, SlapdOptions

from integrations.ldap import LdapSource
from integrations.ldap.polling import POLLING
from integrations.ldap.settings import Timing


def aged_entries(suffix: str) -> list[tuple[str, Mapping[str, str | Sequence[str]]]]:
    """The first entries as they are in a directory that was not filled this very second."""
    return [
        (
            dn,
            {
                **values,
                "entryCSN": f"202601010000{second:02}.000000Z#000000#000#000000",
                "modifyTimestamp": f"202601010000{second:02}Z",
            },
        )
        for second, (dn, values) in zip(range(50, 0, -10), first_entries(suffix), strict=True)
    ]


@pytest.fixture
def make_source() -> MakeSource:
    return lambda wish: LdapSource(settings_for(wish, timing=Timing(beat_s=0.05, dead_s=1.0, list_s=0.3)), POLLING)


@pytest.mark.slapd
class TestOpenLdapByChangeNumber(DirectorySourceContract):
    """Real slapd that shows entryCSN."""

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Iterator[Slapd]:
        server = Slapd(tmp_path / "slapd", aged_entries(Slapd.suffix)).start()
        yield server
        server.stop()


@pytest.mark.slapd
class TestOpenLdapByTime(DirectorySourceContract):
    """Real slapd that shows modifyTimestamp alone."""

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Iterator[Slapd]:
        options = SlapdOptions(first_rule="access to attrs=entryCSN by * none")
        server = Slapd(tmp_path / "slapd", aged_entries(Slapd.suffix), options).start()
        yield server
        server.stop()
