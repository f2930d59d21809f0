# SPDX-License-Identifier: EUPL-1.2
"""One card at one reader, watched where it really shows.

That is the service's live feed, the terminal's own screen, and, while the network is cut, the outbox of the agent.
"""

import contextlib
import queue
import time
from collections.abc import Mapping
from typing import Any, Final, Self

from cardservice.demo.city import AGENT, DemoCity
from cardservice.demo.kept import KeptEvents
from cardservice.demo.seeding import PLACES_AGENT
from city import building
from readers import texts as agent_texts

TERMINALS: Final = frozenset(place.code for place in building.PLACES if place.kind == "terminal")
TAP_LIMIT_S: Final = 15.0
_MAX_EVENTS: Final = 1_000
# The end of the same answer, worked out twice, is the same instant but for rounding; no two taps are this close.
_SAME_ANSWER_MS: Final = 20
# What the agent shows by itself, by what became of the tap.
_AGENT_SAYS: Final = {
    "no_answer": agent_texts.CENTRE_UNREACHABLE,
    "late": agent_texts.CENTRE_UNREACHABLE,
    "card_gone": agent_texts.CARD_GONE,
    "output_failed": agent_texts.READER_FAULT,
}


class TapWatch:
    """Collects what becomes of one card at one point. Use it as a context, and hold the card there inside it."""

    def __init__(self, city: DemoCity, point: str) -> None:
        self._city = city
        self._point = point
        self._events: queue.Queue[Mapping[str, Any]] = queue.Queue(_MAX_EVENTS)
        # A screen may still show the answer to the card before.
        self._old_answer_ends_ms = _answer_ends_ms(city.screens.get(point, {}))
        agent = PLACES_AGENT if point in {place.code for place in building.PLACES} else AGENT
        self._kept = KeptEvents(city.state_folder, agent)
        self._old_event = self._kept.newest(point)
        self._answered = point not in TERMINALS
        self._began_s = 0.0
        self._locked_again = False
        self._seen: dict[str, Any] = {
            **dict.fromkeys(("permit", "reason", "level", "answer", "text", "strike", "outcome")),
            "inserted_to_decision_ms": None,
            "stages_us": {},
        }

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._end = self._city.live.listen(self._take)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _take(self, event: Mapping[str, Any]) -> None:
        if event.get("point") == self._point:
            # More than anybody will look at: the feed goes on.
            with contextlib.suppress(queue.Full):
                self._events.put_nowait(event)

    def until_over(self) -> dict[str, Any]:
        """Return what was seen until the agent told what came of the card, or the time was over."""
        until_s = self._began_s + TAP_LIMIT_S
        while not (self._seen["outcome"] and self._answered) and time.monotonic() < until_s:
            try:
                self._note(self._events.get(timeout=0.05))
            except queue.Empty:
                if self._seen["outcome"] is None and not self._city.cable.plugged:
                    self._note_kept()
            if self._seen["outcome"]:
                # The screen comes another way, a moment later at most.
                until_s = min(until_s, time.monotonic() + 2)
        if self._seen["text"] is None:
            german, english = _AGENT_SAYS.get(str(self._seen["outcome"]), agent_texts.CENTRE_UNREACHABLE)
            self._seen["text"] = {"de": german, "en": english}
        return self._seen

    def locked_again(self, timeout_s: float = TAP_LIMIT_S) -> bool:
        """Wait until the strike that was released has locked again; tell whether it did."""
        until_s = time.monotonic() + timeout_s
        while not self._locked_again and (left_s := until_s - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self._note(self._events.get(timeout=left_s))
        return self._locked_again

    def _note(self, event: Mapping[str, Any]) -> None:
        seen = self._seen
        match event["kind"]:
            case "tap":
                seen |= {name: event[name] for name in ("permit", "reason", "level", "answer")}
                seen["text"] = seen["text"] or event["text"]
                seen["inserted_to_decision_ms"] = round((time.monotonic() - self._began_s) * 1_000, 2)
                seen["stages_us"] |= {f"centre_{name}": took for name, took in event["stages_us"].items()}
            case "output":
                seen["text"] = event["text"] or seen["text"]
                seen["strike"] = seen["strike"] or event["state"]
                self._locked_again |= seen["strike"] != "locked" and event["state"] == "locked"
            case "screen" if _answer_ends_ms(event["screen"]) > self._old_answer_ends_ms + _SAME_ANSWER_MS:
                seen["text"] = event["screen"]["answer"]["text"]
                self._answered = True
            case "event":
                seen["outcome"] = event["outcome"]
                seen["stages_us"] |= {f"agent_{name}": took for name, took in event["stages_us"].items()}

    def _note_kept(self) -> None:
        """Look what the agent has kept: without the network its outbox is the only one to know."""
        kept = self._kept.newest(self._point)
        if kept is not None and kept != self._old_event:
            self._seen["outcome"] = kept.outcome
            self._seen["stages_us"] |= {f"agent_{name}": took for name, took in kept.stages_us.items()}


def _answer_ends_ms(screen: Mapping[str, Any]) -> int:
    """Return when a terminal will have shown its answer long enough, 0 if it shows none."""
    answer = screen.get("answer")
    return 0 if answer is None else int(screen["now_ms"] + answer["left_ms"])
