# SPDX-License-Identifier: EUPL-1.2
"""The rig's OpenLDAP server, with an administrator who signs in through ldap3 as the tests do."""

from contextlib import AbstractContextManager

import ldap3
from support.ldap_admin import signed_in

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

    def admin(self) -> AbstractContextManager[ldap3.Connection]:
        """A bound connection that may write everything; failed operations raise."""
        return signed_in(self.plain_url, ADMIN_DN, ADMIN_PASSWORD)
