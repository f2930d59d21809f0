# SPDX-License-Identifier: EUPL-1.2
"""An administrator of a directory, who writes through ldap3 what a test wants there."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import ldap3
from ldap3.core.exceptions import LDAPSessionTerminatedByServerError

_TRIES = 3


@contextmanager
def signed_in(url: str, dn: str, password: str) -> Iterator[ldap3.Connection]:
    """A bound connection; failed operations raise. What the connection proves of the server is not what is tested."""
    connection = _bound(url, dn, password)
    try:
        yield connection
    finally:
        connection.unbind()


def _bound(url: str, dn: str, password: str) -> ldap3.Connection:
    for _ in range(_TRIES - 1):
        # On a busy machine a server now and then hangs up on one of thousands of sign-ins.
        with suppress(LDAPSessionTerminatedByServerError):
            return _bind(url, dn, password)
    return _bind(url, dn, password)


def _bind(url: str, dn: str, password: str) -> ldap3.Connection:
    tls = ldap3.Tls(validate=ssl.CERT_NONE) if url.startswith("ldaps:") else None
    return ldap3.Connection(
        ldap3.Server(url, tls=tls, get_info=ldap3.NONE),
        dn,
        password,
        auto_bind=ldap3.AUTO_BIND_NO_TLS,
        auto_referrals=False,
        raise_exceptions=True,
        check_names=False,
    )
