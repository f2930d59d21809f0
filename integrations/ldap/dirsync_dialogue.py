# SPDX-License-Identifier: EUPL-1.2
"""Question and answer over one connection, written as a script: a generator that yields questions and gets answers.

The script reads top to bottom while the caller's loop stays free: each step takes what has arrived and never waits.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

from integrations.ldap.connection import Channel
from integrations.ldap.errors import AnswerBroken, ConnectionLost, ServerSilent
from integrations.ldap.messages import Done, Entry, Intermediate, Message, Notice, Reference
from integrations.ldap.silence import Silence

MAX_ANSWER_ENTRIES: Final = 100_000
_MESSAGES_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Question:
    """A search, encoded, and how long the server may be silent before it counts as hung."""

    request: bytes
    limit_s: float
    controls: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to ask until the monotonic instant `until_s`; a notification ends it at the instant `least_until_s`."""

    until_s: float
    least_until_s: float


@dataclass(slots=True)
class Answer:
    """Everything that came for one question; references to other servers are left out."""

    entries: list[Entry] = field(default_factory=list)
    code: int = 0
    controls: dict[str, bytes] = field(default_factory=dict)


Script = Generator[Question | Rest, Answer, None]
"""A rest is answered too, with an empty answer."""


class Dialogue:
    """Lets one script talk over `channel`. `watch` adds a search that never ends and only wakes the script.

    `ended` tells whether the script is through, `watch_code` is the result with which the server ended the watch.
    """

    def __init__(self, channel: Channel, script: Script) -> None:
        self.ended = False
        self.watch_code: int | None = None
        self._channel = channel
        self._script = script
        self._answer = Answer()
        self._asked: tuple[int, Question, float] | None = None
        self._rest: Rest | None = None
        self._watch_id: int | None = None
        self._woken = False
        self._silence = Silence()
        self._begun = False

    def watch(self, request: bytes, controls: tuple[tuple[str, bytes], ...]) -> None:
        """Send a search whose entries only wake the script from its rest.

        Raises:
            ConnectionLost: it cannot be sent.
        """
        self._watch_id = self._channel.search(request, controls)

    def step(self, now_s: float) -> bool:
        """Take what has arrived and let the script go on; True if it should be called again at once.

        Raises:
            LdapTrouble: the connection ended, the server is silent, or the script found fault with an answer.
        """
        if not self._begun:
            self._begun = True
            self._go_on(None)
        messages = self._channel.receive(_MESSAGES_AT_ONCE)
        for message in messages:
            self._take(message)
        if messages or self._asked is None:
            self._silence.heard()
        else:
            self._check_silence(now_s)
        if self._rest is not None and now_s >= self._wake_at_s(self._rest):
            self._woken = False
            self._go_on(Answer())
        return len(messages) == _MESSAGES_AT_ONCE

    def wait_s(self, now_s: float, most_s: float) -> float:
        """Return how long the caller may wait for the socket before the next step."""
        return most_s if self._rest is None else max(0.0, min(most_s, self._wake_at_s(self._rest) - now_s))

    def _wake_at_s(self, rest: Rest) -> float:
        return rest.least_until_s if self._woken else rest.until_s

    def _take(self, message: Message) -> None:
        if isinstance(message, Notice):
            raise ConnectionLost(f"{self._channel.url} ends the connection (LDAP result {message.code}).")
        if isinstance(message, (Reference, Intermediate)):
            return
        if message.message_id == self._watch_id:
            self._take_watched(message)
        elif self._asked is None or message.message_id != self._asked[0]:
            raise AnswerBroken(f"{self._channel.url} answered a question that was not asked.")
        elif isinstance(message, Entry):
            self._answer.entries.append(message)
            if len(self._answer.entries) > MAX_ANSWER_ENTRIES:
                raise AnswerBroken(f"{self._channel.url} answers one question with over {MAX_ANSWER_ENTRIES} entries.")
        else:
            answer, self._answer = self._answer, Answer()
            answer.code, answer.controls = message.code, message.controls
            self._go_on(answer)

    def _take_watched(self, message: Entry | Done) -> None:
        if isinstance(message, Entry):
            self._woken = True
        else:
            self.watch_code, self._watch_id = message.code, None

    def _go_on(self, answer: Answer | None) -> None:
        self._asked = self._rest = None
        try:
            wanted = next(self._script) if answer is None else self._script.send(answer)
        except StopIteration:
            self.ended = True
            return
        if isinstance(wanted, Question):
            message_id = self._channel.search(wanted.request, wanted.controls)
            self._asked = message_id, wanted, time.monotonic()
        else:
            self._rest = wanted

    def _check_silence(self, now_s: float) -> None:
        if self._asked is None:
            return
        _, question, asked_at_s = self._asked
        if self._silence.lasts_s(now_s, asked_at_s) > question.limit_s:
            raise ServerSilent(f"{self._channel.url} has not answered for {question.limit_s:g} s.")
