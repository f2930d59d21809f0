# SPDX-License-Identifier: EUPL-1.2
"""What all connections share: the directory, who may do what, and the root DSE."""

import time
from collections.abc import Callable
from typing import Final

from directorysim.dn import Dn, parse_dn
from directorysim.entry import Attribute, Entry
from directorysim.errors import OperationError, ResultCode
from directorysim.passwords import PasswordHash
from directorysim.settings import Options
from directorysim.store import Directory
from directorysim.sync import SYNC_REQUEST_OID

PAGED_RESULTS_OID: Final = "1.2.840.113556.1.4.319"
MANAGE_DSA_IT_OID: Final = "2.16.840.1.113730.3.4.2"
START_TLS_OID: Final = "1.3.6.1.4.1.1466.20037"
WHO_AM_I_OID: Final = "1.3.6.1.4.1.4203.1.11.3"
_ALL_OPERATIONAL_OID: Final = "1.3.6.1.4.1.4203.1.5.1"
_TRUE_FALSE_FILTERS_OID: Final = "1.3.6.1.4.1.4203.1.5.3"


class Service:
    """The directory with its access rules: all may be read after a bind, the administrator alone writes."""

    def __init__(self, directory: Directory, *, admin_dn: Dn, admin_password: PasswordHash, options: Options) -> None:
        self.directory = directory
        self.options = options
        self.monotonic_s: Callable[[], float] = time.monotonic
        self._admin_dn = admin_dn
        self._admin_password = admin_password
        self._unlimited = {admin_dn.key, *(parse_dn(text).key for text in options.unlimited_dns)}

    def authenticate(self, dn: Dn, *, password: bytes) -> Dn:
        """Check a simple bind and return the name that is now bound.

        Raises:
            OperationError: invalidCredentials, whatever the reason.
        """
        entry = self.directory.get(dn)
        if dn.key == self._admin_dn.key and self._admin_password.matches(password):
            return self._admin_dn
        if entry is None or entry.named("pwdaccountlockedtime") is not None:
            raise OperationError(ResultCode.INVALID_CREDENTIALS)
        if not any(known.matches(password) for known in entry.passwords):
            raise OperationError(ResultCode.INVALID_CREDENTIALS)
        return entry.dn

    def is_admin(self, identity: Dn | None) -> bool:
        """Tell whether this identity may write."""
        return identity is not None and identity.key == self._admin_dn.key

    def size_limit(self, identity: Dn, asked: int) -> int:
        """Return how many entries one search may return, or 0 for any number."""
        own = 0 if identity.key in self._unlimited else self.options.size_limit
        return min(asked, own) if asked and own else asked or own

    def root_dse(self, *, with_tls: bool) -> Entry:
        """Return the root DSE (RFC 4512, section 5.1)."""
        extensions = [WHO_AM_I_OID, START_TLS_OID] if with_tls else [WHO_AM_I_OID]
        content = {
            "objectClass": ["top"],
            "namingContexts": [self.directory.suffix.text],
            "supportedControl": [SYNC_REQUEST_OID, PAGED_RESULTS_OID, MANAGE_DSA_IT_OID],
            "supportedExtension": extensions,
            "supportedFeatures": [_ALL_OPERATIONAL_OID, _TRUE_FALSE_FILTERS_OID],
            "supportedLDAPVersion": ["3"],
            "vendorName": ["directorysim"],
        }
        attributes = {
            name.lower(): Attribute(name, tuple(value.encode() for value in values)) for name, values in content.items()
        }
        return Entry(parse_dn(""), b"", "", attributes)
