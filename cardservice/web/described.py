# SPDX-License-Identifier: EUPL-1.2
"""What holds for every route is said of every route: in `/openapi.json`, and in the `Allow` of a wrong method.

A route describes what is its own. Which problems it may answer with besides, who may ask it, and with what they prove
who they are, follows from the operation it names and from what it takes.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.exceptions import HTTPException

from cardservice.web.gate import Asked
from cardservice.web.operations import OPERATIONS, Operation
from cardservice.web.problems import Problem, answer, documented
from cardservice.web.session import COOKIE

SOURCE: Final = "/openapi.json"
METHODS: Final = ("get", "put", "post", "delete", "patch")
_SESSION: Final = "session"
_CERTIFICATE: Final = "client_certificate"
_NAME: Final = re.compile(r"\{[^}]*\}")
_WITH_BODY: Final = (400, 413)
_GUARDED: Final = (401, 403, 429)
_WRITES: Final = ("put", "post", "patch")
_FASTAPI_S_OWN: Final = ("HTTPValidationError", "ValidationError")


class Description:
    """What `app` says of itself. Making it takes seconds: a thread does it, once, as taps cannot wait so long."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._making: asyncio.Task[tuple[Mapping[str, Any], bytes]] | None = None

    async def read(self) -> Mapping[str, Any]:
        """Return the OpenAPI document."""
        return (await self._made())[0]

    async def encoded(self) -> bytes:
        """Return the OpenAPI document as it is sent."""
        return (await self._made())[1]

    async def _made(self) -> tuple[Mapping[str, Any], bytes]:
        # However many ask at once, one thread makes it; nobody who goes away stops it.
        if self._making is None or self._making.cancelled():
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._making)

    def _make(self) -> tuple[Mapping[str, Any], bytes]:
        schema = complete(self._app.openapi(), dict(_operations(self._app)))
        return schema, json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode()


def install(app: FastAPI) -> Description:
    """Have `app` answer what it says of itself, and name in `Allow` what it describes; return the description."""
    description = Description(app)

    async def document(_: Request) -> Response:
        return Response(await description.encoded(), media_type="application/json")

    def refused(request: Request, headers: Mapping[str, str]) -> JSONResponse:
        detail = f"not {request.method} here"
        problem = Problem(title="method not allowed", status=405, detail=detail, code="method_not_allowed")
        return answer(problem, headers)

    async def wrong_method(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        allowed = ", ".join(methods_of(app, request.url.path))
        return refused(request, {"Allow": allowed} if allowed else dict(error.headers or {}))

    invalid = app.exception_handlers[RequestValidationError]

    async def not_valid(request: Request, error: Exception) -> Response:
        # `GET /lists/look` is asked of `/lists/{list}`, where "look" is no list: what is wrong is the method.
        allowed = methods_of(app, request.url.path)
        if allowed and request.method not in allowed:
            return refused(request, {"Allow": ", ".join(allowed)})
        answered = invalid(request, error)
        return answered if isinstance(answered, Response) else await answered

    app.add_route(SOURCE, document, include_in_schema=False)
    app.add_exception_handler(405, wrong_method)
    app.add_exception_handler(RequestValidationError, not_valid)
    return description


def complete(schema: dict[str, Any], operations: Mapping[tuple[str, str], Operation]) -> dict[str, Any]:
    """Say of each route of `schema` who may ask it and what may go wrong; `operations` by method and path."""
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in _FASTAPI_S_OWN:
        schemas.pop(name, None)
    cookie = {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "The session of somebody signed in."}
    schemes = schema["components"].setdefault("securitySchemes", {})
    schemes[_SESSION] = cookie
    # OpenAPI 3.1, 4.8.27: the connection itself proves who asks.
    schemes[_CERTIFICATE] = {"type": "mutualTLS", "description": "A certificate that is bound to a system's account."}
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method in item:
                takes = _taken(method, item[method])
                _complete_route(item[method], operations.get((method.upper(), path)), takes)
    return schema


def methods_of(app: FastAPI, path: str) -> list[str]:
    """Return the methods that are described for a path, in order; from the routes, as refusing has to be quick.

    Where one is described word for word, what a name in its place would take is none of its own: `/lists/look` is no
    `/lists/{list}`.
    """
    found: dict[str, set[str]] = {}
    for context in iter_route_contexts(app.routes):
        described, route = str(context.path_format), context.original_route
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        if _shape(described).fullmatch(path):
            found.setdefault(described, set()).update(context.methods or ())
    return sorted(found.get(path) or set().union(*found.values()))


@cache
def _shape(described: str) -> re.Pattern[str]:
    """Return which paths a description is about."""
    return re.compile(_NAME.sub("[^/]+", described))


def _taken(method: str, route: Mapping[str, Any]) -> list[int]:
    """Return what may be wrong with what a route takes."""
    found = [422] if route.get("parameters") or "requestBody" in route else []
    if method in _WRITES:
        found += _WITH_BODY
        # A form, which the route reads by itself.
        found += [] if "requestBody" in route else [415, 422]
    # Whatever has to be named may not be there.
    names_something = any(one.get("required") and one["in"] in {"path", "query"} for one in route.get("parameters", ()))
    return [*found, 404] if names_something else found


def _complete_route(route: dict[str, Any], operation: Operation | None, statuses: list[int]) -> None:
    if operation is not None:
        statuses = [*statuses, *_GUARDED]
        route["x-scope"] = operation.scope
        route["x-roles"] = sorted(operation.roles)
        systems: list[dict[str, list[str]]] = []
        if operation.scope is not None:
            # Either is enough; whoever has both is asked whether they belong together.
            systems = [*route.get("security", []), {_CERTIFICATE: []}]
        people: list[dict[str, list[str]]] = [{_SESSION: []}] if operation.roles else []
        route["security"] = systems + people
    for status, problem in documented(*statuses).items():
        described = route["responses"].setdefault(str(status), problem)
        # What FastAPI describes by itself are its own errors, which are never sent.
        if any(name in str(described) for name in _FASTAPI_S_OWN) or "content" not in described:
            route["responses"][str(status)] = problem


def _operations(app: FastAPI) -> Iterator[tuple[tuple[str, str], Operation]]:
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute):
            continue
        for name in _named(route.dependant):
            for method in context.methods or ():
                yield (method, str(context.path_format)), OPERATIONS[name]


def _named(dependant: Dependant) -> Iterator[str]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Asked):
            yield inner.call.operation
        yield from _named(inner)
