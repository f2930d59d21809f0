# SPDX-License-Identifier: EUPL-1.2
"""A directory administrator for demonstrations and tests. The service itself only ever reads a directory."""

from pathlib import Path
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException

from integrations.ldap.errors import LdapTrouble, ServerUnreachable
from integrations.ldap.tls import CheckedTls

_LOCKED_FOR_GOOD = "000001010000Z"
_LIMIT_S = 5


class DirectoryEditor:
    """Signs in as the directory's administrator for each change.

    Raises:
        LdapTrouble: from every method, when the directory refuses or cannot be reached.
    """

    def __init__(self, url: str, ca_file: Path, *, admin_dn: str, password: str) -> None:
        self._url = urlsplit(url)
        self._ca_file = ca_file
        self._admin_dn = admin_dn
        self._password = password

    def set_disabled(self, dn: str, *, disabled: bool) -> None:
        """Lock the account for good (draft-behera-ldap-password-policy-10 §5.3.3), or free it."""
        values = [_LOCKED_FOR_GOOD] if disabled else []
        self._modify(dn, {"pwdAccountLockedTime": [(ldap3.MODIFY_REPLACE, values)]})

    def set_member(self, group_dn: str, dn: str, *, member: bool) -> None:
        """Put an entry into a group, or take it out."""
        self._modify(group_dn, {"member": [(ldap3.MODIFY_ADD if member else ldap3.MODIFY_DELETE, [dn])]})

    def _modify(self, dn: str, changes: dict[str, list[tuple[str, list[str]]]]) -> None:
        host, port = self._url.hostname or "", self._url.port or 636
        server = ldap3.Server(
            host,
            port=port,
            use_ssl=True,
            tls=CheckedTls(host, self._ca_file),
            get_info=ldap3.NONE,
            connect_timeout=_LIMIT_S,
        )
        connection = ldap3.Connection(
            server,
            user=self._admin_dn,
            password=self._password,
            auto_referrals=False,
            raise_exceptions=True,
            check_names=False,
            receive_timeout=_LIMIT_S,
        )
        try:
            connection.open()
            connection.bind()
            connection.modify(dn, changes)  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        except LdapTrouble:
            raise
        except (LDAPException, OSError) as error:
            raise ServerUnreachable(f"the directory refused the change: {type(error).__name__}") from error
        finally:
            connection.unbind()
