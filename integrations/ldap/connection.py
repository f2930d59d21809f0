# SPDX-License-Identifier: EUPL-1.2
"""One signed-in connection to one server: opened by ldap3, read by our own loop with exact limits.

ldap3 does TCP, TLS and bind. After that only its socket is used, without blocking: several searches run at once, a
closed connection is noticed at once, and no message is larger than `ber.MAX_MESSAGE_BYTES`.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterable

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPOperationResult
from ldap3.operation.search import search_operation
from ldap3.utils import asn1

from cardservice.courtesy import give_way
from integrations.ldap import ber
from integrations.ldap.errors import (
    AnswerBroken,
    CertificateRefused,
    ConnectionLost,
    LdapTrouble,
    ServerSilent,
    ServerUnreachable,
    SettingsRefused,
    SignInRefused,
)
from integrations.ldap.messages import Message, read_message, search_message
from integrations.ldap.settings import LdapSettings, Server, is_loopback
from integrations.ldap.tls import CheckedTls

_RECEIVE_BYTES = 256 * 1024
_MAX_ADDRESSES = 8
_SIGN_IN_REFUSALS = {
    7: "the server does not accept this way of signing in",
    8: "the server wants a stronger way of signing in",
    13: "the server wants TLS before the password",
    48: "the server does not let this account sign in like this",
    49: "name or password is wrong",
    50: "the account may not sign in",
    53: "the server is not willing to let this account sign in",
}


def encode_search(base: str, search_filter: str, attributes: Iterable[str], *, whole_tree: bool = True) -> bytes:
    """Return a search request (RFC 4511, section 4.5.1): aliases never followed, no limits of our own.

    Raises:
        SettingsRefused: the filter is not one (RFC 4515).
    """
    scope = ldap3.SUBTREE if whole_tree else ldap3.BASE
    wanted = list(attributes)
    try:
        request = search_operation(base, search_filter, scope, ldap3.DEREF_NEVER, wanted, 0, 0, False, True, True)
        encoded: bytes = asn1.encode(request)  # type: ignore[attr-defined] # the stubs leave it out
    except (LDAPException, ValueError, IndexError) as error:
        raise SettingsRefused(f"'{search_filter}' is not an LDAP filter ({type(error).__name__}).") from None
    return encoded


class Channel:
    """A signed-in connection that never blocks while reading. Used by one thread."""

    def __init__(self, connection: ldap3.Connection, url: str, send_limit_s: float) -> None:
        self.url = url
        self._socket: socket.socket = connection.socket
        self._send_limit_s = send_limit_s
        self._server = connection.server
        self._buffer = bytearray()
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def search(self, request: bytes, controls: Iterable[tuple[str, bytes]] = ()) -> int:
        """Send an encoded search and return its message id.

        Raises:
            ConnectionLost: it cannot be sent.
        """
        message_id: int = self._server.next_message_id()
        try:
            self._socket.settimeout(self._send_limit_s)
            self._socket.sendall(search_message(message_id, request, controls))
            self._socket.setblocking(False)
        except TimeoutError:
            raise ServerSilent(f"{self.url} does not take any more requests.") from None
        except OSError:
            raise ConnectionLost(f"{self.url} closed the connection.") from None
        return message_id

    def receive(self, at_most: int) -> list[Message]:
        """Return up to `at_most` whole messages that are there now; empty means that nothing more has arrived.

        Raises:
            ConnectionLost: the server closed the connection and everything it sent before has been returned.
            AnswerBroken: what arrived is not LDAP.
        """
        messages: list[Message] = []
        while len(messages) < at_most:
            messages += self._buffered(at_most - len(messages))
            if len(messages) == at_most or not self._fill(had_messages=bool(messages)):
                break
        return messages

    def _buffered(self, at_most: int) -> list[Message]:
        messages: list[Message] = []
        position = 0
        while len(messages) < at_most:
            length = ber.message_length(self._buffer, position)
            if length is None or position + length > len(self._buffer):
                break
            give_way()
            messages.append(read_message(bytes(self._buffer[position : position + length])))
            position += length
        del self._buffer[:position]
        return messages

    def _fill(self, *, had_messages: bool) -> bool:
        """Read once; False when nothing is there, or when the end waits behind messages not yet returned."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            data = b""
        if data:
            self._buffer += data
            return True
        if had_messages:
            return False
        raise ConnectionLost(f"{self.url} closed the connection.")

    def close(self) -> None:
        """Close the socket; never raises."""
        _close(self._socket)


def _close(connected: socket.socket | None) -> None:
    if connected is None:
        return
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connected.close()


def open_channel(settings: LdapSettings, server: Server) -> Channel:
    """Connect to the first address of `server` that answers, check its certificate and sign in.

    Raises:
        ServerUnreachable, CertificateRefused, SignInRefused, SettingsRefused: one plain sentence why not.
    """
    if not server.tls and settings.plain_on_loopback and not is_loopback(server.host):
        raise SettingsRefused(f"{server.url}: a connection without TLS is for tests on this machine only.")
    trouble: LdapTrouble = ServerUnreachable(f"{server.url} has no address.")
    for address in _addresses(server):
        try:
            return _open_address(settings, server, address)
        except ServerUnreachable as error:
            trouble = error
    raise trouble


def _addresses(server: Server) -> list[str]:
    """Resolve here and not in ldap3, which keeps addresses for five minutes and leaks sockets between them."""
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError:
        raise ServerUnreachable(f"The name of {server.url} cannot be resolved.") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MAX_ADDRESSES]


def _open_address(settings: LdapSettings, server: Server, address: str) -> Channel:
    tls = CheckedTls(server.host, settings.ca_file)
    ldap_server = ldap3.Server(
        address,
        port=server.port,
        use_ssl=server.tls,
        tls=tls,
        get_info=ldap3.NONE,
        allowed_referral_hosts=[],
        connect_timeout=settings.timing.connect_s,
    )
    connection = ldap3.Connection(
        ldap_server,
        user=settings.bind_dn,
        password=_read_password(settings),
        authentication=ldap3.SIMPLE,
        client_strategy=ldap3.SYNC,
        auto_referrals=False,
        raise_exceptions=True,
        check_names=False,
        receive_timeout=settings.timing.answer_s,
    )
    try:
        _sign_in(connection, start_tls=not server.tls and not settings.plain_on_loopback)
        return Channel(connection, server.url, settings.timing.dead_s)
    except (LDAPException, OSError, ValueError, IndexError, KeyError, TypeError) as error:
        _close(connection.socket)
        raise _explain(server, tls, error) from None
    finally:
        connection.password = None


def _read_password(settings: LdapSettings) -> str:
    try:
        password = settings.password()
    except Exception as error:  # noqa: BLE001 - any secret store may be behind it; its text could hold the secret
        raise SignInRefused(f"The password for the directory cannot be read ({type(error).__name__}).") from None
    if not password:
        raise SignInRefused("The password for the directory is empty.")
    return password


def _sign_in(connection: ldap3.Connection, *, start_tls: bool) -> None:
    connection.open(read_server_info=False)
    if start_tls and not connection.start_tls(read_server_info=False):
        raise LDAPException("no TLS")
    connection.bind(read_server_info=False)


def _explain(server: Server, tls: CheckedTls, error: Exception) -> LdapTrouble:
    """Turn what ldap3 raised into one sentence; its own texts may hold what was sent."""
    if tls.refusal is not None:
        return CertificateRefused(f"{server.url} is not trusted: {tls.refusal}.")
    if isinstance(error, LDAPOperationResult):
        code = int(error.result)
        reason = _SIGN_IN_REFUSALS.get(code, f"LDAP result {code}")
        return SignInRefused(f"{server.url} refused to sign in the service's account: {reason}.")
    if isinstance(error, (LDAPException, OSError)):
        return ServerUnreachable(f"{server.url} does not answer ({_short_reason(error)}).")
    return AnswerBroken(f"{server.url} does not speak LDAP ({type(error).__name__}).")


def _short_reason(error: Exception) -> str:
    text = str(error).lower()
    for sign, reason in (("refused", "connection refused"), ("timed out", "no answer in time")):
        if sign in text:
            return reason
    return "no connection"


class Dial:
    """Opens a channel in a thread of its own, so that the caller can go on working and can walk away at any time."""

    def __init__(self, settings: LdapSettings, server: Server) -> None:
        self._lock = threading.Lock()
        self._abandoned = False
        self._channel: Channel | None = None
        self._trouble: LdapTrouble | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, args=(settings, server), name="ldap-dial", daemon=True).start()

    def _run(self, settings: LdapSettings, server: Server) -> None:
        channel: Channel | None = None
        try:
            channel = open_channel(settings, server)
        except LdapTrouble as error:
            self._trouble = error
        except Exception as error:  # noqa: BLE001 - a thread must end with an answer, whatever ldap3 does
            self._trouble = AnswerBroken(f"Connecting to {server.url} failed ({type(error).__name__}).")
        with self._lock:
            if self._abandoned and channel is not None:
                channel.close()
            else:
                self._channel = channel
        self._ended.set()

    def wait(self, limit_s: float) -> bool:
        """Wait up to `limit_s` and tell whether the attempt has ended."""
        return self._ended.wait(limit_s)

    def take(self) -> Channel:
        """Return the channel of an attempt that has ended.

        Raises:
            LdapTrouble: why there is none.
        """
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is None:
            raise self._trouble or ServerUnreachable("The directory server did not answer in time.")
        return channel

    def abandon(self) -> None:
        """Close whatever the attempt brought or will bring."""
        with self._lock:
            self._abandoned = True
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
