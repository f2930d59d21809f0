# SPDX-License-Identifier: EUPL-1.2
"""Devices on which somebody signed in before: who uses up a name's guesses elsewhere does not lock them out there.

A cookie, signed by the service and bound to the name without holding it (OWASP, "Slow Down Online Guessing Attacks with
Device Cookies"). It opens nothing: it only says whose guesses an attempt counts among.
"""

import hashlib
import hmac
import secrets
from typing import Final

from fastapi import Response

from cardservice.clock import Clock

DEVICE_COOKIE: Final = "__Host-onecard-device"
KEPT_S: Final = 180 * 86_400
MAX_COOKIE: Final = 200
_PARTS: Final = 3


class Devices:
    """Makes and knows device cookies; `secret` signs them."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def cookie_for(self, name: str) -> str:
        """Return the cookie of a device on which `name` has just signed in."""
        nonce, until_s = secrets.token_hex(16), self._clock.now_ms() // 1_000 + KEPT_S
        return f"{nonce}.{until_s}.{self._signature(name, nonce, until_s)}"

    def knows(self, cookie: str | None, name: str) -> bool:
        """Tell whether `name` signed in before on the device that sent this cookie."""
        parts = [] if cookie is None or len(cookie) > MAX_COOKIE or not cookie.isascii() else cookie.split(".")
        if len(parts) != _PARTS or not parts[1].isdecimal():
            return False
        nonce, until_s, signature = parts[0], int(parts[1]), parts[2]
        genuine = hmac.compare_digest(signature, self._signature(name, nonce, until_s))
        return genuine and self._clock.now_ms() // 1_000 < until_s

    def _signature(self, name: str, nonce: str, until_s: int) -> str:
        signed = f"{nonce}.{until_s}.{name}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, signed, hashlib.sha256).hexdigest()


def give_device(response: Response, cookie: str) -> None:
    """Let the browser remember that somebody signed in on it."""
    response.set_cookie(DEVICE_COOKIE, cookie, max_age=KEPT_S, path="/", secure=True, httponly=True, samesite="lax")
