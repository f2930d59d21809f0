# SPDX-License-Identifier: EUPL-1.2
"""Certificates of a running service: lists and OCSP for everybody, commands, REST, and doors that need none of it."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from prometheus_client.parser import text_string_to_metric_families
from service_http.conftest import City, build
from support.command import run_cli
from support.pki import PASSPHRASE, URL, key_for, proven, rsa_key
from support.service import directory_in_thread
from support.waiting import wait_until

from cardservice.cards.pki.rules import Slot
from cardservice.cards.service import NewCard, register
from cardservice.database import read, write
from cardservice.people.store import person

TOKEN = "cards-canary-3c11"


@pytest.fixture(scope="module")
def pki_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city with an authority for cards, made by the command before the service starts."""
    folder = tmp_path_factory.mktemp("pki-city")
    for name, content in (("pki.secret", PASSPHRASE.decode()), ("desk.token", TOKEN)):
        (folder / name).write_text(content + "\n")
        (folder / name).chmod(0o600)
    section = {
        "store": f"{folder}/pki.json",
        "passphrase_file": f"{folder}/pki.secret",
        "url": URL,
        "logon_rsa_bits": 2048,
    }
    callers = [{"name": "desk", "token_file": f"{folder}/desk.token", "uses": ["cards"]}]
    with directory_in_thread() as directory:
        # The first start fills the stores, so that the commands find them; authorities are loaded at the next one.
        city = build(directory, folder / "city", None, **{"": {"callers": callers}})
        city.service.stop()
        city.files.configure({"pki": section})
        done = cli(city, "init", "card", "--out", str(folder / "card-1.pem"))
        assert (done[0], "made authority card-1" in done[1]) == (0, True), done
        city.service.start()
        yield city
        city.close()


def cli(city: City, *words: str) -> tuple[int, str]:
    done = run_cli("cards", "pki", *words, "--config", str(city.files.config))
    return done.returncode, done.stdout + done.stderr


def active_card(city: City) -> str:
    """Return a new card in use, of somebody whom the directory names."""
    with city.files.stores() as databases:
        with read(databases.state) as connection:
            holder = connection.execute(sa.select(person).where(person.c.login == "krueger")).one()
        return register(databases.state, [NewCard(holder.organisation_id, holder.id, ())])[0]


def issued(city: City, folder: Path, slot: Slot = Slot.CARD) -> tuple[str, x509.Certificate]:
    reference = active_card(city)
    request, out = folder / "one.csr", folder / "one.pem"
    request.write_bytes(proven(key_for(slot)).der)
    code, said = cli(city, "issue", reference, slot.value, str(request), "--out", str(out))
    assert code == 0, said
    return reference, x509.load_pem_x509_certificate(out.read_bytes())


def get(city: City, path: str, **headers: str) -> httpx2.Response:
    return httpx2.get(city.service.url + path, headers={name.replace("_", "-"): text for name, text in headers.items()})


def authority(city: City) -> x509.Certificate:
    return x509.load_der_x509_certificate(get(city, "/pki/card-1.cer").content)


def question(city: City, certificate: x509.Certificate) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, authority(city), hashes.SHA256())
    return builder.build().public_bytes(Encoding.DER)


def post(city: City, data: bytes, kind: str = "application/ocsp-request") -> httpx2.Response:
    return httpx2.post(f"{city.service.url}/pki/ocsp", content=data, headers={"content-type": kind})


def status(city: City, certificate: x509.Certificate) -> ocsp.OCSPCertStatus:
    return ocsp.load_der_ocsp_response(post(city, question(city, certificate)).content).certificate_status


def revoked_serials(city: City) -> set[int]:
    return {one.serial_number for one in x509.load_der_x509_crl(get(city, "/pki/card-1.crl").content)}


def test_lists_are_for_everybody_and_for_caches(pki_city: City) -> None:
    """No proof is asked for; the bytes have their type, a tag, a short life in caches, and one true issuer."""
    answer = get(pki_city, "/pki/card-1.crl")
    revocations = x509.load_der_x509_crl(answer.content)
    assert revocations.is_signature_valid(authority(pki_city).public_key())
    point = revocations.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert (point.critical, point.value.full_name[0].value) == (True, f"{URL}/pki/card-1.crl")
    assert answer.headers["content-type"] == "application/pkix-crl"
    assert answer.headers["cache-control"] == "public, max-age=600"
    again = get(pki_city, "/pki/card-1.crl", if_none_match=answer.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert get(pki_city, "/pki/card-1.cer").headers["content-type"] == "application/pkix-cert"
    for missing in ("/pki/card-2.crl", "/pki/logon-1.cer", "/pki/..%2fkeys.crl"):
        assert get(pki_city, missing).status_code == 404


def test_a_revoked_card_is_revoked_for_everybody_within_seconds(pki_city: City, tmp_path: Path) -> None:
    """By one command about the card: OCSP and the list say so, and for how long others may not know it."""
    reference, made = issued(pki_city, tmp_path)
    wait_until(lambda: status(pki_city, made) is ocsp.OCSPCertStatus.GOOD)
    done = run_cli("cards", "set-state", reference, "revoked", "stolen", "--config", str(pki_city.files.config))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: status(pki_city, made) is ocsp.OCSPCertStatus.REVOKED)
    wait_until(lambda: made.serial_number in revoked_serials(pki_city))
    code, said = cli(pki_city, "list", reference)
    assert code == 0
    assert "revoked" in said
    assert "others may believe it until" in said
    answer = get(pki_city, f"/api/v1/cards/{reference}/certificates", authorization=f"Bearer {TOKEN}")
    (view,) = answer.json()["certificates"]
    assert (view["state"], view["reason"], view["slot"]) == ("revoked", "keyCompromise", "9E")
    assert view["window"]["list_ms"] > view["changed_ms"]
    assert (view["list_url"], view["ocsp_url"]) == (f"{URL}/pki/card-1.crl", f"{URL}/pki/ocsp")


def test_questions_by_path_may_be_kept_and_those_by_body_are_not(pki_city: City, tmp_path: Path) -> None:
    _, made = issued(pki_city, tmp_path)
    wait_until(lambda: status(pki_city, made) is ocsp.OCSPCertStatus.GOOD)
    asked = base64.b64encode(question(pki_city, made)).decode()
    answer = get(pki_city, "/pki/ocsp/" + asked.replace("+", "%2B").replace("=", "%3D"))
    assert ocsp.load_der_ocsp_response(answer.content).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.headers["content-type"] == "application/ocsp-response"
    assert "must-revalidate" in answer.headers["cache-control"]
    assert 0 < int(answer.headers["cache-control"].partition("max-age=")[2].partition(",")[0]) <= 3600
    assert post(pki_city, question(pki_city, made)).headers["cache-control"] == "no-store"


def test_hostile_questions_are_refused(pki_city: City) -> None:
    """Garbage, too long, of another type: an OCSP error or a problem, never a failure inside."""
    for data in (b"", b"\x30\x00", b"x" * 5_000, b"\x30\x80" * 900):
        answer = post(pki_city, data)
        assert answer.status_code == 200
        malformed = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
        assert ocsp.load_der_ocsp_response(answer.content).response_status is malformed
    assert post(pki_city, b"x" * 70_000).status_code in {200, 413}
    assert post(pki_city, b"\x30\x00", "text/plain").status_code == 415
    for path in ("/pki/ocsp/", "/pki/ocsp/%00", "/pki/ocsp/" + "A" * 3_000, "/pki/ocsp/a/b/../c"):
        assert get(pki_city, path).status_code in {200, 404}


def test_the_figures_are_shown(pki_city: City) -> None:
    """Age and rest of the list, days of the authority, certificates to be renewed, answers by outcome."""
    post(pki_city, b"")
    families = {one.name: one for one in text_string_to_metric_families(pki_city.service.get("/metrics")[1])}
    for name in ("crl_age_seconds", "crl_left_seconds", "authority_days_left"):
        (sample,) = families[f"cardservice_{name}"].samples
        assert sample.labels == {"authority": "card-1"}
        assert sample.value >= 0
    assert {one.labels["slot"] for one in families["cardservice_card_certificates_ending"].samples} == set(Slot)
    outcomes = {one.labels["outcome"] for one in families["cardservice_ocsp_answers"].samples if one.value}
    assert "malformed" in outcomes


def test_no_logon_authority_is_made_beside_the_service(pki_city: City) -> None:
    """The settings leave logons to the city's PKI; the command says what else there is."""
    code, said = cli(pki_city, "init", "logon")
    assert code != 0
    assert "keeps its key in a process of its own" in said


def test_a_logon_request_waits_for_the_citys_pki(pki_city: City, tmp_path: Path) -> None:
    """`issue` keeps it, `csr export` writes it, `csr import` takes nothing that the city's PKI has not signed."""
    with pki_city.files.stores() as databases, write(databases.state) as connection:
        connection.execute(sa.text("UPDATE person SET upn = login || '@stadt.example' WHERE login IS NOT NULL"))
    request = tmp_path / "logon.csr"
    request.write_bytes(proven(rsa_key()).der)
    code, said = cli(pki_city, "issue", active_card(pki_city), "9A", str(request))
    assert (code, "waits for the city's PKI" in said) == (0, True), said
    code, said = cli(pki_city, "csr", "export", str(tmp_path))
    assert (code, said) == (0, "wrote 1 requests\n")
    (written,) = [one for one in tmp_path.glob("*.csr") if one != request]
    assert x509.load_pem_x509_csr(written.read_bytes()).public_key() == rsa_key().public_key()
    code, said = cli(pki_city, "csr", "import", str(written))
    assert (code, "not an X.509 certificate" in said) == (65, True)


def test_a_list_on_demand_and_what_ends_soon(pki_city: City, tmp_path: Path) -> None:
    issued(pki_city, tmp_path)
    code, said = cli(pki_city, "crl", "now")
    assert (code, said.startswith("card-1: list ")) == (0, True), said
    code, said = cli(pki_city, "ending", "--json")
    assert (code, json.loads(said)) == (0, [])
    code, said = cli(pki_city, "ending", "--days", "3650", "--json")
    assert {one["slot"] for one in json.loads(said)} == {"9E"}
    code, said = cli(pki_city, "list", "--json")
    assert [one["authority"] for one in json.loads(said)] == ["card-1"]


async def test_an_expired_list_shuts_no_door(pki_city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody makes lists any more and the last one is over: that is said, and taps are answered as before."""
    publisher = pki_city.service.service._pki.publisher
    wait_until(lambda: publisher.current("card-1") is not None)
    monkeypatch.setattr(publisher, "look", lambda: None)
    out = publisher.current("card-1")
    over = replace(out, published=replace(out.published, next_ms=out.published.made_ms))
    monkeypatch.setitem(publisher._out, "card-1", over)
    health = pki_city.service.health()
    assert health["status"] == "degraded"
    assert any("revocation list of card-1 is over" in one for one in health["degraded"])
    async with pki_city.agent() as agent:
        for name, point in (("ute", "besuchereingang.aussen"), ("anna", "bauamt.aussen")):
            decision = await agent.tap(pki_city.card(name), point)
            assert (decision.permit, decision.reason) == (True, "granted")
