# SPDX-License-Identifier: EUPL-1.2
"""Whether somebody's password is right: a bind as themselves (RFC 4511 section 4.2), nothing is read or kept."""

from dataclasses import replace

from ldap3.core.exceptions import LDAPException
from ldap3.protocol.sasl.sasl import validate_simple_password

from integrations.ldap.connection import open_channel
from integrations.ldap.errors import LdapTrouble, ServerUnreachable, SignInRefused
from integrations.ldap.settings import LdapSettings

MAX_PASSWORD = 256


def password_fits(settings: LdapSettings, dn: str, password: str) -> bool:
    """Tell whether `dn` can sign in with `password`, asking the servers in their order. Blocks.

    An empty password is never right: many servers take it for an anonymous bind and say yes (RFC 4513 section 5.1.2).

    Raises:
        LdapTrouble: no server could be asked.
    """
    if not dn or len(password) > MAX_PASSWORD or not _can_be_sent(password):
        return False
    theirs = replace(settings, bind_dn=dn, password=lambda: password)
    trouble: LdapTrouble = ServerUnreachable("no server is set")
    for server in theirs.ordered_servers():
        try:
            open_channel(theirs, server).close()
        except SignInRefused:
            return False
        except LdapTrouble as error:
            trouble = error
        else:
            return True
    raise trouble


def _can_be_sent(password: str) -> bool:
    """Tell whether it is a password at all (SASLprep, RFC 4013): nobody's is empty or has control characters."""
    try:
        validate_simple_password(password)
    except LDAPException:
        return False
    return True
