# SPDX-License-Identifier: EUPL-1.2
"""Encoding over HTTP: jobs ordered, followed and cancelled by whoever may, at the encoder of a connected agent."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from support.bought_token import bought_token
from support.command import run_cli
from support.encoder_agent import READER, EncoderAgent, blank
from support.office import login_of, running_office
from support.scripted_agent import ScriptedAgent
from support.service import AGENT, CityFiles, ServiceThread
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.cards.encoding.store import encoding_job
from cardservice.database import read
from cardservice.web.operations import Role
from cardsim.card import VirtualCard
from cardsim.personalise import factory_desfire

ISSUER, HELPDESK = Role.ISSUER, Role.HELPDESK
NAME = "counter"


class Office:
    """A running city with an agent that has an encoder."""

    def __init__(self, service: ServiceThread, files: CityFiles) -> None:
        self.service, self.files = service, files
        self.key, self.city_key = files.enrol(NAME), files.enrol(AGENT)
        self.visitors: dict[str, Visitor] = {}

    def encoder(self) -> EncoderAgent:
        return EncoderAgent(self.service.agents_url, NAME, self.key)

    def ask(
        self, method: str, path: str, body: Any = None, *, role: str = ISSUER, key: str | None = None
    ) -> httpx2.Response:
        if role not in self.visitors:
            self.visitors[role] = Visitor(self.service.url).sign_in(login_of(role))
        visitor = self.visitors[role]
        headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": key or uuid.uuid4().hex}
        return visitor.request(method, f"/api/v1{path}", headers=headers, json=body)

    def ordered(self, profile: str = "canteen_guest", login: str = "schmidt") -> str:
        """Order a card for somebody; it is to be made."""
        found = self.ask("GET", f"/people?text={login}").json()["people"]
        number = next(one["person"] for one in found if one["login"] == login)
        answer = self.ask("POST", f"/people/{number}/cards", {"profile": profile})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["line"]["card"])

    def order(self, kind: str, card: str | None = None, **more: Any) -> dict[str, Any]:
        answer = self.ask(
            "POST", "/encoding-jobs", {"kind": kind, "agent": NAME, "reader": READER, "card": card} | more
        )
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/encoding-jobs/{job['job']}").json()
        return found

    def until(self, job: dict[str, Any], *states: str) -> dict[str, Any]:
        """Return the job once it is in one of these states and something was said of it."""
        return wait_until(lambda: found if (found := self.job(job))["state"] in states else None)

    def troubled(self, job: dict[str, Any], trouble: str) -> dict[str, Any]:
        return wait_until(lambda: found if (found := self.job(job))["trouble"] == trouble else None)

    def state(self, card: str) -> str:
        return str(self.ask("GET", f"/cards/{card}").json()["line"]["state"])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("encoding")) as (service, files):
        made = Office(service, files)
        yield made
        for visitor in made.visitors.values():
            visitor.client.close()


def told(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def test_a_card_is_encoded_and_taps_once_it_is_active(office):
    """Ordered, laid on, produced; nothing opens before it is handed over, and then it pays at the canteen."""
    card, blank_card = office.ordered("employee"), blank()
    with office.encoder() as encoder:
        (line,) = office.ask("GET", "/encoders").json()["encoders"]
        assert line == {"agent": NAME, "reader": READER, "usable": True, "card_present": False}
        job = office.order("encode", card)
        assert (job["state"], job["trouble"], job["ended_ms"]) == ("waiting", None, None)
        encoder.lay(blank_card)
        done = office.until(job, "done")
        assert (done["step"], done["steps"], done["found"]["family"]) == (8, 8, "DESFire EV2")
    assert office.state(card) == "produced"
    assert office.ask("GET", f"/cards/{card}").json()["known_as"] == ["canteen", "door", "printer", "timeclock"]
    agent = ScriptedAgent(office.service.agents_url, AGENT, office.city_key)
    await agent.join()
    assert (await agent.tap(blank_card, "bauamt.aussen")).permit is False
    for state in ("ready_for_pickup", "active"):
        assert office.ask("POST", f"/cards/{card}/step", {"state": state}).status_code == 200
    blank_card.power_off()
    assert (await agent.tap(blank_card, "bauamt.aussen")).reason in {"granted", "no_grant"}
    await agent.socket.close()


def test_a_card_that_is_pulled_is_wanted_again_and_another_one_is_refused(office):
    """Interrupted with the step it stood at; another blank is left alone; the same one goes on to the end."""
    card, begun, other = office.ordered(), blank(), blank()
    with office.encoder() as encoder:
        job = office.order("encode", card)
        encoder.lay(begun, pull_after=40)
        stopped = office.until(job, "interrupted")
        assert (stopped["trouble"], stopped["step_name"]) == ("card_gone", "application")
        before = encoder.commands
        encoder.lay(other)
        assert office.troubled(job, "other_card")["state"] == "interrupted"
        assert encoder.commands - before < 12
        encoder.take()
        encoder.lay(begun)
        assert office.until(job, "done")["trouble"] is None
    assert office.state(card) == "produced"


async def test_a_bought_token_is_registered_and_taps(office):
    """Ordered, laid on, handed out: then it proves itself by its key at a door that asks PIV cards."""
    card, token = office.ordered("employee"), bought_token()
    with office.encoder() as encoder:
        encoder.lay(token)
        done = office.until(office.order("register", card), "done")
    assert done["found"] == {"family": None, "level": "card", "uses": ["piv"]}
    assert office.state(card) == "ready_for_pickup"
    assert office.ask("GET", f"/cards/{card}").json()["known_as"] == ["piv"]
    agent = ScriptedAgent(office.service.agents_url, AGENT, office.city_key)
    await agent.join()
    decision = await agent.tap(token, "besuchereingang.aussen")
    assert decision.reason == "card_not_issued"
    assert office.ask("POST", f"/cards/{card}/step", {"state": "active"}).status_code == 200
    decision = await agent.tap(token, "besuchereingang.aussen")
    assert (decision.level, decision.reason in {"granted", "no_grant"}) == ("card", True)
    assert (await agent.tap(bought_token(), "besuchereingang.aussen")).reason == "certificate_refused"
    await agent.socket.close()


def test_a_bare_number_is_registered_for_a_building_and_to_a_day(office):
    """Not without both; the zone has to be there; what is told of the job names no number."""
    card, uid = office.ordered("external"), bytes.fromhex("04a1b2c3d4e5f6")
    until_ms = int(time.time() * 1000) + 86_400_000
    with office.encoder() as encoder:
        encoder.lay(VirtualCard("plain", "plain", desfire=factory_desfire(uid=uid)))
        refused = office.until(office.order("register", card), "failed")
        assert refused["trouble"] == "number_alone"
        body = {"kind": "register", "agent": NAME, "reader": READER, "card": card}
        nowhere = body | {"number": {"building": "nirgends", "until_ms": until_ms}}
        assert told(office.ask("POST", "/encoding-jobs", nowhere)) == (404, "not_found")
        over = body | {"number": {"building": "rathaus", "until_ms": 1}}
        assert told(office.ask("POST", "/encoding-jobs", over)) == (409, "encoding_refused")
        job = office.order("register", card, number={"building": "rathaus", "until_ms": until_ms})
        done = office.until(job, "done")
        config = str(office.files.config)
        known = run_cli("cards", "register", office.ordered(), "--at", f"{NAME}:{READER}", "--config", config)
        assert (known.returncode, "number_alone" in known.stdout) == (65, True)
        number = ("--number", "rathaus:2099-01-31")
        again = run_cli("cards", "register", office.ordered(), "--at", f"{NAME}:{READER}", *number, "--config", config)
        assert (again.returncode, "failed: known" in again.stdout) == (65, True), again.stdout
    assert done["found"] == {"family": "DESFire EV2", "level": "uid", "uses": ["canteen", "door", "printer"]}
    line = office.ask("GET", f"/cards/{card}").json()["line"]
    assert (line["state"], line["valid_until_ms"]) == ("ready_for_pickup", until_ms)
    assert uid.hex() not in str(done)
    bad = run_cli("cards", "register", card, "--at", f"{NAME}:{READER}", "--number", "rathaus", "--config", config)
    assert (bad.returncode, "a zone, a colon and a day" in bad.stderr) == (78, True), bad


def test_an_agent_that_goes_away_does_not_end_a_job(office):
    """The encoder is away with it; when it is back and the card is laid on, the job goes on."""
    card, begun = office.ordered(), blank()
    with office.encoder() as encoder:
        job = office.order("encode", card)
        encoder.lay(begun, pull_after=30)
        office.until(job, "interrupted")
    wait_until(lambda: office.ask("GET", "/encoders").json()["encoders"] == [])
    with office.encoder() as encoder:
        encoder.lay(begun)
        office.until(job, "done")


def test_a_card_that_came_back_is_erased_and_looked_at(office):
    """Erased, it says nothing of ours any more; a probe needs no job for a card."""
    card, laid = office.ordered(), blank()
    with office.encoder() as encoder:
        encoder.lay(laid)
        office.until(office.order("encode", card), "done")
        for state, reason in (("revoked", "damaged"), ("returned", None)):
            assert office.ask("POST", f"/cards/{card}/step", {"state": state, "reason": reason}).status_code == 200
        office.until(office.order("erase", card), "done")
        assert office.state(card) == "erased"
        found = office.until(office.order("probe"), "done")["found"]
    assert (found["uses"], found["family"], found["can_be_encoded"]) == ([], "DESFire EV2", True)


def test_what_is_asked_wrongly_is_refused_and_says_why(office):
    """No such encoder, no such card, a state that does not fit, two jobs at once, the same key with other content."""
    card = office.ordered()
    body = {"kind": "encode", "agent": NAME, "reader": READER, "card": card}
    away = office.ask("POST", "/encoding-jobs", body)
    assert away.status_code in {409, 503}
    assert "usable now are: none" in away.json()["detail"]
    with office.encoder():
        assert told(office.ask("POST", "/encoding-jobs", body | {"card": str(uuid.uuid4())})) == (404, "not_found")
        assert told(office.ask("POST", "/encoding-jobs", body | {"kind": "erase"})) == (409, "encoding_refused")
        assert told(office.ask("POST", "/encoding-jobs", body | {"kind": "format"}))[0] == 422
        assert told(office.ask("POST", "/encoding-jobs", body, role=HELPDESK)) == (403, "foreign_role")
        first = office.ask("POST", "/encoding-jobs", body, key="the-same-key")
        again = office.ask("POST", "/encoding-jobs", body, key="the-same-key")
        assert first.json()["job"] == again.json()["job"]
        assert told(office.ask("POST", "/encoding-jobs", body | {"kind": "probe"}, key="the-same-key"))[0] == 409
        assert told(office.ask("POST", "/encoding-jobs", body | {"card": office.ordered()})) == (409, "encoder_busy")
        cancelled = office.ask("POST", f"/encoding-jobs/{first.json()['job']}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert told(office.ask("POST", f"/encoding-jobs/{first.json()['job']}/cancel")) == (409, "encoding_refused")
    assert office.ask("GET", f"/encoding-jobs/{uuid.uuid4()}").status_code == 404


def test_a_restart_of_the_service_goes_on_with_what_is_stored(office):
    """The job that ran says that its card is wanted again; nothing but the store knew of it."""
    card, begun = office.ordered(), blank()
    with office.encoder() as encoder:
        job = office.order("encode", card)
        encoder.lay(begun, pull_after=30)
        office.until(job, "interrupted")
    office.service.stop()
    office.service.start()
    for visitor in office.visitors.values():
        visitor.client.close()
    office.visitors.clear()
    assert office.job(job)["state"] == "interrupted"
    with office.encoder() as encoder:
        encoder.lay(begun)
        office.until(job, "done")
    with office.files.stores() as databases, read(databases.state) as connection:
        assert {row.chip for row in connection.execute(encoding_job.select())} == {None}


def test_the_command_line_orders_a_job_and_follows_it(office):
    """Another process orders; the running service finds the job and the card that lies there already."""
    card, laid = office.ordered(), blank()
    config = str(office.files.config)
    with office.encoder() as encoder:
        encoder.lay(laid)
        done = run_cli("cards", "encode", card, "--at", f"{NAME}:{READER}", "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-3].startswith("done")
        assert office.state(card) == "produced"
        probed = run_cli("cards", "probe", "--at", f"{NAME}:{READER}", "--config", config)
        assert "uses: ['canteen']" in probed.stdout
    late = run_cli("cards", "probe", "--at", f"{NAME}:{READER}", "--for", "0", "--config", config)
    assert (late.returncode, "is not over after 0 s" in late.stderr) == (65, True)
    wrong = run_cli("cards", "erase", card, "--at", f"{NAME}:other", "--config", config)
    assert (wrong.returncode, "to erase it, it is" in wrong.stderr) == (65, True)
    assert "--at 'counter'" in run_cli("cards", "probe", "--at", NAME, "--config", config).stderr
    (waiting,) = [one for one in office.ask("GET", "/encoding-jobs").json()["jobs"] if one["state"] == "waiting"]
    assert office.ask("POST", f"/encoding-jobs/{waiting['job']}/cancel").status_code == 200
