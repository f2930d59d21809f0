# SPDX-License-Identifier: EUPL-1.2
"""Whoever changes something confirms the password first: a browser is sent there and back, a program is told."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from support.service import directory_in_thread
from support.signing_in import Visitor

from cardservice.database import write
from cardservice.people.web_sessions import web_session
from city import people

FORM = "/accounts"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": "administrator", "group": "Rathaus"}]}}
        made = build(directory, tmp_path_factory.mktemp("confirming"), None, **roles)
        yield made
        made.close()


@pytest.fixture
def late(office: City) -> Iterator[Visitor]:
    """Somebody who confirmed their password long ago."""
    with Visitor(office.service.url) as visitor:
        visitor.sign_in(people.ANNA.login)
        visitor.token = visitor.form_token()
        with office.files.stores() as stores, write(stores.state) as connection:
            connection.execute(sa.update(web_session).values(confirmed_ms=0))
        yield visitor


def sent(visitor: Visitor, **headers: str) -> object:
    return visitor.post(FORM, data={"form_token": visitor.token, "name": "till-9"}, headers=headers)


def test_a_browser_is_sent_to_confirm_and_back_to_its_page(late):
    answer = sent(late, Accept="text/html", Referer=f"{late.url}/accounts?lang=de")
    assert answer.status_code == 303
    where = urlsplit(answer.headers["location"])
    assert (where.path, parse_qs(where.query)) == ("/confirm", {"next": ["/accounts?lang=de"]})


@pytest.mark.parametrize(
    "referer",
    ["https://evil.example/accounts", "//evil.example/", "nonsense", "", "{url}//evil.example", "{url}/login"],
)
def test_nobody_is_sent_back_elsewhere(late, referer):
    answer = sent(late, Accept="text/html", Referer=referer.format(url=late.url))
    assert answer.headers["location"] == "/confirm?next=%2F"


def test_a_part_of_a_page_takes_the_whole_page_along(late):
    answer = sent(late, Accept="text/html", **{"HX-Request": "true", "Referer": f"{late.url}/accounts"})
    assert (answer.status_code, answer.json()["code"]) == (403, "confirmation_needed")
    assert answer.headers["hx-redirect"] == "/confirm?next=%2Faccounts"


def test_a_program_is_told(late):
    answer = sent(late, Accept="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "confirmation_needed")
