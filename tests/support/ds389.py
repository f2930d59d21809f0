# SPDX-License-Identifier: EUPL-1.2
"""The rig's 389 Directory Server, with an administrator who signs in through ldap3 as the tests do."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import ldap3
from support.ldap_admin import signed_in

import rig.ds389
from rig.slapd import READER_DN, READER_PASSWORD, SUFFIX

__all__ = ["SUFFIX", "Ds389"]

Entry = tuple[str, Mapping[str, str | Sequence[str]]]

_EVERYBODY_READS = (
    '(targetattr != "userPassword")(version 3.0; acl "read"; allow (read, search, compare) userdn = "ldap:///all";)'
)
_BASE: tuple[tuple[str, dict[str, str | list[str]]], ...] = (
    (SUFFIX, {"objectClass": ["top", "domain"], "dc": "corp", "aci": _EVERYBODY_READS}),
    (READER_DN, {"objectClass": ["organizationalRole", "simpleSecurityObject"], "userPassword": READER_PASSWORD}),
)
_BRANCHES = ("people", "groups")


class Ds389(rig.ds389.Ds389):
    """One server with its own database, filled over LDAP; `fill` may be repeated."""

    def admin(self) -> AbstractContextManager[ldap3.Connection]:
        """A bound connection that may write everything; failed operations raise."""
        return signed_in(self.plain_url, self.admin_dn, self.admin_password)

    def prepare(self) -> None:
        """Add the suffix and the account the service reads with."""
        with self.admin() as admin:
            for dn, attributes in _BASE:
                admin.add(dn, attributes=attributes)

    def fill(self, entries: Iterable[Entry]) -> None:
        """Throw away everybody and add `entries`.

        People may have a memberOf (object class inetUser), as in FreeIPA: the overlay that writes it needs one.
        """
        with self.admin() as admin:
            for branch in _BRANCHES:
                self._remove_below(admin, f"ou={branch},{SUFFIX}")
                admin.add(f"ou={branch},{SUFFIX}", "organizationalUnit")
            for dn, attributes in entries:
                classes = attributes["objectClass"]
                names = [classes] if isinstance(classes, str) else list(classes)
                if "inetOrgPerson" in names:
                    names.append("inetUser")
                admin.add(dn, names, {kind: value for kind, value in attributes.items() if kind != "objectClass"})

    @staticmethod
    def _remove_below(admin: ldap3.Connection, base: str) -> None:
        try:
            admin.search(base, "(objectClass=*)", attributes=["1.1"])
        except ldap3.core.exceptions.LDAPNoSuchObjectResult:
            return
        for dn in sorted((found["dn"] for found in admin.response), key=len, reverse=True):
            admin.delete(dn)
