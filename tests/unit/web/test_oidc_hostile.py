# SPDX-License-Identifier: EUPL-1.2
"""Whatever a provider says, in its description, its keys and its tokens, is believed or refused, and nothing breaks."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.oidc_provider import CLIENT, SECRET, OidcProvider, b64, rs256, running_provider

from cardservice.clock import SystemClock
from cardservice.web.oidc import Attempt, Client, Identity, Provider, ProviderAway, TokenRefused

BACK = "https://card.example/login/oidc/back"
ATTEMPT = Attempt("state", "nonce", "v" * 64)
AGAIN = Attempt("state", "nonce", "v" * 64, session=1, begun_s=0)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PARTS = (
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "token_endpoint_auth_methods_supported",
    "authorization_response_iss_parameter_supported",
)
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "amr", "at_hash", "auth_time", "preferred_username")
KEY = ("kty", "use", "alg", "kid", "n", "e", "crv", "x", "y", "key_ops", "x5c")
HEADER = ("alg", "kid", "typ", "crit", "b64", "jwk", "cty")
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def remote() -> Iterator[OidcProvider]:
    with running_provider() as provider:
        yield provider


@contextmanager
def lying(remote: OidcProvider, name: str, lie: Any) -> Iterator[None]:
    before = getattr(remote, name)
    setattr(remote, name, lie)
    try:
        yield
    finally:
        setattr(remote, name, before)


def outcome(remote: OidcProvider, attempt: Attempt = ATTEMPT) -> Identity | None:
    """Whom the provider proves; None for nobody. Anything else that is raised is a defect."""
    provider = Provider(Client(remote.issuer, CLIENT, BACK, "preferred_username", lambda: SECRET), SystemClock())
    try:
        query = {name: values[0] for name, values in parse_qs(urlsplit(provider.address(attempt)).query).items()}
        answer = parse_qs(urlsplit(remote.authorize(query)).query)
        return provider.identity_for(attempt, answer["code"][0], answer["iss"][0])
    except (ProviderAway, TokenRefused):
        return None


def test_an_honest_provider_is_believed(remote: OidcProvider) -> None:
    """The same person is the same to us, another one is not."""
    assert outcome(remote) == outcome(remote) == outcome(remote, Attempt("s", "n", "v" * 64))
    with lying(remote, "sub", "8"):
        other = outcome(remote)
    assert other is not None
    assert other != outcome(remote)


@QUICK
@given(st.dictionaries(st.sampled_from(PARTS), anything, min_size=1, max_size=3))
def test_no_description_breaks_anything(remote: OidcProvider, described: dict[str, Any]) -> None:
    with lying(remote, "description", described):
        outcome(remote)


@pytest.mark.parametrize(
    ("methods", "believed"),
    [
        (["client_secret_basic"], True),
        (["private_key_jwt", "client_secret_basic"], True),
        ("client_secret_basic", False),
        (7, False),
        (True, False),
        ({"client_secret_basic": 1}, False),
        (None, False),
        ([], False),
        ([["client_secret_basic"]], False),
        (["private_key_jwt"], False),
    ],
)
def test_how_clients_prove_themselves_is_a_list(remote: OidcProvider, methods: Any, believed: bool) -> None:
    with lying(remote, "description", {"token_endpoint_auth_methods_supported": methods}):
        assert (outcome(remote) is not None) is believed


@QUICK
@given(st.dictionaries(st.sampled_from(CLAIMS), anything, min_size=1, max_size=3), st.sampled_from([ATTEMPT, AGAIN]))
def test_no_claim_breaks_anything(remote: OidcProvider, claims: dict[str, Any], attempt: Attempt) -> None:
    """Nor is a name believed that is no text."""
    with lying(remote, "change_claims", lambda known: known.update(claims)):
        found = outcome(remote, attempt)
    if found is not None:
        assert found.name == claims.get("preferred_username", remote.login)


@QUICK
@given(st.dictionaries(st.sampled_from(KEY), anything, min_size=1, max_size=3), anything)
def test_no_key_breaks_anything(remote: OidcProvider, changes: dict[str, Any], other: Any) -> None:
    right = remote.jwks()["keys"][0]
    with lying(remote, "jwks", lambda: {"keys": [right | changes, other]}):
        outcome(remote)
    with lying(remote, "jwks", lambda: {"keys": other}):
        assert outcome(remote) is None


@QUICK
@given(st.dictionaries(st.sampled_from(HEADER), anything, min_size=1, max_size=3), anything)
def test_no_token_breaks_anything(remote: OidcProvider, header: dict[str, Any], payload: Any) -> None:
    """Other headers under the old signature, a payload that is no object under a right one."""

    def other_header(provider: OidcProvider, claims: dict[str, Any]) -> str:
        first, _, rest = rs256(provider, claims).partition(".")
        del first
        return f"{b64(json.dumps({'alg': 'RS256', 'kid': provider.kid} | header).encode())}.{rest}"

    def other_payload(provider: OidcProvider, _: dict[str, Any]) -> str:
        return rs256(provider, payload)

    lies: list[Callable[[OidcProvider, dict[str, Any]], str]] = [other_header, other_payload]
    for lie in lies:
        with lying(remote, "sign", lie):
            outcome(remote)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "\N{SNOWMAN}.x.y", 7, None, ["x"], "x" * 20_000, "W10.W10.W10"]
)
def test_what_is_no_token_proves_nobody(remote: OidcProvider, token: Any) -> None:
    with lying(remote, "sign", lambda *_: token):
        assert outcome(remote) is None
