# SPDX-License-Identifier: EUPL-1.2
"""Encoding as it is deployed: the service, an agent in its own process, a real pcscd, and cards that are pulled."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agent_process import AgentProcess
from support.office import login_of, running_office
from support.service import CityFiles, ServiceThread
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.agents.store import agent_event
from cardservice.web.operations import Role
from rig.control import RigClient
from rig.process import RigProcess

pytestmark = pytest.mark.pcscd

HERE = Path(__file__).parent
READER, NAME = "Door 1 00 00", "counter"
# Of about forty commands: in the middle of every step.
PULLED_AT = (1, 9, 16, 21, 27, 33)


class Counter:
    """An issuer in front of the encoder."""

    def __init__(self, service: ServiceThread, files: CityFiles, hand: RigClient) -> None:
        self.visitor = Visitor(service.url).sign_in(login_of(Role.ISSUER))
        self.service, self.files, self.hand = service, files, hand

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"X-Form-Token": self.visitor.form_token(), "Idempotency-Key": uuid.uuid4().hex}
        answer = self.visitor.request(method, f"/api/v1{path}", headers=headers, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def ordered(self) -> str:
        found = self.ask("GET", "/people?text=schmidt")["people"]
        number = next(one["person"] for one in found if one["login"] == "schmidt")
        return str(self.ask("POST", f"/people/{number}/cards", {"profile": "canteen_guest"})["line"]["card"])

    def order(self, kind: str, card: str | None = None) -> str:
        body = {"kind": kind, "agent": NAME, "reader": READER, "card": card}
        return str(self.ask("POST", "/encoding-jobs", body)["job"])

    def until(self, job: str, *states: str) -> Any:
        return wait_until(
            lambda: found if (found := self.ask("GET", f"/encoding-jobs/{job}"))["state"] in states else None
        )

    def state(self, card: str) -> str:
        return str(self.ask("GET", f"/cards/{card}")["line"]["state"])

    def pull(self, job: str, blank: str, at: int) -> Any:
        """Lay a card on that is taken away in the middle; return what the job says then."""
        self.hand.insert_pulled(blank, READER, at, executed=at % 2 == 0)
        wait_until(lambda: self.hand.state()["readers"][READER]["card"] is None)
        self.emptied()
        return self.until(job, "waiting", "interrupted")

    def emptied(self) -> None:
        """Wait until the centre knows that nothing lies there."""
        wait_until(lambda: not self.ask("GET", "/encoders")["encoders"][0]["card_present"])

    def lay(self, job: str, blank: str) -> Any:
        """Lay a card on until its job is over, and take it away."""
        self.hand.insert(blank, READER)
        done = self.until(job, "done", "failed")
        self.hand.eject(READER)
        self.emptied()
        return done


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    folder = tmp_path_factory.mktemp("counter")
    run_dir = Path("/tmp") / f"encoder-{os.getpid()}"
    rig = RigProcess(
        run_dir, deck=Path(os.devnull), loader="encoder_deck:load_deck", arguments=["--doors", "1"], python_path=[HERE]
    )
    with rig, running_office(folder) as (service, files), rig.client() as hand:
        changes: dict[str, Any] = {"encoder_readers": [READER]}
        with AgentProcess(files, NAME, service.agents_url, rig.pcsc_socket or "", changes):
            made = Counter(service, files, hand)
            wait_until(lambda: [one for one in made.ask("GET", "/encoders")["encoders"] if one["usable"]])
            yield made
            made.visitor.client.close()


def test_a_card_that_is_pulled_time_and_again_is_encoded_in_the_end(counter):
    """One blank, pulled in every step of its encoding: in production all the time, and produced at the end."""
    card = counter.ordered()
    job = counter.order("encode", card)
    for at in PULLED_AT:
        stopped = counter.pull(job, "blank 0", at)
        assert stopped["trouble"] == "card_gone", at
        assert stopped["state"] in {"waiting", "interrupted"}
        assert counter.state(card) == "in_production"
    assert counter.lay(job, "blank 0")["state"] == "done"
    assert counter.state(card) == "produced"
    found = counter.lay(counter.order("probe"), "blank 0")["found"]
    assert (found["uses"], found["random_uid"], found["family"]) == (["canteen"], True, "DESFire EV2")


def test_a_card_pulled_while_it_is_erased_is_erased_in_the_end(counter):
    """Pulled before, in and after the command that erases it; another card that is laid on meanwhile is left alone."""
    card = counter.ordered()
    counter.lay(counter.order("encode", card), "blank 1")
    for state, reason in (("revoked", "damaged"), ("returned", None)):
        counter.ask("POST", f"/cards/{card}/step", {"state": state, "reason": reason})
    job = counter.order("erase", card)
    for at in (3, 10, 13):
        assert counter.pull(job, "blank 1", at)["trouble"] == "card_gone"
        assert counter.state(card) == "returned"
    counter.hand.insert("blank 2", READER)
    wait_until(lambda: counter.ask("GET", f"/encoding-jobs/{job}")["trouble"] == "other_card")
    counter.hand.eject(READER)
    counter.emptied()
    assert counter.lay(job, "blank 1")["state"] == "done"
    assert counter.state(card) == "erased"
    assert counter.lay(counter.order("probe"), "blank 1")["found"]["uses"] == []


def test_a_card_on_the_encoder_is_never_a_tap(counter):
    """Whatever is laid on: the record has no event of it."""
    counter.hand.insert("blank 3", READER)
    wait_until(lambda: counter.ask("GET", "/encoders")["encoders"][0]["card_present"])
    counter.hand.eject(READER)
    counter.emptied()
    assert counter.files.rows(agent_event) == []
    assert counter.service.get("/health/ready")[0] == 200
