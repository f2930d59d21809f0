# SPDX-License-Identifier: EUPL-1.2
"""What can go wrong with a directory. Every text is one plain sentence for the status page and holds no secret.

LdapTrouble
├── SettingsRefused        the settings cannot work; nothing was tried
├── ServerUnreachable      no TCP connection, or no answer while connecting
├── CertificateRefused     TLS failed: wrong authority, wrong name, expired, too old
├── SignInRefused          the server refused name, password or the way of signing in
├── ConnectionLost         the connection ended
│   └── ServerSilent       the connection stands, the server does not answer
├── AnswerBroken           bytes that are not LDAP, or LDAP that breaks RFC 4511 / RFC 4533
│   └── MalformedBer       bytes that are not BER within the bounds
└── SearchRefused          the server ended a search with a result code that is not success
    ├── PositionRefused    the server cannot continue from our cookie: everything must be read again
    └── ServerBehind       the server is older than our cookie (LDAP result 53)
"""


class LdapTrouble(Exception):
    """Base of everything this package raises."""


class SettingsRefused(LdapTrouble):
    """The settings cannot work."""


class ServerUnreachable(LdapTrouble):
    """No connection could be made."""


class CertificateRefused(LdapTrouble):
    """The server's certificate or TLS version was refused."""


class SignInRefused(LdapTrouble):
    """The server refused the bind."""


class ConnectionLost(LdapTrouble):
    """The connection ended."""


class ServerSilent(ConnectionLost):
    """The server does not answer any more."""


class AnswerBroken(LdapTrouble):
    """The server sent what the protocol does not allow."""


class MalformedBer(AnswerBroken):
    """Bytes that are not BER, or beyond the bounds."""


class SearchRefused(LdapTrouble):
    """The server ended a search with another result than success."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class PositionRefused(SearchRefused):
    """The server cannot continue from the cookie."""


class ServerBehind(SearchRefused):
    """The server knows less than the cookie says: restored from a backup, or a replica that lags."""
