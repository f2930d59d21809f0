# SPDX-License-Identifier: EUPL-1.2
"""An LDAP v3 directory in memory, with content synchronisation (RFC 4533), for demonstrations and tests.

It behaves like a small OpenLDAP and needs nothing installed. README.md says where it differs.

    DirectorySimError
    |-- BerError             bytes are not bounded BER
    |-- DnError              text is not a distinguished name
    |-- LdifError            text is not LDIF content
    |-- ConfigurationError   settings or initial content cannot be used
    `-- OperationError       an LDAP operation ends with a result other than success
"""

from directorysim.errors import (
    BerError,
    ConfigurationError,
    DirectorySimError,
    DnError,
    LdifError,
    OperationError,
    ResultCode,
)
from directorysim.server import DirectoryServer, ThreadedServer
from directorysim.settings import Limits, Options, TlsFiles

__all__ = [
    "BerError",
    "ConfigurationError",
    "DirectoryServer",
    "DirectorySimError",
    "DnError",
    "LdifError",
    "Limits",
    "OperationError",
    "Options",
    "ResultCode",
    "ThreadedServer",
    "TlsFiles",
]
