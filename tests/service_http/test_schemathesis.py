# SPDX-License-Identifier: EUPL-1.2
"""The whole API asked by Schemathesis, which reads `/openapi.json`: as nobody, as systems, as people.

In `./test` as nobody and as whoever may do everything; `make acceptance` asks as each scope and each role, and longer.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from support.office import EVERYTHING, login_of, running_office, token_of
from support.routes import routes_of
from support.service import ServiceThread
from support.signing_in import Visitor

from cardservice.web.operations import OPERATIONS, PUBLIC, Role, Scope

FULL = os.environ.get("FAULTS_FULL") == "1"
EXAMPLES = 60 if FULL else 2
LIMIT_S = 1_200 if FULL else 240
# Most of the time goes into "coverage".
PHASES = "examples,coverage,fuzzing" if FULL else "examples,fuzzing"
# They never end.
STREAM = [word for path in ("/api/v1/live", "/live/rows", "/doors/changes") for word in ("--exclude-path", path)]
# They end the session that asks.
SESSION = [word for path in ("/login", "/logout", "/confirm") for word in ("--exclude-path", path)]
# 503 and 504 say that something else does not answer; they are documented where they may come.
CONFIG = "[checks]\nnot_a_server_error.expected-statuses = ['2xx', '3xx', '4xx', 503, 504]\n"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
)
pytestmark = pytest.mark.timeout(LIMIT_S + 30)
SCOPES = [*Scope, EVERYTHING] if FULL else [EVERYTHING]
ROLES = [*Role, EVERYTHING] if FULL else [EVERYTHING]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with running_office(tmp_path_factory.mktemp("office")) as (service, _):
        # The first who asks waits for the description to be made; Schemathesis waits ten seconds, whatever else runs.
        httpx2.get(f"{service.url}/openapi.json", timeout=60).raise_for_status()
        yield service


def ask(service: ServiceThread, folder: Path, headers: dict[str, str], *options: str, checks: tuple[str, ...]) -> int:
    """Run Schemathesis and return how many requests it sent; whatever it finds fails the test."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)),
        *("run", f"{service.url}/openapi.json", "--checks", ",".join(checks), "--phases", PHASES),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--generation-database", "none", "--no-color"),
        *("--continue-on-failure", *STREAM, *options),
        *(word for name, value in headers.items() for word in ("--header", f"{name}: {value}")),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    sent = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert sent is not None, done.stdout[-5_000:]
    assert sent[1] == sent[2]
    return int(sent[1])


def test_nobody_is_answered_as_the_description_says(service, tmp_path):
    """Without any proof of who asks: no failure inside, nothing undocumented, no authentication left out."""
    assert ask(service, tmp_path, {}, checks=(*CHECKS, "ignored_auth")) > 50


@pytest.mark.parametrize("scope", SCOPES)
def test_a_system_is_answered_as_the_description_says(service, tmp_path, scope):
    """With the token of an account: no failure inside, nothing undocumented, no wrong token taken for a right one."""
    own = ["--include-by", "/x-scope != null"]
    headers = {"Authorization": f"Bearer {token_of(scope)}"}
    assert ask(service, tmp_path, headers, *own, *SESSION, checks=(*CHECKS, "ignored_auth")) > 100


@pytest.mark.parametrize("role", ROLES)
def test_a_person_is_answered_as_the_description_says(service, tmp_path, role):
    """In a session, which counts whatever token is sent beside it: no failure inside, nothing undocumented."""
    with Visitor(service.url).sign_in(login_of(role)) as visitor:
        headers = visitor.headers() | {"X-Form-Token": visitor.form_token()}
        assert ask(service, tmp_path, headers, *SESSION, checks=CHECKS) > 100


def test_the_description_says_who_may_ask(service):
    """Each route that names an operation says its scope and roles; no other one asks for proof; nothing is left out."""
    described = httpx2.get(f"{service.url}/openapi.json").json()["paths"]
    for route in routes_of(service._server.config.app.app.app):
        said = described.get(route.path, {}).get(route.method.lower())
        if said is None:
            assert route.path in PUBLIC | {"/static"} or not route.operations, route
            continue
        if not route.operations:
            assert "x-scope" not in said
            continue
        operation = OPERATIONS[route.operations[0]]
        assert said["x-scope"] == operation.scope
        assert said["x-roles"] == sorted(operation.roles)
        assert said["security"], route
        assert {"401", "403"} <= said["responses"].keys()


def test_a_wrong_method_is_told_the_right_ones(service):
    """`Allow` names every method of the path, whichever route the first one is of (RFC 9110, 15.5.6)."""
    for path, methods in (("/api/v1/zones/bauamt/lockdown", "DELETE, PUT"), ("/api/v1/canteen/top-ups", "POST")):
        refused = httpx2.patch(service.url + path)
        assert (refused.status_code, refused.headers["allow"]) == (405, methods)
        assert refused.json()["code"] == "method_not_allowed"
