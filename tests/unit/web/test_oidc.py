# SPDX-License-Identifier: EUPL-1.2
"""What is believed of a provider: its keys over time, its description, its addresses."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.oidc_provider import CLIENT, SECRET, OidcProvider, rs256, running_provider

from cardservice.web.oidc import (
    ASK_AGAIN_S,
    KEPT_S,
    MAX_ANSWER,
    Attempt,
    Client,
    Provider,
    ProviderAway,
    TokenRefused,
    safe_address,
)

BACK = "https://card.example/login/oidc/back"
ATTEMPT = Attempt("state", "nonce", "v" * 64)


class Clock:
    """The wall clock as it is, the other one as a test sets it."""

    def __init__(self) -> None:
        self.monotonic_s = 0

    def now_ms(self) -> int:
        return int(time.time() * 1_000)

    def monotonic_ns(self) -> int:
        return self.monotonic_s * 1_000_000_000


@pytest.fixture
def remote() -> Iterator[OidcProvider]:
    with running_provider() as provider:
        yield provider


def asked_of(remote: OidcProvider, clock: Clock) -> Provider:
    return Provider(Client(remote.issuer, CLIENT, BACK, "preferred_username", lambda: SECRET), clock)


def sign_in(provider: Provider, remote: OidcProvider) -> str:
    query = {name: values[0] for name, values in parse_qs(urlsplit(provider.address(ATTEMPT)).query).items()}
    answer = parse_qs(urlsplit(remote.authorize(query)).query)
    return provider.identity_for(ATTEMPT, answer["code"][0], answer["iss"][0]).name


def test_keys_are_fetched_once_and_again_when_they_change(remote):
    """A new key counts as soon as it may be asked for, an old one no longer; nobody makes us ask without end."""
    clock = Clock()
    provider = asked_of(remote, clock)
    assert [sign_in(provider, remote) for _ in range(3)] == ["schmidt"] * 3
    assert remote.asked.count("/jwks") == 1
    old_key, old_kid = remote.key, remote.kid
    remote.rotate()
    with pytest.raises(TokenRefused):
        sign_in(provider, remote)
    assert remote.asked.count("/jwks") == 1
    clock.monotonic_s += ASK_AGAIN_S + 1
    assert sign_in(provider, remote) == "schmidt"
    assert remote.asked.count("/jwks") == 2
    new = remote.key, remote.kid

    def with_the_old_key(_: OidcProvider, claims: dict[str, Any]) -> str:
        remote.key, remote.kid = old_key, old_kid
        try:
            return rs256(remote, claims)
        finally:
            remote.key, remote.kid = new

    remote.sign = with_the_old_key
    clock.monotonic_s += KEPT_S + 1
    with pytest.raises(TokenRefused):
        sign_in(provider, remote)


@pytest.mark.parametrize(
    "lie",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://192.0.2.1/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"filler": "x" * MAX_ANSWER},
    ],
)
def test_a_description_that_cannot_be_is_not_believed(remote, lie: dict[str, Any]):
    """Another issuer, endpoints without TLS or of another kind, a document without end."""
    remote.description = lie
    with pytest.raises(ProviderAway):
        asked_of(remote, Clock()).address(ATTEMPT)


def test_it_is_not_followed_elsewhere_and_nobody_waits_for_it(remote):
    """A redirect is no answer; a provider that fails or is not there is away."""
    remote.description = {"jwks_uri": f"{remote.issuer}/elsewhere"}
    provider = asked_of(remote, Clock())
    with pytest.raises(ProviderAway):
        sign_in(provider, remote)
    remote.broken = True
    with pytest.raises(ProviderAway):
        asked_of(remote, Clock()).address(ATTEMPT)
    nobody = Client("http://127.0.0.1:1", CLIENT, BACK, "preferred_username", lambda: SECRET)
    with pytest.raises(ProviderAway):
        Provider(nobody, Clock()).address(ATTEMPT)


def test_keys_that_are_too_weak_or_not_for_signatures_prove_nothing(remote):
    """RSA of 1024 bits, a shared secret among the keys, a key for encryption: none of them counts."""
    jwks = remote.jwks

    def changed(**changes: Any) -> Any:
        return lambda: {"keys": [jwks()["keys"][0] | changes]}

    for changes in ({"use": "enc"}, {"kty": "oct", "k": "AAAA"}, {"n": "AQAB" * 40}, {"kid": "another"}, {"n": 7}):
        remote.jwks = changed(**changes)
        with pytest.raises(TokenRefused):
            sign_in(asked_of(remote, Clock()), remote)
    remote.jwks = jwks
    assert sign_in(asked_of(remote, Clock()), remote) == "schmidt"


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("https://id.example/a?b=c", True),
        ("http://127.0.0.1:8080/", True),
        ("http://id.example/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("https://user@id.example/", False),
        ("https:///path", False),
        ("https://id.example/#part", False),
        ("https://id.example/ x", False),
        ("https://[::1", False),
        ("ftp://127.0.0.1/", False),
    ],
)
def test_addresses_are_over_tls_or_on_this_machine(address: str, safe: bool):
    """Nothing secret goes over the network in the open, nor where an address hides its host."""
    assert safe_address(address) is safe
