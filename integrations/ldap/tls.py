# SPDX-License-Identifier: EUPL-1.2
"""TLS for ldap3 that checks the certificate the way the standard library does.

ldap3's own check knows no IP addresses on Python 3.12 and later, sends no server name and accepts any certificate by
default. Here: TLS 1.2 or newer, the authority and the name (DNS or IP, subjectAltName only) always checked, SNI sent.
"""

import ssl
from pathlib import Path

import ldap3

from integrations.ldap.errors import SettingsRefused


class CheckedTls(ldap3.Tls):
    """An ldap3 Tls whose only way to wrap a socket verifies the server as `host`; `refusal` says why it did not."""

    def __init__(self, host: str, ca_file: Path | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self.refusal: str | None = None
        self._host = host
        self._context = _verifying_context(ca_file)

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        """Replace the connection's socket by a verified TLS socket; ldap3 calls this (it always wants a handshake).

        Raises:
            ssl.SSLError: the handshake failed; `refusal` then holds the reason in words.
        """
        try:
            connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            self.refusal = f"its certificate was refused, {error.verify_message.rstrip('.')}"
            raise
        except ssl.SSLEOFError:
            raise
        except ssl.SSLError as error:
            self.refusal = f"TLS failed, {(error.reason or 'no reason given').replace('_', ' ').lower()}"
            raise


def _verifying_context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise SettingsRefused(
            f"The file with the directory's certificate authority cannot be read: {ca_file}"
        ) from None
    return context
