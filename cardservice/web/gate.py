# SPDX-License-Identifier: EUPL-1.2
"""The one way into every route: who asks, and whether they may.

A system sends the token of its account or shows its certificate; a person has a session. What each may do stands in
`operations.py`. How far it reaches (organisations, zones, points) goes with the account and with the role, and is asked
for by the route.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Final, Protocol

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cardservice.client_certificates import EXTENSION, Shown
from cardservice.web.callers import Caller, Callers
from cardservice.web.limits import request_id
from cardservice.web.login_paths import SignInNeeded, wanted_path, wants_page
from cardservice.web.operations import OPERATIONS, Operation, Role
from cardservice.web.problems import ApiProblem
from cardservice.web.reach import Reach
from cardservice.web.session_guard import require_no_foreign_page
from cardservice.web.traces import KeepTrace, Trace, reason_of

_NOTHING: Final[Mapping[str, Shown]] = MappingProxyType({})
_bearer: Final = HTTPBearer(auto_error=False, description="The token of a system's account.")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in: their row number, login, and how far each of their roles reaches.

    `form_token` is what the forms of their session carry, so that no other page can send them.
    """

    row: int
    login: str
    roles: Mapping[Role, tuple[Reach, ...]]
    form_token: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for one operation they may do.

    `name` is what the record says: the account's, or the person's login. `person` is the row number of a person, None
    for a system. `reaches` is how far the operation goes for them, one of which is enough; `points` the same as codes
    of points, None for all of them. `roles` and `form_token` are for the pages a person is shown. `attested_points`:
    see `callers.Caller`. `reaches_by_role` is how far each role of a person goes, whatever the operation.
    """

    name: str
    reaches: tuple[Reach, ...]
    points: frozenset[str] | None = None
    person: int | None = None
    roles: frozenset[Role] = frozenset()
    form_token: str = ""
    attested_points: frozenset[str] = frozenset()
    reaches_by_role: Mapping[Role, tuple[Reach, ...]] = field(default_factory=dict, compare=False)

    @property
    def own(self) -> int:
        """The row number of the person whose own page this is.

        Raises:
            ApiProblem: 403, it is a system.
        """
        if self.person is None:
            raise ApiProblem(403, "foreign_use", f"{self.name} is nobody; this is for people alone")
        return self.person

    def may_use(self, code: str) -> bool:
        """Tell whether a point is theirs."""
        return self.points is None or code in self.points

    def require_point(self, code: str) -> None:
        """Refuse a point that is not theirs.

        Raises:
            ApiProblem: 403.
        """
        if not self.may_use(code):
            raise ApiProblem(403, "foreign_point", f"{self.name} may not use point {code}")


class Sessions(Protocol):
    """Tells who sent a request."""

    def has_token(self, request: Request) -> bool:
        """Tell whether a request came with a session's token, whatever it is worth."""
        ...

    async def person(self, request: Request, *, changes: bool) -> Person | None:
        """Return who is signed in, None for nobody.

        Raises:
            ApiProblem: 403, a change did not come from our own page, or the password was confirmed too long ago.
        """
        ...

    async def still(self, request: Request) -> Person | None:
        """Return who is signed in as of now, None for nobody; a session is not kept up by being asked about."""
        ...


# Returns the codes of the points within one of the reaches, None for all of them.
PointsWithin = Callable[[tuple[Reach, ...]], frozenset[str] | None]


class Gate:
    """Makes the dependency of each route; used from the event loop."""

    def __init__(
        self,
        callers: Callers,
        points_within: PointsWithin,
        sessions: Sessions | None = None,
        keep_trace: KeepTrace | None = None,
    ) -> None:
        self._callers = callers
        self._points_within = points_within
        self._sessions = sessions
        self._keep_trace = keep_trace

    def allows(self, operation: str) -> "Asked":
        """Return the dependency of a route that does `operation`: the actor, or a problem.

        Raises:
            KeyError: no line of the table says who may do it.
        """
        return Asked(self, operation)

    async def actor(self, name: str, request: Request, token: str | None) -> Actor:
        """Return who asks for an operation; of a change there is a trace on disk by then.

        Raises:
            ApiProblem: 401 nobody we know, 403 not theirs to do, 429 too often.
            DatabaseUnavailable, Overloaded: no trace of a change can be kept now, so there is none.
        """
        operation = OPERATIONS[name]
        shown = request.scope.get("extensions", _NOTHING).get(EXTENSION)
        if token is not None:
            found = self._system(operation, self._callers.admit(token, shown))
        elif shown is None or self._is_of_a_browser(request):
            found = await self._person(operation, request)
        else:
            # A browser may have the certificate and send it along with what any page has it ask for.
            require_no_foreign_page(request)
            found = self._system(operation, self._callers.admit(None, shown))
        if operation.all_points and found.points is not None:
            raise ApiProblem(403, "foreign_point", f"{found.name} may use some points only, this is about all of them")
        if operation.changes and not operation.own_trace and self._keep_trace is not None:
            await self._keep_trace(await _trace(name, found, request))
        return found

    async def still(self, name: str, request: Request, before: Actor) -> Actor | None:
        """Return who watches by a request that was let in as `before`, None if they may not do `name` any more.

        Raises:
            DatabaseUnavailable: nobody can tell.
        """
        operation = OPERATIONS[name]
        try:
            if before.person is None:
                credentials = await _bearer(request)
                shown = request.scope.get("extensions", _NOTHING).get(EXTENSION)
                token = None if credentials is None else credentials.credentials
                return self._system(operation, self._callers.admit(token, shown))
            person = None if self._sessions is None else await self._sessions.still(request)
            return None if person is None else self._acting(operation, person)
        except ApiProblem as problem:
            # It asks for more elsewhere than it may: this goes on.
            return before if problem.status == HTTPStatus.TOO_MANY_REQUESTS else None

    def _is_of_a_browser(self, request: Request) -> bool:
        """Tell whether somebody is signed in or wants to, on a machine that happens to have a certificate."""
        return wants_page(request) or (self._sessions is not None and self._sessions.has_token(request))

    async def _person(self, operation: Operation, request: Request) -> Actor:
        person = None
        if self._sessions is not None and operation.roles:
            person = await self._sessions.person(request, changes=operation.changes)
        if person is None:
            raise SignInNeeded(wanted_path(request)) if operation.roles and wants_page(request) else _nobody()
        return self._acting(operation, person)

    def _acting(self, operation: Operation, person: Person) -> Actor:
        reaches = tuple(reach for role in operation.roles for reach in person.roles.get(role, ()))
        if not reaches:
            raise ApiProblem(403, "foreign_role", "none of your roles may do this")
        return Actor(
            person.login,
            reaches,
            self._points_within(reaches),
            person.row,
            roles=frozenset(person.roles),
            form_token=person.form_token,
            reaches_by_role=person.roles,
        )

    def _system(self, operation: Operation, caller: Caller | None) -> Actor:
        if caller is None:
            raise _nobody()
        if operation.scope is None or operation.scope not in caller.uses:
            needed = "people alone" if operation.scope is None else f"accounts with {operation.scope}"
            raise ApiProblem(403, "foreign_use", f"{caller.name} may not do this: it is for {needed}")
        return Actor(
            caller.name,
            (caller.reach,),
            self._points_within((caller.reach,)),
            attested_points=caller.attested_points,
        )


async def _trace(operation: str, actor: Actor, request: Request) -> Trace:
    account, login = (actor.name, None) if actor.person is None else (None, actor.name)
    return Trace(operation, request_id.get(), account, actor.person, login, await reason_of(request))


def _nobody() -> ApiProblem:
    return ApiProblem(401, "not_authenticated", "sign in, or send the token of an account: Authorization: Bearer TOKEN")


class Asked:
    """The dependency of one route; its `operation` is what the table is checked against."""

    def __init__(self, gate: Gate, operation: str) -> None:
        self._gate = gate
        self.operation = operation
        if operation not in OPERATIONS:
            raise KeyError(f"no line of cardservice/web/operations.py says who may do {operation}")

    async def __call__(
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    ) -> Actor:
        """Return who asks; FastAPI calls it for each request."""
        return await self._gate.actor(self.operation, request, None if credentials is None else credentials.credentials)
