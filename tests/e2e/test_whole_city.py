# SPDX-License-Identifier: EUPL-1.2
"""From chip to strike through real parts: OpenLDAP, pcscd, the service and an agent as processes."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.whole_city import WholeCity, reader_of, whole_city
from support.canaries import found_in, identifiers, personal, secrets
from support.service import LIVE_TOKEN, PASSPHRASE, ServiceProcess
from support.slapd import READER_PASSWORD
from support.waiting import wait_until

from cardservice.agents.store import agent_event
from cardservice.journal.store import journal_entry

pytestmark = [pytest.mark.pcscd, pytest.mark.slapd]

DOOR = "bauamt.aussen"


@pytest.fixture(scope="module")
def city() -> Iterator[WholeCity]:
    with tempfile.TemporaryDirectory(prefix="e2e-") as folder, whole_city(Path(folder)) as running:
        yield running


def test_an_entitled_card_opens_and_the_door_locks_again(city):
    seen = city.tap("anna", DOOR)
    assert (seen.permit, seen.reason, seen.level, seen.outcome) == (True, "granted", "card", "acted")
    assert "released" in seen.strikes


@pytest.mark.parametrize(
    ("card", "point", "reason"),
    [
        ("sabine", DOOR, "no_grant"),
        ("petra", "haupteingang.aussen", "person_disabled"),
        ("karl", "haupteingang.innen", "person_expired"),
        ("unbekannt", "haupteingang.aussen", "card_unknown"),
        ("kopie", DOOR, "card_not_genuine"),
        ("uid", DOOR, "card_unsupported"),
        ("ute", "serverraum.innen", "card_unsupported"),
        ("ute-alt", "besuchereingang.aussen", "certificate_refused"),
    ],
)
def test_a_card_without_the_right_stays_outside(city, card, point, reason):
    seen = city.tap(card, point)
    assert (seen.permit, seen.reason, seen.outcome) == (False, reason, "shown")
    assert "released" not in seen.strikes


def test_a_piv_card_opens_where_the_point_accepts_it(city):
    seen = city.tap("ute", "besuchereingang.aussen")
    assert (seen.permit, seen.reason, seen.level, seen.outcome) == (True, "granted", "card", "acted")


def test_somebody_disabled_in_openldap_is_refused_at_the_next_tap(city):
    assert city.tap("mehmet", "serverraum.aussen").permit
    city.disable("yilmaz", disabled=True)
    assert city.tap("mehmet", "serverraum.aussen").reason == "person_disabled"
    city.disable("yilmaz", disabled=False)
    assert city.tap("mehmet", "serverraum.aussen").permit


def test_a_card_pulled_too_soon_leaves_the_reader_in_order(city):
    """No strike moves, and the next card at the same reader opens."""
    seen = city.tap("kurz", DOOR)
    assert seen.outcome == "card_gone"
    assert seen.permit is not True
    assert "released" not in seen.strikes
    assert city.tap("anna", DOOR).outcome == "acted"


def test_a_card_that_answers_garbage_leaves_the_reader_in_order(city):
    seen = city.tap("stoerer", "kantine.aussen")
    assert seen.permit is not True
    assert "released" not in seen.strikes
    assert city.tap("anna", "kantine.aussen").outcome == "acted"


def test_a_hanging_directory_keeps_nobody_waiting(city):
    """Slapd stands still in the middle of everything: the door answers from the copy, health says so, then it heals."""
    city.slapd.pause()
    try:
        city.service.wait_health(lambda state: state["status"] == "degraded")
        assert city.tap("anna", DOOR).outcome == "acted"
        assert "taps are decided from the copy" in city.service.health()["degraded"][0]
    finally:
        city.slapd.resume()
    city.service.wait_health(lambda state: state["status"] == "ready")


def test_a_killed_directory_comes_back_without_a_restart_of_ours(city):
    city.slapd.kill()
    city.service.wait_health(lambda state: state["status"] == "degraded")
    assert city.tap("anna", DOOR).outcome == "acted"
    city.slapd.start()
    city.service.wait_health(lambda state: state["status"] == "ready")
    city.disable("krueger", disabled=True)
    assert city.tap("sabine", "buergerbuero.innen").reason == "person_disabled"
    city.disable("krueger", disabled=False)


def test_a_killed_pcscd_comes_back_without_a_restart_of_ours(city):
    city.control.kill_pcscd()
    city.control.restart_pcscd()
    city.until_empty(reader_of(DOOR))
    assert city.tap("anna", DOOR).outcome == "acted"


def test_while_the_centre_is_away_the_door_stays_shut_and_the_tap_is_reported_later(city):
    """The agent finds the centre again by itself and hands over what happened; then the door opens again."""
    before = len(city.files.rows(agent_event))
    assert city.service.stop() == 0
    city.control.insert("anna", reader_of(DOOR))
    # The agent answers the card by itself, nobody tells us; its event waits in the outbox.
    log = city.agent.log
    seen_before = log.read_text().count("no_answer")
    wait_until(lambda: log.read_text().count("no_answer") > seen_before)
    city.control.eject(reader_of(DOOR))
    city.service = ServiceProcess(city.files, city.files.folder / "service.log")
    city.watch()
    seen = city.outcome(DOOR)
    assert (seen.permit, seen.outcome) == (None, "no_answer")
    city.until_empty(reader_of(DOOR))
    assert len(city.files.rows(agent_event)) == before + 1
    kept = [json.loads(row.payload) for row in city.files.rows(journal_entry)]
    name = f"{seen.event['agent']}/{seen.event['epoch']}/{seen.event['sequence']}"
    assert [(one["kind"], one["reason"]) for one in kept if one["event"] == name] == [("tap_outcome", "no_answer")]
    assert city.tap("anna", DOOR).outcome == "acted"


def test_nothing_private_is_in_any_log_even_at_level_debug(city):
    """Whatever else was tapped before, with good and bad cards: no name, login, card number, key or password."""
    for card in ("anna", "unbekannt", "ute", "stoerer"):
        city.tap(card, "besuchereingang.innen")
    service, agent = city.service.log.read_text(), city.agent.log.read_text()
    assert "agent.connected" in service
    assert "agent_started" in agent
    for text in (service, agent):
        private = personal() | identifiers() | secrets(city.files.deck_file)
        assert found_in(text, private | {READER_PASSWORD, LIVE_TOKEN, PASSPHRASE}) == set()
        for line in text.splitlines():
            assert {"event", "level", "timestamp"} <= json.loads(line).keys()
