# SPDX-License-Identifier: EUPL-1.2
"""A second OpenLDAP server that follows a first one by OpenLDAP's own replication."""

from pathlib import Path

from rig.slapd import ADMIN_DN, ADMIN_PASSWORD, SUFFIX, Slapd, SlapdOptions


class Replica(Slapd):
    """A read-only copy of `provider`, with the same certificate; empty until it has run beside it."""

    def __init__(self, directory: Path, provider: Slapd) -> None:
        """Write configuration and certificate; nothing runs yet."""
        self._provider_url = provider.plain_url
        super().__init__(directory, (), SlapdOptions(tls_from=provider.ca_file.parent))
        self.clear()

    def _config_text(self) -> str:
        replication = (
            f"syncrepl rid=001 provider={self._provider_url} bindmethod=simple binddn={ADMIN_DN} "
            f'credentials={ADMIN_PASSWORD} searchbase={SUFFIX} type=refreshAndPersist retry="1 +" timeout=1\n'
        )
        return super()._config_text().replace("overlay memberof\n", f"{replication}overlay memberof\n")
