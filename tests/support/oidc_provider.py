# SPDX-License-Identifier: EUPL-1.2
"""A small OpenID provider on loopback, written from the specifications: discovery, keys, codes with PKCE, ID tokens.

Whoever is sent to `/authorize` signs in at once as `login`, or is found signed in since `since_s`; with `prompt=login`
they sign in anew. A test makes it lie by changing what it says next.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLIENT, SECRET = "onecard", "oidc canary/5b:1a"


def b64(data: bytes) -> str:
    """Return base64url without padding (RFC 7515, appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Code:
    """What a code was given for."""

    nonce: str
    challenge: str
    redirect_uri: str
    asked_again: bool = False


@dataclass
class OidcProvider:
    """The provider; `issuer` is its address."""

    issuer: str = ""
    login: str = "schmidt"
    sub: str = "7"
    # When whoever comes by signed in last; whether it asks them again if it is told to.
    since_s: int = field(default_factory=lambda: int(time.time()) - 3_600)
    asks_again: bool = True
    codes: dict[str, Code] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    # Each may be replaced by a test.
    change_claims: Callable[[dict[str, Any]], None] = lambda claims: None
    sign: Callable[["OidcProvider", dict[str, Any]], str] | None = None
    description: dict[str, Any] = field(default_factory=dict)
    broken: bool = False

    def __post_init__(self) -> None:
        self.rotate()

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is gone."""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = secrets.token_hex(8)

    def public_pem(self) -> bytes:
        """Return the public key as PEM."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def jwks(self) -> dict[str, Any]:
        """Return the keys (RFC 7517)."""
        numbers = self.key.public_key().public_numbers()
        n, e = numbers.n.to_bytes(256), numbers.e.to_bytes(3)
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": b64(n), "e": b64(e)}]}

    def described(self) -> dict[str, Any]:
        """Return the description (OpenID Connect Discovery 1.0)."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "authorization_response_iss_parameter_supported": True,
        } | self.description

    def authorize(self, query: dict[str, str]) -> str:
        """Sign the browser in; return where it goes back to."""
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT
        code = secrets.token_urlsafe(16)
        self.codes[code] = Code(query["nonce"], query["code_challenge"], query["redirect_uri"])
        if query.get("prompt") == "login":
            assert query["max_age"] == "0"
            self.codes[code].asked_again = self.asks_again
        back = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Exchange a code (RFC 6749, 4.1.3; RFC 7636, 4.6); each once."""
        scheme, _, pair = authorization.partition(" ")
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        if scheme != "Basic" or (unquote(name), unquote(secret)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        code = self.codes.pop(form.get("code", ""), None)
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if code is None or challenge != code.challenge or form.get("redirect_uri") != code.redirect_uri:
            return 400, {"error": "invalid_grant"}
        now_s = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": self.sub,
            "aud": CLIENT,
            "exp": now_s + 300,
            "iat": now_s,
            "nonce": code.nonce,
        }
        claims |= {"preferred_username": self.login, "auth_time": now_s if code.asked_again else self.since_s}
        self.change_claims(claims)
        token = rs256(self, claims) if self.sign is None else self.sign(self, claims)
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}


def compact(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """Return a JWS in its compact form (RFC 7515, 7.1)."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(sign(signed.encode()))}"


def rs256(provider: OidcProvider, claims: dict[str, Any]) -> str:
    """Sign as a provider does."""
    header = {"alg": "RS256", "kid": provider.kid}
    return compact(header, claims, lambda data: provider.key.sign(data, padding.PKCS1v15(), SHA256()))


def unsigned(_: OidcProvider, claims: dict[str, Any]) -> str:
    """Say that there is no signature."""
    return compact({"alg": "none"}, claims, lambda _data: b"")


def with_the_public_key(provider: OidcProvider, claims: dict[str, Any]) -> str:
    """Take the public key for a shared secret."""
    header = {"alg": "HS256", "kid": provider.kid}
    return compact(header, claims, lambda data: hmac.digest(provider.public_pem(), data, "sha256"))


def with_the_clients_secret(provider: OidcProvider, claims: dict[str, Any]) -> str:
    """Sign with what the client knows too."""
    return compact({"alg": "HS256"}, claims, lambda data: hmac.digest(SECRET.encode(), data, "sha256"))


def with_another_key(provider: OidcProvider, claims: dict[str, Any]) -> str:
    """Sign with a key of nobody, under the right name."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    header = {"alg": "RS256", "kid": provider.kid}
    return compact(header, claims, lambda data: key.sign(data, padding.PKCS1v15(), SHA256()))


@contextmanager
def running_provider() -> Iterator[OidcProvider]:
    """Run a provider while the context lasts."""
    provider = OidcProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            provider.asked.append(parts.path)
            if provider.broken:
                self._answer(500, {})
            elif parts.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", f"{provider.issuer}/jwks")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif parts.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif parts.path == "/jwks":
                self._answer(200, provider.jwks())
            else:
                self._answer(200, provider.described())

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            if provider.broken:
                self._answer(500, {})
                return
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*provider.token(form, self.headers.get("Authorization", "")))

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
