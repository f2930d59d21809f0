# SPDX-License-Identifier: EUPL-1.2
"""How a place of use takes part in a tap. A place is a folder of its own; the composition root hands it in here.

    decide() ── permit ──▶ Books.record   in the tap's own transaction: booked, paid; all of it or nothing
                              │ on disk
                              ▼
                           Place.act      what lies outside: a print job released, a session unlocked
                              │
                              ▼
                           PlaceAnswer    to the agent, with the decision

A place sees permitted taps of its own use only, and knows the holder by its own pseudonym only. A refusal by a place
(no money, booked twice) is an answer that is not `done`: the decision stands, nothing happens, the text says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from sqlalchemy.engine import Connection

from cardservice.access.rules import PointRecord, Use
from cardservice.journal.rules import Scalar


@dataclass(frozen=True, slots=True)
class PermittedTap:
    """A tap that may do what its point is for.

    `event` is "agent/epoch/sequence", unique for ever. `person` is the holder's row number: it leaves a place only as
    that place's pseudonym. `choice` is what the holder chose at the terminal before.
    """

    event: str
    point: PointRecord
    at_ms: int
    person: int
    choice: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the place did: `code` is one of the place's own closed set, the texts are for the holder.

    `facts` go to the terminal's screen; nothing in them is kept.
    """

    done: bool
    code: str
    text_de: str
    text_en: str
    facts: Mapping[str, str | int | bool] = field(default_factory=lambda: MappingProxyType({}))

    def journal(self) -> Mapping[str, Scalar]:
        """Return what the journal's line says of it."""
        return {"answer": self.code, "done": self.done}


class Books(Protocol):
    """What a place keeps of its permitted taps; nothing is answered before it is on disk."""

    def expect(self, tap: PermittedTap) -> None:
        """Take note that `tap` is about to be recorded: what a batch of taps needs can be looked up together."""
        ...

    def record(self, connection: Connection, tap: PermittedTap) -> Answer | None:
        """Write down what the tap does; runs in the recorder's thread, perhaps twice, and changes only the store.

        None: nothing to say yet, `act` will.
        """
        ...


class Place(Protocol):
    """One of the uses, as a tap meets it."""

    @property
    def use(self) -> Use:
        """The use whose points it serves."""
        ...

    @property
    def books(self) -> Books | None:
        """Where permitted taps are kept by the place itself, None if it keeps none."""
        ...

    async def act(self, tap: PermittedTap, answer: Answer | None) -> Answer | None:
        """Do what lies outside the store, after `record` is on disk; within the point's answer budget.

        An error is told to the holder as `answer`, or as a fault if there is none.
        """
        ...
