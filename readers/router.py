# SPDX-License-Identifier: EUPL-1.2
"""Brings each message of the centre to the tap it is for; what is for no tap is ignored and counted."""

from cardservice.agents.messages import CardApdus, DecisionMessage, EventId, PinAsk
from readers.metrics import Metrics
from readers.tap import ForTap, Tap


class Router:
    """The taps that wait for the centre, found by event and by conversation."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._by_event: dict[EventId, Tap] = {}
        self._by_conversation: dict[str, Tap] = {}

    def add(self, tap: Tap) -> None:
        """From now on messages for `tap` reach it."""
        if tap.event is not None:
            self._by_event[tap.event] = tap

    def remove(self, tap: Tap) -> None:
        """Messages for `tap` are ignored from now on."""
        if tap.event is not None:
            self._by_event.pop(tap.event, None)
        if tap.conversation is not None:
            self._by_conversation.pop(tap.conversation, None)

    def deliver(self, message: ForTap, at_us: int) -> None:
        """Hand `message`, received at the monotonic time `at_us`, to its tap."""
        ignored = self._deliver(message, at_us)
        if ignored is not None:
            self._metrics.ignore(message.type, ignored)

    def disconnected(self) -> None:
        """Tell every tap that its answer cannot come any more."""
        for tap in tuple(self._by_event.values()):
            tap.centre_lost()

    def _deliver(self, message: ForTap, at_us: int) -> str | None:
        if isinstance(message, CardApdus):
            tap = self._by_conversation.get(message.conversation)
            return "unknown_conversation" if tap is None else tap.deliver(message, at_us)
        tap = self._by_event.get(message.event)
        if tap is None:
            return "foreign_event"
        if isinstance(message, DecisionMessage | PinAsk):
            return tap.deliver(message, at_us)
        if message.conversation in self._by_conversation:
            return "conversation_reused"
        ignored = tap.deliver(message, at_us)
        if ignored is None:
            self._by_conversation[message.conversation] = tap
        return ignored
