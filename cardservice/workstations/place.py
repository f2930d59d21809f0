# SPDX-License-Identifier: EUPL-1.2
"""A permitted tap at a workstation: the answer names whose session it is for, and the agent there does the rest.

Nothing is kept: the journal has the tap, and neither the agent nor the centre writes down when a PC was in use.
"""

from collections.abc import Callable
from typing import Final

from cardservice.access.rules import Use
from cardservice.agents.places import Answer, PermittedTap
from cardservice.workstations.rules import SENTENCES, USER_FACT, AnswerCode, is_login

# From the row number of a person to their login, out of memory; None if they have none.
LoginOf = Callable[[int], str | None]


class WorkstationPlace:
    """The use of the workstations; fulfils `agents.places.Place`."""

    use = Use.WORKSTATION
    books: Final = None

    def __init__(self, login_of: LoginOf) -> None:
        self._login_of = login_of

    async def act(self, tap: PermittedTap, answer: Answer | None) -> Answer | None:
        """Return whose session the agent is to unlock."""
        login = self._login_of(tap.person)
        if not is_login(login):
            return _answer(AnswerCode.NO_LOGIN, done=False)
        return _answer(AnswerCode.UNLOCK, done=True, user=login)


def _answer(code: AnswerCode, *, done: bool, user: str | None = None) -> Answer:
    german, english = SENTENCES[code]
    facts = {} if user is None else {USER_FACT: user}
    return Answer(done=done, code=code.value, text_de=german, text_en=english, facts=facts)
