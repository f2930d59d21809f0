# SPDX-License-Identifier: EUPL-1.2
"""What a terminal shows, and for how long, under a clock that the test moves."""

import json

import pytest
from unit.readers.fakes import FakeClock

from cardservice.agents.messages import PointSetup, Prompt, Sentence
from cardservice.timeclock.rules import terminal_of
from readers.kiosk.faces import FACES
from readers.kiosk.screen import Screen
from readers.kiosk.texts import LANGUAGES

CLOCK = PointSetup(point="clock-1", reader="R", use="timeclock", name="Eingang", answer_budget_ms=300)
TILL = PointSetup(point="till-1", reader="R", use="canteen", options={"language": "en"})
PRINTER = PointSetup(point="printer-1", reader="R", use="printer")
BOOKED = ("Kommen gebucht.", "Arrival booked.")
FIVE_EUROS = Prompt(
    point="till-1", text=Sentence(de="Bitte Karte.", en="Card, please."), facts={"amount_cents": 500}, for_ms=20_000
)


class Stage:
    """A screen whose centre is there, its clock, and how often it said that it changed."""

    def __init__(self, setup: PointSetup = CLOCK, *, connected: bool = True) -> None:
        self.clock = FakeClock()
        self.changes = 0
        self.screen = Screen(setup, self.clock, self._count)
        self.screen.centre(connected=connected)

    def _count(self) -> None:
        self.changes += 1

    @property
    def view(self) -> str:
        return self.screen.state()["view"]

    def after(self, ms: int) -> "Stage":
        self.clock.advance_ms(ms)
        return self


def test_until_the_centre_is_there_nothing_can_be_booked():
    """A terminal says that the centre is away from its first moment on, and takes no key."""
    stage = Stage(connected=False)
    assert (stage.view, stage.screen.choose("in")) == ("away", False)
    stage.screen.centre(connected=True)
    assert (stage.view, stage.screen.choose("in")) == ("idle", True)


def test_a_key_is_for_the_next_card_and_for_no_other():
    """The tap takes the choice with it; the card after that comes without one."""
    stage = Stage()
    assert stage.screen.choose("break_start")
    assert stage.screen.state()["choice"] == {"key": "break_start", "of_ms": 10_000, "left_ms": 10_000}
    assert stage.screen.take_choice() == "break_start"
    assert stage.view == "reading"
    assert stage.screen.take_choice() is None


def test_a_key_is_forgotten_after_ten_seconds():
    """Who walks away leaves nothing behind for the next person."""
    stage = Stage()
    stage.screen.choose("out")
    assert stage.after(9_999).screen.state()["choice"]["left_ms"] == 1
    assert stage.after(1).screen.state()["choice"] is None
    assert stage.screen.take_choice() is None


def test_a_key_pressed_twice_is_one_choice_and_a_second_key_takes_its_place():
    stage = Stage()
    assert stage.screen.choose("in")
    assert stage.screen.choose("in")
    assert stage.screen.take_choice() == "in"
    stage.screen.answer("ok", BOOKED, {})
    stage.after(4_000)
    stage.screen.choose("in")
    stage.screen.choose("out")
    assert stage.screen.take_choice() == "out"


def test_a_choice_can_be_taken_back():
    stage = Stage()
    stage.screen.choose("in")
    assert stage.screen.choose(None)
    assert (stage.view, stage.screen.take_choice()) == ("idle", None)


def test_the_second_half_of_a_double_tap_books_nothing_for_the_next_person():
    """Keys are dead while a card is read and for the first second of its answer."""
    stage = Stage()
    stage.screen.choose("in")
    stage.screen.take_choice()
    assert not stage.screen.choose("in")
    stage.screen.answer("ok", BOOKED, {})
    assert not stage.after(999).screen.choose("in")
    assert stage.screen.take_choice() is None


def test_the_next_person_ends_the_answer_of_the_one_before():
    """From the second second on a key counts, and what it finds on the screen is gone at once."""
    stage = Stage()
    stage.screen.take_choice()
    stage.screen.answer("ok", BOOKED, {"today_ms": 1})
    assert stage.after(1_000).screen.choose("out")
    assert (stage.view, stage.screen.state()["answer"]) == ("idle", None)


def test_an_answer_is_shown_for_four_seconds_and_then_gone_from_memory():
    """Nothing of it is left in the screen, whether anybody looks or not."""
    stage = Stage(TILL)
    stage.screen.answer("ok", ("Bezahlt, Frau Schmidt.", "Paid."), {"balance_cents": 4_711})
    assert stage.after(3_999).view == "answer"
    assert stage.screen.next_end_ms() == 1
    before = stage.changes
    stage.after(1).screen.expire()
    assert stage.changes == before + 1
    assert "4711" not in repr([getattr(stage.screen, name) for name in vars(stage.screen)])
    assert (stage.view, stage.screen.state()["answer"], stage.screen.next_end_ms()) == ("idle", None, None)


def test_a_card_that_never_gets_an_answer_does_not_hold_the_screen():
    """Reading ends by itself after the budgets of the tap."""
    stage = Stage(CLOCK.model_copy(update={"tap_budget_ms": 2_000}))
    stage.screen.take_choice()
    assert stage.after(2_299).view == "reading"
    assert stage.after(1).view == "idle"


def test_a_prompt_stays_below_the_answer_and_ends_when_told():
    """An answer (to a refused card, say) covers the amount for its time; an empty prompt ends it."""
    stage = Stage(TILL)
    stage.screen.ask(FIVE_EUROS)
    asked = {"text": {"de": "Bitte Karte.", "en": "Card, please."}, "facts": {"amount_cents": 500}}
    assert (stage.view, stage.screen.state()["prompt"]) == ("prompt", asked)
    stage.screen.take_choice()
    assert (stage.view, stage.screen.state()["prompt"]) == ("reading", asked)
    stage.screen.answer("refused", ("Nein.", "No."), {})
    assert stage.view == "answer"
    assert stage.after(4_000).view == "prompt"
    stage.screen.ask(Prompt(point="till-1"))
    assert (stage.view, stage.screen.state()["prompt"]) == ("idle", None)


@pytest.mark.parametrize(("for_ms", "shown_ms"), [(20_000, 20_000), (0, 600_000), (600_000, 600_000)])
def test_a_prompt_ends_by_itself(for_ms, shown_ms):
    """After its own time; one without a time after ten minutes."""
    stage = Stage(TILL)
    stage.screen.ask(FIVE_EUROS.model_copy(update={"for_ms": for_ms}))
    assert stage.after(shown_ms - 1).view == "prompt"
    assert stage.after(1).view == "idle"


def test_when_the_centre_goes_what_it_asked_for_and_what_was_chosen_go_too():
    """An answer already given stays for its time; then the screen says that the centre is away."""
    stage = Stage()
    stage.screen.choose("in")
    stage.screen.ask(FIVE_EUROS)
    stage.screen.answer("fault", ("Zentrale nicht erreichbar", "Centre not reachable"), {})
    stage.screen.centre(connected=False)
    assert stage.view == "answer"
    assert stage.after(4_000).view == "away"
    stage.screen.centre(connected=True)
    assert (stage.view, stage.screen.take_choice()) == ("idle", None)


def test_a_language_lasts_until_whoever_switched_is_done():
    """It goes back with the end of the answer, or after half a minute of nothing."""
    stage = Stage()
    stage.screen.speak("en")
    stage.after(29_000).screen.choose("in")
    assert stage.after(9_000).screen.state()["language"] == "en"
    stage.screen.take_choice()
    stage.screen.answer("ok", BOOKED, {})
    assert stage.after(3_999).screen.state()["language"] == "en"
    assert stage.after(1).screen.state()["language"] == "de"
    stage.screen.speak("en")
    assert stage.after(30_000).screen.state()["language"] == "de"


def test_a_terminal_has_a_language_of_its_own():
    assert Stage(TILL).screen.state()["language"] == "en"
    assert Stage().screen.state()["language"] == "de"


@pytest.mark.parametrize(
    ("setup", "given", "shown"),
    [
        (
            CLOCK,
            {"kind": "in", "at_ms": 5, "today_ms": 7, "working": True, "person": "Anna", "balance_cents": 1},
            {"kind": "in", "at_ms": 5, "today_ms": 7, "working": True},
        ),
        (CLOCK, {"kind": "errand", "at_ms": True, "today_ms": -1, "working": 1}, {}),
        (
            TILL,
            {"amount_cents": 545, "own_share_cents": 195, "balance_cents": -10, "kind": "in"},
            {"amount_cents": 545, "own_share_cents": 195, "balance_cents": -10},
        ),
        (TILL, {"amount_cents": 2**53, "own_share_cents": "viel", "balance_cents": False}, {}),
        (PRINTER, {"released": 3, "waiting": 0, "title": "Kündigung.pdf"}, {"released": 3, "waiting": 0}),
        (PRINTER, {"released": -1, "waiting": 10**400}, {}),
    ],
)
def test_only_known_facts_within_bounds_are_shown(setup, given, shown):
    """What a terminal of this use does not know it neither shows nor keeps."""
    stage = Stage(setup)
    stage.screen.answer("ok", BOOKED, given)
    assert stage.screen.state()["answer"]["facts"] == shown


def test_only_the_keys_of_the_use_can_be_chosen():
    assert not Stage(TILL).screen.choose("in")
    assert not Stage().screen.choose("errand")


def test_the_state_is_plain_json_with_the_agents_time():
    stage = Stage()
    stage.screen.choose("in")
    state = json.loads(json.dumps(stage.screen.state()))
    assert state["now_ms"] == stage.clock.wall_ms()
    assert (state["name"], state["language"], state["choice"]["key"]) == ("Eingang", "de", "in")


@pytest.mark.parametrize(("options", "alone"), [({}, True), ({"mode": "alternating"}, True), ({"mode": "keys"}, False)])
def test_a_time_clock_says_whether_the_card_alone_is_enough(options, alone):
    """It is, unless the point's mode asks for a key, as at the centre."""
    assert Stage(CLOCK.model_copy(update={"options": options})).screen.state()["holds_card_alone"] is alone


def test_a_terminal_that_becomes_another_forgets_a_key_it_no_longer_has():
    stage = Stage()
    stage.screen.choose("in")
    stage.screen.set_up(TILL)
    assert (stage.screen.name, stage.screen.take_choice()) == ("till-1", None)


def test_every_change_is_told_and_nothing_else():
    """Who watches hears of each change once, and of nothing when nothing changed."""
    stage = Stage()
    told = stage.changes
    for change in (
        lambda: stage.screen.choose("in"),
        lambda: stage.screen.speak("en"),
        stage.screen.take_choice,
        lambda: stage.screen.answer("ok", BOOKED, {}),
        lambda: stage.screen.ask(FIVE_EUROS),
        lambda: stage.screen.centre(connected=False),
    ):
        change()
        told += 1
        assert stage.changes == told
    stage.screen.centre(connected=False)
    stage.screen.set_up(CLOCK)
    stage.screen.expire()
    stage.screen.choose("in")
    assert stage.changes == told


@pytest.mark.parametrize(
    ("options", "alone"),
    [({}, True), ({"mode": "alternating"}, True), ({"mode": "keys"}, False), ({"mode": "spoken"}, True)],
)
def test_a_time_clock_asks_for_a_key_exactly_where_the_centre_needs_one(options, alone):
    """An option that cannot be used counts as the usual one, here as there."""
    setup = CLOCK.model_copy(update={"options": options})
    assert Stage(setup).screen.state()["holds_card_alone"] is alone
    assert terminal_of(options).alternating is alone


@pytest.mark.parametrize("use", FACES)
def test_every_screen_has_words_for_whatever_it_shows(use):
    """In both languages the same: its sentences, its keys, and the word before each figure."""
    face = FACES[use]
    named = {f"fact_{figure.fact}" for figure in face.figures if figure.named_by is None}
    needed = {"idle", "idle_detail", "away_detail", *face.keys, *named}
    for language in LANGUAGES:
        assert needed <= set(face.words[language])
        assert set(face.words[language]) == set(face.words[LANGUAGES[0]])
    assert set(face.spoken()) == set(LANGUAGES)


def test_a_use_without_a_face_has_no_screen():
    """It would speak another's words otherwise."""
    assert "workstation" not in FACES
    with pytest.raises(KeyError):
        Stage(CLOCK.model_copy(update={"use": "workstation"})).screen.state()


def test_a_card_that_comes_says_what_stood_on_the_screen():
    """So that nobody pays what they have not seen: the prompt's name goes with the card, as long as it stands there."""
    stage = Stage(TILL)
    assert stage.screen.take_choice() is None
    stage.after(10_000).screen.ask(FIVE_EUROS.model_copy(update={"asks": "charge_1"}))
    assert stage.screen.take_choice() == "charge_1"
    stage.after(10_000).screen.ask(FIVE_EUROS.model_copy(update={"asks": "charge_2"}))
    assert stage.screen.take_choice() == "charge_2"
    stage.after(30_000)
    assert stage.screen.take_choice() is None
