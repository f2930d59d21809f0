# SPDX-License-Identifier: EUPL-1.2
"""What may need a second person: each kind of request is declared once, by the part that carries it out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from cardservice.approvals.rules import Content, Request
from cardservice.errors import Conflict
from cardservice.web.gate import Actor
from cardservice.web.i18n import Language
from cardservice.web.operations import OPERATIONS, Role
from cardservice.web.reach import EVERYWHERE, Reach

# Pairs of a label and what is said, in one language.
Facts = Sequence[tuple[str, str]]


class ContentRefused(Conflict):
    """What is asked for cannot be asked for so."""

    code = "content_refused"


def everywhere(_: Content, reaches: Sequence[Reach]) -> bool:
    """Tell whether a right is bound to nothing: for what is about everybody."""
    return EVERYWHERE in reaches


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request.

    `asks` is the operation whose roles may ask for it, `approves` are the roles of which a decider has one. `accept`
    returns the content as it is kept, or raises ContentRefused; `describe` says in plain words what is asked for. Both
    may block.

    `carry_out` runs once, in the transaction of the state store that makes the request approved: what it changes stands
    there with the approval or not at all. `within` tells whether the content lies within what a role reaches.
    `result` is the path of a page that shows the asker what came of it, with the number of the request in place of {}.
    """

    name: str
    title: str
    asks: str
    approves: frozenset[Role]
    accept: Callable[[Content], Content]
    describe: Callable[[Content, Language], Facts]
    carry_out: Callable[[Connection, Request], None]
    within: Callable[[Content, Sequence[Reach]], bool] = everywhere
    result: str | None = None

    def may_ask(self, content: Content, actor: Actor) -> bool:
        """Tell whether somebody may ask for this."""
        return self._reaches(content, actor, OPERATIONS[self.asks].roles)

    def may_decide(self, content: Content, actor: Actor) -> bool:
        """Tell whether somebody's roles let them decide on this; whether it is their own is another question."""
        return self._reaches(content, actor, self.approves)

    def _reaches(self, content: Content, actor: Actor, roles: frozenset[Role]) -> bool:
        found = tuple(reach for role in roles for reach in actor.reaches_by_role.get(role, ()))
        return actor.person is not None and bool(found) and self.within(content, found)


def by_name(kinds: Sequence[Kind]) -> Mapping[str, Kind]:
    """Return the kinds by their names.

    Raises:
        ValueError: two are called the same.
    """
    found = {kind.name: kind for kind in kinds}
    if len(found) != len(kinds):
        raise ValueError("two kinds of requests have one name")
    return found
