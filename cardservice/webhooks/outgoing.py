# SPDX-License-Identifier: EUPL-1.2
"""One request to a receiver: to an address that was looked up and checked for this very connection, and to no other.

No redirect is followed and no proxy used. A request has so much time in all, however slowly it is answered, and of the
answer nothing but the status and `Retry-After` is read.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cardservice import __version__
from cardservice.webhooks.ports import Outcome
from cardservice.webhooks.rules import TargetRules, Unusable, may_be_reached
from cardservice.webhooks.target import Target, target_of

CONNECT_S: Final = 5.0
LIMIT_S: Final = 15.0
_MAX_SECONDS: Final = 6
# Returns the addresses that a name has now. Raises OSError.
Resolve = Callable[[str, int], list[str]]


class _Refused(Exception):
    """The connection was not made."""


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever the name resolves to a moment later."""

    def __init__(self, target: Target, address: str, tls: ssl.SSLContext) -> None:
        super().__init__(target.host, target.port, timeout=CONNECT_S)
        self._target, self._address, self._tls = target, address, tls

    def connect(self) -> None:
        """Connect to the checked address; a certificate must be of the name."""
        self.sock = socket.create_connection((self._address, self._target.port), CONNECT_S)
        if self._target.tls:
            self.sock = self._tls.wrap_socket(
                self.sock, server_hostname=self._target.host, do_handshake_on_connect=False
            )
            self.sock.settimeout(LIMIT_S)
            self.sock.do_handshake()
        self.sock.settimeout(LIMIT_S)

    def cut(self) -> None:
        """End the connection from another thread: whoever waits for it finds it at its end."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                # The socket's own, for TLS would first take its state away from the thread that uses it.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses that a name has now.

    Raises:
        OSError: none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Sender:
    """Sends requests as `rules` allow; TLS by the machine's authorities, or by those in `ca_file`."""

    def __init__(
        self,
        rules: TargetRules,
        ca_file: Path | None = None,
        *,
        resolve: Resolve = addresses_of,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._rules, self._resolve, self._limit_s = rules, resolve, limit_s
        self._tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._open: set[_Pinned] = set()

    def cut(self) -> None:
        """End every request that is under way, from any thread."""
        for connection in tuple(self._open):
            connection.cut()

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send a POST; return what came of it. Never raises."""
        try:
            target = target_of(url, self._rules)
            return self._post(target, self._checked(target), headers, body)
        except Unusable as error:
            return Outcome(None, str(error))
        except _Refused as error:
            return Outcome(None, str(error))
        except ssl.SSLCertVerificationError:
            return Outcome(None, "its certificate is not trusted, or is another name's")
        except (OSError, http.client.HTTPException, ValueError) as error:
            # What a library says may repeat what a receiver sent.
            return Outcome(None, f"it could not be reached or did not answer: {type(error).__name__}")

    def _checked(self, target: Target) -> str:
        """Return an address of the target that may be reached; one that may not condemns all: it is a trap."""
        found = self._resolve(target.host, target.port)
        if not found:
            raise _Refused("its name has no address")
        if not all(may_be_reached(address, self._rules, tls=target.tls) for address in found):
            raise _Refused("it is at an address that is not allowed: see webhooks.allowed_networks")
        return found[0]

    def _post(self, target: Target, address: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        connection = _Pinned(target, address, self._tls)
        late = threading.Event()

        def too_late() -> None:
            late.set()
            connection.cut()

        timer = threading.Timer(self._limit_s, too_late)
        timer.daemon = True
        timer.start()
        self._open.add(connection)
        usual = {
            "Host": target.named,
            "Content-Type": "application/json",
            "User-Agent": f"cardservice/{__version__}",
            "Connection": "close",
        }
        try:
            connection.request("POST", target.path, body, {**usual, **headers})
            response = connection.getresponse()
            if late.is_set():
                # Half an answer: the library takes the end of the connection for the end of the headers.
                raise TimeoutError
            return Outcome(response.status, None, _seconds(response.getheader("Retry-After")))
        except (OSError, http.client.HTTPException, ValueError):
            if late.is_set():
                raise _Refused(f"it did not answer within {self._limit_s:g} s") from None
            raise
        finally:
            timer.cancel()
            self._open.discard(connection)
            connection.close()


def _seconds(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_SECONDS else None
