# SPDX-License-Identifier: EUPL-1.2
"""What the terminal says: every outcome has its words in both languages, short enough for the wire."""

import pytest

from cardservice.agents.messages import PlaceAnswer, Sentence
from cardservice.timeclock.rules import BOOKS, Code, Kind
from cardservice.timeclock.sentences import Said, Shown, say


def shown(clock: str = "08:01", *, today: bool = True, gap: bool = False) -> Shown:
    return Shown(clock=clock, kind=Kind.IN, worked="7:43", today=today, gap=gap)


@pytest.mark.parametrize("code", Code)
def test_every_outcome_has_its_words_on_the_wire(code):
    """What was not booked says so; what was names the time."""
    for what in (shown(), shown(today=False, gap=True)):
        said = say(code, what)
        PlaceAnswer(done=code in BOOKS, code=code.value, text=Sentence(de=said.de, en=said.en))
        if code in BOOKS or code is Code.ALREADY_BOOKED:
            assert all("08:01" in text for text in said)
        else:
            assert said.de.startswith("Nicht gebucht: ")
            assert said.en.startswith("Not booked: ")


@pytest.mark.parametrize(
    ("code", "what", "said"),
    [
        (Code.BOOKED_IN, shown(), ("Guten Morgen, gekommen um 08:01.", "Good morning, clocked in at 08:01.")),
        (Code.BOOKED_IN, shown("13:30"), ("Guten Tag, gekommen um 13:30.", "Hello, clocked in at 13:30.")),
        (Code.BOOKED_IN, shown("22:00"), ("Guten Abend, gekommen um 22:00.", "Good evening, clocked in at 22:00.")),
        (
            Code.BOOKED_IN,
            shown(gap=True),
            (
                "Guten Morgen, gekommen um 08:01. Das Ende Ihrer letzten Arbeitszeit fehlt.",
                "Good morning, clocked in at 08:01. The end of your last working time is missing.",
            ),
        ),
        (
            Code.BOOKED_OUT,
            shown("16:32"),
            ("Gegangen um 16:32. Heute gearbeitet: 7:43.", "Clocked out at 16:32. Worked today: 7:43."),
        ),
        (
            Code.BOOKED_OUT,
            shown("06:02", today=False),
            ("Gegangen um 06:02. Gearbeitet: 7:43.", "Clocked out at 06:02. Worked: 7:43."),
        ),
        (Code.ALREADY_BOOKED, shown(), ("Bereits gebucht um 08:01: Kommen.", "Already booked at 08:01: In.")),
    ],
)
def test_the_words_of_the_terminal(code, what, said):
    assert say(code, what) == Said(*said)
