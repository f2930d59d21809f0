# SPDX-License-Identifier: EUPL-1.2
"""What one terminal shows: pure state with the agent's clock as an argument, no network and no timers.

    away ◀──centre gone── idle ──prompt──▶ prompt
                            │ card           │ card
                            └──▶ reading ◀───┘
                                    │ └──▶ pin ──▶ checking
                                    ▼                 ▼
                                    │ answer, 4 s
                                    ▼
                                 answer ──▶ idle or prompt

Whatever is shown for a time is gone from memory after it. `changed` is called after every change, so that nobody who
changes a screen can forget to tell the pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from cardservice.agents.messages import PointSetup, Prompt
from readers.clock import Clock
from readers.kiosk.faces import FACES, Face
from readers.kiosk.facts import Fact
from readers.kiosk.texts import LANGUAGES, Language

ANSWER_MS: Final = 4_000
CHOICE_MS: Final = 10_000
# How long a language that was switched to stays while nobody does anything.
LANGUAGE_MS: Final = 30_000
# A key pressed this soon after an answer appeared is the second half of a double tap, not the next person.
SETTLE_MS: Final = 1_000
# A prompt "until told otherwise" ends as well: as late as the longest the wire can ask for.
MAX_PROMPT_MS: Final = 600_000

Tone = Literal["ok", "refused", "fault"]
View = Literal["idle", "prompt", "reading", "pin", "checking", "answer", "away"]
# What is being looked at until the answer comes: the card, or the PIN that was typed.
Busy = Literal["reading", "checking"]
Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is shown for a tap; `text` is (German, English)."""

    tone: Tone
    text: tuple[str, str]
    facts: Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class _Lasting(Generic[Content]):
    """Something that is shown or valid until the monotonic time `until_us`."""

    content: Content
    until_us: int


@dataclass(frozen=True, slots=True)
class _PinQuestion:
    """Somebody is to type a PIN; `number` keeps it apart from the questions before. The digits are never kept."""

    number: int
    for_ms: int
    answered: Callable[[str | None], None]


class Screen:
    """The state of one terminal."""

    def __init__(self, setup: PointSetup, clock: Clock, changed: Callable[[], None]) -> None:
        self._setup = setup
        self._clock = clock
        self._changed = changed
        self._connected = False
        self._language: _Lasting[Language] | None = None
        self._choice: _Lasting[str] | None = None
        self._prompt: _Lasting[Prompt] | None = None
        self._busy: _Lasting[Busy] | None = None
        self._answer: _Lasting[Answer] | None = None
        self._pin: _Lasting[_PinQuestion] | None = None
        self._pins_asked = 0

    @property
    def use(self) -> str:
        """What the terminal is for."""
        return self._setup.use

    @property
    def face(self) -> Face:
        """What this use puts into the frame."""
        return FACES[self.use]

    @property
    def name(self) -> str:
        """What the terminal is called; its point's code when it has no name."""
        return self._setup.name or self._setup.point

    @property
    def keys(self) -> tuple[str, ...]:
        """What can be chosen here before the card comes."""
        return self.face.keys

    @property
    def language(self) -> Language:
        """The language of this moment: switched to by whoever stands here, else the terminal's own."""
        if self._language is not None:
            return self._language.content
        own = self._setup.options.get("language")
        return next((language for language in LANGUAGES if language == own), LANGUAGES[0])

    @property
    def view(self) -> View:
        """What is in front."""
        if self._answer is not None:
            return "answer"
        if not self._connected:
            return "away"
        if self._pin is not None:
            return "pin"
        if self._busy is not None:
            return self._busy.content
        return "idle" if self._prompt is None else "prompt"

    def set_up(self, setup: PointSetup) -> None:
        """Take what the centre says of the point now."""
        if setup != self._setup:
            self._setup = setup
            if self._choice is not None and self._choice.content not in self.keys:
                self._choice = None
            self._changed()

    def choose(self, key: str | None) -> bool:
        """Take a key for the next card, or none; False when nothing can be chosen now."""
        self._drop_what_is_over()
        if key is not None and (key not in self.keys or not self._connected or self._is_busy()):
            return False
        if key is None:
            self._choice = None
        else:
            # Whoever presses a key is the next person: the answer of the one before is not theirs to read.
            self._answer = None
            self._choice = self._lasting(key, CHOICE_MS)
        self._stay_with_language(LANGUAGE_MS)
        self._changed()
        return True

    def speak(self, language: Language) -> None:
        """Show everything in `language` until whoever stands here is done."""
        self._language = self._lasting(language, LANGUAGE_MS)
        self._changed()

    def take_choice(self) -> str | None:
        """Return the chosen key, once, or what stands there to be answered; a card is being read from now on."""
        self._drop_what_is_over()
        asked = None if self._prompt is None else self._prompt.content.asks
        chosen, self._choice = self._choice, None
        self._answer = None
        self._busy = self._looking_at("reading")
        self._stay_with_language(LANGUAGE_MS)
        self._changed()
        return asked if chosen is None else chosen.content

    def ask_pin(self, for_ms: int, answered: Callable[[str | None], None]) -> int:
        """Ask for a PIN; `answered` gets it once, or None if it is broken off. Returns the question's number."""
        self._pins_asked += 1
        self._pin = self._lasting(_PinQuestion(self._pins_asked, for_ms, answered), for_ms)
        self._stay_with_language(for_ms)
        self._changed()
        return self._pins_asked

    def enter_pin(self, number: int, pin: str | None) -> bool:
        """Hand on what was typed, or that nobody wants to; False if that is not what is asked now."""
        self._drop_what_is_over()
        if self._pin is None or self._pin.content.number != number:
            return False
        question, self._pin = self._pin.content, None
        self._busy = self._looking_at("checking")
        self._changed()
        question.answered(pin)
        return True

    def end_pin(self, number: int) -> None:
        """Ask no longer, if this is still asked."""
        if self._pin is not None and self._pin.content.number == number:
            self._pin = None
            self._changed()

    def answer(self, tone: Tone, text: tuple[str, str], facts: Mapping[str, Fact]) -> None:
        """Show for a few seconds what came of a tap."""
        self._busy = self._pin = None
        self._answer = self._lasting(Answer(tone, text, self.face.of_answer(facts)), ANSWER_MS)
        self._stay_with_language(ANSWER_MS)
        self._changed()

    def ask(self, prompt: Prompt) -> None:
        """Show what the centre asks for before the next card; a prompt without text ends it."""
        if prompt.text is None:
            self._prompt = None
        else:
            self._prompt = self._lasting(prompt, min(prompt.for_ms or MAX_PROMPT_MS, MAX_PROMPT_MS))
        self._changed()

    def centre(self, *, connected: bool) -> None:
        """Take note whether the centre can be asked."""
        if connected == self._connected:
            return
        self._connected = connected
        if not connected:
            # What was asked for may be void when the centre is back; it asks again if it is not.
            self._choice = self._prompt = None
        self._changed()

    def expire(self) -> None:
        """Forget what is over."""
        if self._drop_what_is_over():
            self._changed()

    def next_end_ms(self) -> int | None:
        """Return in how many milliseconds the next thing is over, None if nothing ends by itself."""
        return min((self._left_ms(lasting) for lasting in self._lastings() if lasting is not None), default=None)

    def state(self) -> dict[str, Any]:
        """Return what a page shows now, as JSON knows it; the names are those of `static/view.js`."""
        self._drop_what_is_over()
        choice, prompt, answer, pin = self._choice, self._prompt, self._answer, self._pin
        return {
            "view": self.view,
            "use": self.use,
            "name": self.name,
            "language": self.language,
            "holds_card_alone": self.face.card_alone(self._setup.options),
            "now_ms": self._clock.wall_ms(),
            "connected": self._connected,
            "choice": choice and {"key": choice.content, "of_ms": CHOICE_MS, "left_ms": self._left_ms(choice)},
            "prompt": prompt and self._prompt_state(prompt.content),
            "pin": pin and {"ask": pin.content.number, "of_ms": pin.content.for_ms, "left_ms": self._left_ms(pin)},
            "answer": answer
            and {
                "tone": answer.content.tone,
                "text": _both(*answer.content.text),
                "facts": dict(answer.content.facts),
                "left_ms": self._left_ms(answer),
            },
        }

    def _prompt_state(self, prompt: Prompt) -> dict[str, Any]:
        assert prompt.text is not None  # noqa: S101  # `ask` keeps no other
        return {"text": _both(prompt.text.de, prompt.text.en), "facts": self.face.of_prompt(prompt.facts)}

    def _is_busy(self) -> bool:
        if self._busy is not None or self._pin is not None:
            return True
        return self._answer is not None and self._left_ms(self._answer) > ANSWER_MS - SETTLE_MS

    def _looking_at(self, what: Busy) -> _Lasting[Busy]:
        return self._lasting(what, self._setup.tap_budget_ms + self._setup.answer_budget_ms)

    def _stay_with_language(self, ms: int) -> None:
        if self._language is not None:
            self._language = self._lasting(self._language.content, ms)

    def _lasting(self, content: Content, ms: int) -> _Lasting[Content]:
        return _Lasting(content, self._clock.monotonic_us() + ms * 1_000)

    def _lastings(self) -> tuple[_Lasting[Any] | None, ...]:
        return self._language, self._choice, self._prompt, self._busy, self._answer, self._pin

    def _drop_what_is_over(self) -> bool:
        before = self._lastings()
        self._language = self._still(self._language)
        self._choice = self._still(self._choice)
        self._prompt = self._still(self._prompt)
        self._busy = self._still(self._busy)
        self._answer = self._still(self._answer)
        self._pin = self._still(self._pin)
        return self._lastings() != before

    def _still(self, lasting: _Lasting[Content] | None) -> _Lasting[Content] | None:
        return lasting if lasting is not None and self._left_us(lasting) > 0 else None

    def _left_us(self, lasting: _Lasting[Any]) -> int:
        return lasting.until_us - self._clock.monotonic_us()

    def _left_ms(self, lasting: _Lasting[Any]) -> int:
        # Rounded up: a timer of this length never rings before the end.
        return max(0, -(-self._left_us(lasting) // 1_000))


def _both(german: str, english: str) -> dict[str, str]:
    return {"de": german, "en": english}
