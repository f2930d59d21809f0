# SPDX-License-Identifier: EUPL-1.2
"""A provider that people sign in at (OpenID Connect Core 1.0, section 3.1): what we ask it, and what we believe.

Everything here blocks. Nothing of an answer counts before it is checked: the description names the configured issuer,
the ID token is signed by one of its keys with an allowed algorithm, for us, for this very attempt, and still valid.
"""

import base64
import hashlib
import json
import math
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from authlib.oidc.core import CodeIDToken
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from cardservice.clock import Clock
from cardservice.errors import CardServiceError

# Signatures alone, with public keys: a token that we could have made ourselves proves nothing.
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384")
TIMEOUT_S: Final = 5.0
MAX_ANSWER: Final = 256 * 1024
MAX_KEYS: Final = 20
MAX_TOKEN: Final = 16 * 1024
MIN_RSA_BITS: Final = 2_048
# How long a description counts, and how soon a key that nobody knows makes us ask again.
KEPT_S: Final = 3_600
ASK_AGAIN_S: Final = 30
LEEWAY_S: Final = 30
MAX_NAME: Final = 256
MAX_METHODS: Final = 50
_BASIC, _POST = "client_secret_basic", "client_secret_post"
# What libraries raise at what was never meant to be read.
_HOSTILE: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)
_DISCOVERY: Final = "/.well-known/openid-configuration"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_NS: Final = 1_000_000_000


class ProviderAway(CardServiceError):
    """The provider does not answer, or not as a provider does."""


class TokenRefused(CardServiceError):
    """What came back proves nobody."""


class NotAskedAgain(TokenRefused):
    """The provider lets somebody through who did not just prove to it who they are."""


class SomebodyElse(TokenRefused):
    """The provider names another person than the one who is to confirm who they are."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are to the provider, and which claim names the person."""

    issuer: str
    client_id: str
    redirect_uri: str
    claim: str
    secret: Callable[[], str] = field(repr=False)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to sign in, known to one browser alone; `wanted` is where it goes afterwards.

    `session` is the number of one that somebody has already and in which they prove again who they are: not before
    `begun_s`.
    """

    state: str
    nonce: str
    verifier: str = field(repr=False)
    wanted: str | None = None
    session: int | None = None
    begun_s: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in: what the claim says of them, and what stands for who they are to the provider, for ever."""

    name: str
    subject: bytes


@dataclass(frozen=True, slots=True)
class _Described:
    """What the provider says of itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    by_post: bool
    names_itself: bool


class Provider:
    """The configured provider; from any thread."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._described: tuple[int, _Described] | None = None
        self._keys: tuple[int, list[Mapping[str, Any]]] | None = None
        context = ssl.create_default_context(cafile=client.ca_file)
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            # No redirects, no proxies, no files: what is asked for is asked for there, or not at all.
            self._opener.add_handler(handler)

    def address(self, attempt: Attempt) -> str:
        """Return where the browser goes to sign in.

        Raises:
            ProviderAway: it does not say where.
        """
        described = self._description()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.redirect_uri,
            "scope": "openid profile",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        if attempt.session is not None:
            # OpenID Connect Core, 3.1.2.1: whoever is signed in there already proves it again.
            asked |= {"prompt": "login", "max_age": "0"}
        endpoint = described.authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    def identity_for(self, attempt: Attempt, code: str, issuer: str | None) -> Identity:
        """Return who signed in; `issuer` is whom the answer says it is from (RFC 9207).

        Raises:
            ProviderAway: it does not answer.
            TokenRefused: the answer proves nobody.
        """
        described = self._description()
        if issuer != self._client.issuer and (issuer is not None or described.names_itself):
            raise TokenRefused("the answer is another provider's")
        claims = self._checked(self._id_token(described, code, attempt.verifier), attempt.nonce)
        if attempt.session is not None:
            self._require_asked_again(claims, attempt.begun_s)
        name, subject = (_text_of(claims, claim) for claim in (self._client.claim, "sub"))
        named = json.dumps([self._client.issuer, subject])
        return Identity(name, hashlib.sha256(named.encode()).digest())

    def _require_asked_again(self, claims: Mapping[str, Any], begun_s: int) -> None:
        """Refuse whoever was signed in at the provider before and was not asked (3.1.3.7, 12)."""
        at_s, now_s = claims.get("auth_time"), self._clock.now_ms() // 1_000
        if isinstance(at_s, bool) or not isinstance(at_s, int | float) or not math.isfinite(at_s):
            raise NotAskedAgain("the provider does not say when it asked who this is")
        if not begun_s - LEEWAY_S <= at_s <= now_s + LEEWAY_S:
            raise NotAskedAgain("the provider did not ask again who this is")

    def _id_token(self, described: _Described, code: str, verifier: str) -> str:
        client = self._client
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect_uri}
        form |= {"code_verifier": verifier}
        headers = {}
        if described.by_post:
            form |= {"client_id": client.client_id, "client_secret": client.secret()}
        else:
            # RFC 6749, 2.3.1: both parts escaped first.
            pair = f"{quote(client.client_id, safe='')}:{quote(client.secret(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = self._fetch(described.token_endpoint, form, headers)
        token = answer.get("id_token")
        if not isinstance(token, str) or len(token) > MAX_TOKEN:
            raise TokenRefused("the provider gave no ID token")
        return token

    def _checked(self, token: str, nonce: str) -> Mapping[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core, 3.1.3.7)."""
        header = _header_of(token)
        if header.get("alg") not in ALGORITHMS:
            raise TokenRefused("the ID token is not signed as it must be")
        kid = header.get("kid")
        for again in (False, True):
            for key in self._keys_named(kid, again=again):
                try:
                    decoded = jwt.decode(token, jwk.import_key(dict(key)), algorithms=[header["alg"]])
                except _HOSTILE:
                    continue
                return self._valid(decoded.claims, decoded.header, nonce)
        raise TokenRefused("no key of the provider has signed the ID token")

    def _valid(self, claims: Mapping[str, Any], header: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        client = self._client
        if not isinstance(claims, dict):
            raise TokenRefused("the ID token holds no claims")
        wanted = {
            "iss": {"essential": True, "value": client.issuer},
            "aud": {"essential": True, "value": client.client_id},
        }
        checked = CodeIDToken(dict(claims), dict(header), wanted, {"nonce": nonce, "client_id": client.client_id})
        try:
            checked.validate(now=self._clock.now_ms() // 1_000, leeway=LEEWAY_S)
        except _HOSTILE as error:
            raise TokenRefused(f"the ID token does not hold: {type(error).__name__}") from None
        return claims

    def _keys_named(self, kid: Any, *, again: bool) -> list[Mapping[str, Any]]:
        """Return the keys a token may be signed with; `again`: those of now, if the last look is not just over."""
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            known = self._keys
        kept_s = ASK_AGAIN_S if again else KEPT_S
        if known is None or now_ns - known[0] > kept_s * _NS:
            found = self._fetch(self._description().jwks_uri).get("keys")
            keys = [key for key in found[:MAX_KEYS] if _usable(key)] if isinstance(found, list) else []
            known = now_ns, keys
            with self._lock:
                self._keys = known
        return [key for key in known[1] if kid is None or key.get("kid") == kid]

    def _description(self) -> _Described:
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            if self._described is not None and now_ns - self._described[0] <= KEPT_S * _NS:
                return self._described[1]
        answer = self._fetch(self._client.issuer.rstrip("/") + _DISCOVERY)
        if answer.get("issuer") != self._client.issuer:
            raise ProviderAway("the provider says that it is another one")
        described = _Described(
            authorization_endpoint=self._endpoint(answer, "authorization_endpoint"),
            token_endpoint=self._endpoint(answer, "token_endpoint"),
            jwks_uri=self._endpoint(answer, "jwks_uri"),
            by_post=_BASIC not in _methods(answer),
            names_itself=answer.get("authorization_response_iss_parameter_supported") is True,
        )
        with self._lock:
            self._described = now_ns, described
        return described

    def _endpoint(self, answer: Mapping[str, Any], name: str) -> str:
        address = answer.get(name)
        if not isinstance(address, str) or not safe_address(address):
            raise ProviderAway(f"the provider names no usable {name}")
        return address

    def _fetch(
        self, address: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        data = None if form is None else urlencode(form).encode()
        request = urllib.request.Request(address, data, {"Accept": "application/json", **(headers or {})})  # noqa: S310  # checked
        try:
            response = self._opener.open(request, timeout=TIMEOUT_S)
            if response is None:
                raise ProviderAway("the provider cannot be asked that way")
            with response:
                answer = json.loads(_bounded(response.read(MAX_ANSWER + 1)))
        except urllib.error.HTTPError as error:
            with error:
                if form is not None and 400 <= error.code < 500:
                    raise TokenRefused("the provider refuses the code") from None
                raise ProviderAway(f"the provider answers {error.code}") from None
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise ProviderAway(f"the provider does not answer: {type(error).__name__}") from None
        if not isinstance(answer, dict):
            raise ProviderAway("the provider does not answer as one")
        return answer


def _methods(answer: Mapping[str, Any]) -> list[str]:
    """Return how the provider lets clients prove who they are; what it leaves out has a default (Discovery 1.0, 3)."""
    found = answer.get("token_endpoint_auth_methods_supported", [_BASIC])
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_METHODS:
        raise ProviderAway("the provider does not say how clients prove who they are")
    if not all(isinstance(one, str) for one in found) or not {_BASIC, _POST} & set(found):
        raise ProviderAway("the provider takes no client's secret")
    return found


def _text_of(claims: Mapping[str, Any], claim: str) -> str:
    """Return a claim that is a text to look somebody up by."""
    text = claims.get(claim)
    # Half a letter (a surrogate) is not printable either.
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_NAME or not text.isprintable():
        raise TokenRefused(f"the ID token has no usable claim {claim}")
    return text


def safe_address(address: str) -> bool:
    """Tell whether an address is one over TLS, or on this machine."""
    if not address.isascii() or not address.isprintable() or " " in address:
        return False
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)


def _bounded(answer: bytes) -> bytes:
    if len(answer) > MAX_ANSWER:
        raise ValueError("too long")
    return answer


def _header_of(token: str) -> Mapping[str, Any]:
    first = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (ValueError, RecursionError):
        raise TokenRefused("the ID token is none") from None
    if not isinstance(header, dict) or not isinstance(header.get("kid"), str | None):
        raise TokenRefused("the ID token is none")
    return header


def _usable(key: Any) -> bool:
    """Tell whether a key may have signed a token: a public one, for signatures, strong enough."""
    if not isinstance(key, dict) or key.get("use", "sig") != "sig":
        return False
    if key.get("kty") == "EC":
        # No set: what it is compared with may be anything.
        return key.get("crv") in ("P-256", "P-384")
    modulus = key.get("n")
    # Six bits a sign; without the padding.
    return key.get("kty") == "RSA" and isinstance(modulus, str) and len(modulus) * 6 >= MIN_RSA_BITS
