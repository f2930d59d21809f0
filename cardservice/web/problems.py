# SPDX-License-Identifier: EUPL-1.2
"""Errors as `application/problem+json` (RFC 9457), with a stable `code` each."""

from collections.abc import Mapping
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cardservice.errors import (
    AgentAway,
    AgentSilent,
    CardServiceError,
    Conflict,
    DatabaseUnavailable,
    NotFound,
    Overloaded,
)

MEDIA_TYPE: Final = "application/problem+json"
_MAX_FAULTS: Final = 10
_log = structlog.get_logger()

# The first that fits counts.
_STATUS: Final[tuple[tuple[type[CardServiceError], int, str], ...]] = (
    (NotFound, 404, "not_found"),
    (Conflict, 409, "conflict"),
    (Overloaded, 503, "overloaded"),
    (DatabaseUnavailable, 503, "store_unavailable"),
    (AgentAway, 503, "agent_away"),
    (AgentSilent, 504, "agent_silent"),
)
_CODES: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "not_authenticated",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "changed_meanwhile",
    413: "too_long",
    415: "wrong_media_type",
    422: "invalid",
    428: "match_needed",
    429: "too_many",
    503: "unavailable",
    504: "agent_silent",
}


class Problem(BaseModel):
    """What went wrong, as RFC 9457 section 3 says it; `code` is for programs, `detail` for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    faults: list[str] = Field(default_factory=list)


class ApiProblem(Exception):
    """A refusal that an API answers with; `code` is part of its contract, after `retry_after_s` it may be over."""

    def __init__(self, status: int, code: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these problems."""
    return {
        status: {"description": _CODES[status].replace("_", " "), "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
        for status in statuses
    }


_SCHEMA: Final = Problem.model_json_schema()


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the response that says `problem`."""
    return JSONResponse(
        problem.model_dump(exclude_defaults=False), problem.status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    app.add_exception_handler(ApiProblem, refusal)
    app.add_exception_handler(CardServiceError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


async def refusal(_: Request, error: Exception) -> JSONResponse:
    """Answer an `ApiProblem` as what it is."""
    if not isinstance(error, ApiProblem):
        raise error
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return answer(
        Problem(title=error.code.replace("_", " "), status=error.status, detail=str(error), code=error.code), headers
    )


async def _ours(request: Request, error: Exception) -> JSONResponse:
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, Overloaded) else None
            # What a database says of itself is for its administrator.
            hidden = isinstance(error, DatabaseUnavailable)
            detail = "the record cannot be written at the moment" if hidden else str(error)
            named = error.code or code
            return answer(Problem(title=named.replace("_", " "), status=status, detail=detail, code=named), headers)
    return await _unexpected(request, error)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    # The route's template: what was filled into it may be a name.
    _log.error("api.failed", route=getattr(request.scope.get("route"), "path", ""), error=type(error).__name__)
    return answer(Problem(title="internal error", status=500, detail="the service failed", code="internal"))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()[:_MAX_FAULTS]
    ]
    return answer(
        Problem(
            title="invalid", status=422, detail="the request is not valid; see faults", code="invalid", faults=faults
        )
    )


async def _gone(_: Request, __: Exception) -> JSONResponse:
    """Nobody is left to read it: whoever asked went away before all of it had come."""
    return answer(Problem(title="bad request", status=400, detail="the request broke off", code="bad_request"))


async def _http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, "error")
    return answer(
        Problem(title=code.replace("_", " "), status=error.status_code, detail=str(error.detail), code=code),
        error.headers,
    )
