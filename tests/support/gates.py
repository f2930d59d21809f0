# SPDX-License-Identifier: EUPL-1.2
"""The gate of a page that is tested without the service around it: somebody is signed in, whoever asks."""

from collections.abc import Iterable

from fastapi import Request

from cardservice.web.callers import Callers
from cardservice.web.gate import Gate, Person
from cardservice.web.operations import Role
from cardservice.web.reach import EVERYWHERE


class SignedInAs:
    """Says of each request that it is this person's."""

    def __init__(self, row: int, roles: Iterable[Role] = (Role.EMPLOYEE,)) -> None:
        self._person = Person(row, f"person-{row}", dict.fromkeys(roles, (EVERYWHERE,)), "0" * 64)

    def has_token(self, _request: Request) -> bool:
        """Everybody is signed in."""
        return True

    async def person(self, _request: Request, *, changes: bool) -> Person | None:
        """Return the person; a change is confirmed."""
        del changes
        return self._person


def gate_for(row: int, *roles: Role) -> Gate:
    """Return the gate of a service at which this person is signed in, with these roles besides."""
    return Gate(Callers([]), lambda _: None, SignedInAs(row, {Role.EMPLOYEE, *roles}))
