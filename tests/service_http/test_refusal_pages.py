# SPDX-License-Identifier: EUPL-1.2
"""Who navigates with a browser gets a page when the service refuses; programs get the problem itself."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from support.office import login_of, running_office
from support.signing_in import Visitor

from cardservice.web.pages import HEADERS, Pages
from cardservice.web.problems import MEDIA_TYPE
from cardservice.web.refusals import RefusalPages

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "de"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_office(tmp_path_factory.mktemp("office")) as (service, _):
        yield service.url


@pytest.mark.parametrize(
    ("path", "language", "title"), [("/gibt-es-nicht", "de", "Hier ist nichts"), ("/nothing", "en", "There is nothing")]
)
def test_an_unknown_address_is_a_page_with_a_way_on(url: str, path: str, language: str, title: str) -> None:
    """In the reader's language, under the same policy as every page, with the status that it is."""
    with Visitor(url) as visitor:
        answered = visitor.get(path, headers=BROWSER | {"Accept-Language": language})
    assert (answered.status_code, answered.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert title in answered.text
    assert 'href="/"' in answered.text
    assert {name: answered.headers[name] for name in HEADERS} == dict(HEADERS)


def test_somebody_without_the_role_is_told_so(url: str) -> None:
    with Visitor(url).sign_in(login_of("canteen")) as visitor:
        answered = visitor.get("/audit", headers=BROWSER)
    assert answered.status_code == 403
    assert "Das dürfen Sie nicht" in answered.text


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/nothing", {}),
        ("/nothing", {"Accept": "application/json"}),
        ("/nothing", BROWSER | {"HX-Request": "true"}),
        ("/api/v1/nothing", BROWSER),
    ],
)
def test_programs_get_the_problem(url: str, path: str, headers: dict[str, str]) -> None:
    with Visitor(url) as visitor:
        answered = visitor.get(path, headers=headers)
    assert (answered.headers["content-type"], answered.json()["code"]) == (MEDIA_TYPE, "not_found")


def test_what_the_request_held_is_shown_as_text(url: str) -> None:
    """A page that repeats what was asked for must not run it."""
    with Visitor(url).sign_in(login_of("helpdesk")) as visitor:
        answered = visitor.get("/people/<script>alert(1)</script>", headers=BROWSER)
    assert answered.status_code in {404, 422}
    assert "<script>alert" not in answered.text


def test_an_answer_in_pieces_and_an_unexpected_error_are_pages_too() -> None:
    """Whatever sends the problem, and however it is cut."""

    async def broken(_scope: object, _receive: object, send: object) -> None:
        assert callable(send)
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"1"), (b"retry-after", b"7")]
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"code": "internal", ', "more_body": True})
        await send({"type": "http.response.body", "body": b'"detail": "the service failed", "faults": ["x"]}'})

    answered = TestClient(RefusalPages(broken, Pages())).get("/", headers=BROWSER)
    assert (answered.status_code, answered.headers["retry-after"]) == (500, "7")
    assert "Hier ist etwas schiefgegangen" in answered.text
    assert "the service failed" in answered.text
