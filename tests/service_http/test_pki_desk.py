# SPDX-License-Identifier: EUPL-1.2
"""Renewing certificates over REST and by page: issued, retired, brought to the city's own PKI and taken from it."""

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families
from support.command import run_cli
from support.pki import key_for, proven, rsa_key
from support.pki_office import ISSUER, STRANGER, Office, pem_of, running_pki_office
from support.waiting import wait_until

from cardservice.cards.pki.rules import Slot


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_pki_office(tmp_path_factory.mktemp("pki-desk")) as running:
        yield running


def test_a_renewed_certificate_leaves_the_older_one_good_until_the_card_has_the_new_one(office: Office) -> None:
    """Listed, renewed and not listed any more; retired it is revoked as superseded, once however often it is asked."""
    card = office.card()
    issued = office.issue(card, Slot.CARD)
    assert (issued.status_code, issued.json()["waits"]) == (201, False)
    first = x509.load_pem_x509_certificate(issued.json()["certificate"].encode())
    assert card in {one["card"] for one in office.ask("GET", "certificates/ending").json()["certificates"]}
    again = office.issue(card, Slot.CARD).json()["certificate"]
    assert x509.load_pem_x509_certificate(again.encode()).serial_number != first.serial_number
    assert office.views(card) == [("9E", "good", None)] * 2
    listed = [one["card"] for one in office.ask("GET", "certificates/ending").json()["certificates"]]
    assert listed.count(card) == 1
    key = uuid4().hex
    for _ in range(2):
        retired = office.ask("POST", f"cards/{card}/certificates/9E/retire", key=key)
        assert (retired.status_code, retired.json()) == (200, {"retired": 1})
    assert office.views(card) == [("9E", "good", None), ("9E", "revoked", "superseded")]
    assert office.ask("POST", f"cards/{card}/certificates/9E/retire").json() == {"retired": 0}


def test_what_ends_is_counted_without_what_was_renewed(office: Office) -> None:
    """The figure for alarms counts each slot of a card once; no label names anybody."""
    card = office.card()
    for _ in range(2):
        assert office.issue(card, Slot.SIGNATURE).status_code == 201
    publisher = office.city.service.service._pki.publisher
    publisher.look()
    families = {one.name: one for one in text_string_to_metric_families(office.city.service.get("/metrics")[1])}
    counted = {one.labels["slot"]: one.value for one in families["cardservice_card_certificates_ending"].samples}
    assert counted["9C"] == 1
    overdue = {one.labels["slot"]: one.value for one in families["cardservice_card_certificates_overdue"].samples}
    assert overdue["9C"] == 0
    (waiting,) = families["cardservice_certificate_requests_waiting"].samples
    assert waiting.labels == {}


def test_a_request_is_made_once_and_refused_with_its_reason(office: Office) -> None:
    """The same key answers the same certificate; what is none, or of nobody, is refused in one sentence."""
    card, key = office.card(), uuid4().hex
    body = {"slot": "9E", "request": pem_of(proven(key_for(Slot.CARD)).der)}
    answers = [office.ask("POST", f"cards/{card}/certificates", json=body, key=key) for _ in range(2)]
    assert answers[0].status_code == 201
    assert answers[0].json() == answers[1].json()
    assert office.views(card) == [("9E", "good", None)]
    for wrong, (code, said) in {
        "no request": ("conflict", "not a certification request"),
        pem_of(proven(rsa_key()).der): ("conflict", "wanted is P-256"),
    }.items():
        refused = office.ask("POST", f"cards/{card}/certificates", json={"slot": "9E", "request": wrong})
        assert (refused.status_code, refused.json()["code"], said in refused.json()["detail"]) == (409, code, True)
    assert office.ask("POST", f"cards/{card}/certificates", json={"slot": "9B", "request": "x"}).status_code == 422
    assert office.issue("0" * 32, Slot.CARD).status_code == 404


def test_a_reach_that_ends_elsewhere_sees_and_changes_nothing(office: Office) -> None:
    """What waits and ends, issuing and retiring: all of it stops at the caller's organisations."""
    card = office.card()
    assert office.issue(card, Slot.CARD).status_code == 201
    for path, name in (("certificates/ending", "certificates"), ("certificates/requests", "requests")):
        assert office.ask_as(STRANGER, "GET", path).json() == {name: [], "more": False}
    body = {"slot": "9E", "request": pem_of(proven(key_for(Slot.CARD)).der)}
    assert office.ask_as(STRANGER, "POST", f"cards/{card}/certificates", json=body).status_code == 404
    assert office.ask_as(STRANGER, "POST", f"cards/{card}/certificates/9E/retire").status_code == 404
    assert len(office.views(card)) == 1


def test_the_citys_pki_is_asked_and_its_answer_taken(office: Office) -> None:
    """Over REST: the request waits, an answer to another key is not taken, the right one is, once."""
    card = office.card()
    asked = office.issue(card, Slot.LOGON)
    assert asked.json() == {"certificate": None, "waits": True}
    (waiting,) = [one for one in office.ask("GET", "certificates/requests").json()["requests"] if one["card"] == card]
    assert waiting["slot"] == "9A"
    made = office.answer_to(waiting["request"]).decode()
    assert office.ask_as(STRANGER, "POST", "certificates/answers", json={"certificate": made}).status_code == 404
    other = office.answer_to(pem_of(proven(rsa_key(3072)).der)).decode()
    assert office.ask("POST", "certificates/answers", json={"certificate": other}).status_code == 404
    assert office.ask("POST", "certificates/answers", json={"certificate": "nonsense"}).json()["code"] == "conflict"
    key = uuid4().hex
    for _ in range(2):
        taken = office.ask("POST", "certificates/answers", json={"certificate": made}, key=key)
        assert (taken.status_code, taken.json()) == (201, {"card": card})
    assert office.views(card) == [("9A", "good", None)]
    assert card not in {one["card"] for one in office.ask("GET", "certificates/requests").json()["requests"]}


def test_the_pages_show_it_and_take_an_answer(office: Office) -> None:
    """Request saved from the page, answer sent to it; what is not taken is said with its reason."""
    card = office.card()
    assert office.issue(card, Slot.LOGON).json()["waits"]
    visitor = office.city.visitor(ISSUER)
    page = visitor.get("/certificates")
    assert page.status_code == 200
    assert "card-1" in page.text
    (path,) = [
        one
        for one in re.findall(r'href="(/certificates/requests/[0-9a-f]{64}\.csr)"', page.text)
        if f"/certificates/cards/{card}" in page.text.partition(one)[0].rpartition("<tr>")[2]
    ]
    saved = visitor.get(path)
    assert saved.headers["content-type"] == "application/pkcs10"

    def send(content: bytes) -> httpx2.Response:
        fields = {"form_token": visitor.form_token(), "key": uuid4().hex}
        return visitor.post("/certificates/answers", data=fields, files={"file": ("one.pem", content)})

    refused = send(b"nonsense")
    assert (refused.status_code, "not an X.509 certificate" in refused.text) == (200, True)
    taken = send(office.answer_to(saved.text))
    assert taken.headers["location"] == f"/certificates?taken_for={card}"
    assert visitor.get(path).status_code == 404
    shown = visitor.get(f"/certificates/cards/{card}")
    assert (shown.status_code, "altSecurityIdentities" in shown.text) == (200, True)
    assert office.views(card) == [("9A", "good", None)]


def test_nobody_renews_the_certificates_of_their_own_card(office: Office) -> None:
    """An issuer asks a colleague."""
    card = office.card(ISSUER)
    body = {"slot": "9E", "request": pem_of(proven(key_for(Slot.CARD)).der)}
    refused = office.ask_as(ISSUER, "POST", f"cards/{card}/certificates", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "own_card")
    assert office.views(card) == []


def test_authorities_are_told_with_their_lists(office: Office) -> None:
    """Number and next update of the list; the OCSP delegate stands there once somebody asked."""
    publisher = office.city.service.service._pki.publisher
    wait_until(lambda: publisher.current("card-1") is not None)
    (one,) = office.ask("GET", "certificates/authorities").json()["authorities"]
    assert (one["authority"], one["kind"], one["signs"], one["in_token"]) == ("card-1", "card", True, False)
    assert one["list_next_ms"] > one["list_made_ms"]
    assert one["list_number"] == publisher.current("card-1").published.number


def test_the_command_retires_what_was_renewed(office: Office) -> None:
    """As REST does; a slot that is none is refused with those that are."""
    card = office.card()
    for _ in range(2):
        assert office.issue(card, Slot.CARD).status_code == 201
    config = ("--config", str(office.city.files.config))
    done = run_cli("cards", "pki", "retire", card, "9E", *config)
    assert (done.returncode, done.stdout) == (0, f"revoked 1 older certificates in slot 9E of card {card}\n")
    assert office.views(card) == [("9E", "good", None), ("9E", "revoked", "superseded")]
    wrong = run_cli("cards", "pki", "retire", card, "9B", *config)
    assert (wrong.returncode, "there are 9A, 9C, 9D, 9E" in wrong.stderr) == (65, True)
