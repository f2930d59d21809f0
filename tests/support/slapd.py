# SPDX-License-Identifier: EUPL-1.2
"""The rig's OpenLDAP server, with an administrator who signs in through ldap3 as the tests do."""

from collections.abc import Iterator
from contextlib import contextmanager

import ldap3

import rig.slapd
from rig.slapd import (
    ADMIN_DN,
    ADMIN_PASSWORD,
    READER_DN,
    READER_PASSWORD,
    SLAPD,
    SUFFIX,
    CertificateWish,
    Entry,
    SlapdOptions,
    base_entries,
    group,
    make_tls_files,
    person,
    to_ldif,
)

__all__ = [
    "ADMIN_DN",
    "ADMIN_PASSWORD",
    "READER_DN",
    "READER_PASSWORD",
    "SLAPD",
    "SUFFIX",
    "CertificateWish",
    "Entry",
    "Slapd",
    "SlapdOptions",
    "base_entries",
    "group",
    "make_tls_files",
    "person",
    "to_ldif",
]


class Slapd(rig.slapd.Slapd):
    """One slapd process with its own database; `start` may follow `stop` or `kill` any number of times."""

    @contextmanager
    def admin(self) -> Iterator[ldap3.Connection]:
        """A bound connection that may write everything; failed operations raise."""
        server = ldap3.Server(self.plain_url, get_info=ldap3.NONE)
        connection = ldap3.Connection(
            server,
            ADMIN_DN,
            ADMIN_PASSWORD,
            auto_bind=ldap3.AUTO_BIND_NO_TLS,  # loopback, and a password that protects nothing
            auto_referrals=False,
            raise_exceptions=True,
            check_names=False,
        )
        try:
            yield connection
        finally:
            connection.unbind()
