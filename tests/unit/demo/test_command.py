# SPDX-License-Identifier: EUPL-1.2
"""What `cardservice demo --script` says of a script that was played, and its exit code."""

import json
from typing import Any

import pytest

from cardservice.demo import command
from cardservice.demo.one_day import Day

TAP = {"step": "an entitled card opens", "permit": True, "reason": "granted", "inserted_to_decision_ms": 41.5}
REFUSED = {"step": "a card without the group", "permit": False, "reason": "no_grant", "inserted_to_decision_ms": 39.0}
STEP = {"step": "lunch is paid", "place": "till", "played": True, "took_ms": 812.4, "why_not": ""}


def played(monkeypatch: pytest.MonkeyPatch, document: dict[str, Any], *, as_json: bool = False) -> int:
    monkeypatch.setattr(command, "SCRIPTS", {"story": lambda _: document})
    return command._play(None, "story", as_json=as_json)


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_code_is_the_verdict(monkeypatch, capsys, ok, code, as_json):
    """0 only if all went as it should, whichever way it is told; JSON is the document and nothing else."""
    document = {"ok": ok, "steps": [{**TAP, "ok": ok}]}
    assert played(monkeypatch, document, as_json=as_json) == code
    if as_json:
        assert json.loads(capsys.readouterr().out) == document


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ({**TAP, "ok": True}, "ok    an entitled card opens: opens (41.5 ms)"),
        ({**REFUSED, "ok": True}, "ok    a card without the group: refused: no_grant (39.0 ms)"),
        ({**TAP, "ok": False}, "FAIL  an entitled card opens: opens (41.5 ms)"),
        ({**STEP, "ok": True, "seen": {}}, "ok    lunch is paid (till, 812.4 ms)"),
        ({**STEP, "ok": False, "seen": {"till": None}}, "FAIL  lunch is paid (till, 812.4 ms): {'till': None}"),
        (
            {**STEP, "ok": True, "played": False, "why_not": "no cupsd"},
            "--    lunch is paid (till): not on this machine: no cupsd",
        ),
    ],
)
def test_every_step_is_one_line_with_its_verdict_and_its_time(monkeypatch, capsys, step, line):
    played(monkeypatch, {"ok": True, "steps": [step]})
    assert capsys.readouterr().out == line + "\n"


def test_a_revocation_is_told_with_its_time(monkeypatch, capsys):
    played(monkeypatch, {"ok": True, "steps": [], "revocation": {"published_ms": 17.25}})
    assert capsys.readouterr().out == "revocation published after 17.25 ms\n"


def test_a_step_that_breaks_has_failed_and_says_with_what():
    """The error is named, and the next step is played."""

    def break_down() -> tuple[bool, dict[str, Any]]:
        raise LookupError("no such reader")

    day = Day(None)
    day.play("broken", "door", break_down)
    day.play("next", "door", lambda: (True, {"permit": True}))
    assert [(step.ok, step.seen) for step in day.steps] == [
        (False, {"error": "LookupError: no such reader"}),
        (True, {"permit": True}),
    ]


def test_a_step_that_did_not_go_as_it_should_has_failed():
    day = Day(None)
    day.play("refused", "door", lambda: (False, {}))
    (step,) = day.steps
    assert (step.ok, step.played, step.seen) == (False, True, {})
    assert step.took_ms >= 0


def test_a_step_that_cannot_be_played_says_why():
    day = Day(None)
    day.leave_out("unlock", "pc", "no Xvfb")
    (step,) = day.steps
    assert (step.ok, step.played, step.why_not) == (True, False, "no Xvfb")
