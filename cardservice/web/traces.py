# SPDX-License-Identifier: EUPL-1.2
"""What is kept of every change that is asked for: who, what, why, under which request. What keeps it is a port."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import Request

MAX_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class Trace:
    """A change that is about to be made.

    `account` is the name of a system, None for a person; `person` and `login` are of a person.
    """

    operation: str
    request: str
    account: str | None
    person: int | None
    login: str | None
    reason: str | None


# Has the trace on disk when it returns. Raises DatabaseUnavailable or Overloaded: then nothing is changed.
KeepTrace = Callable[[Trace], Awaitable[None]]


async def reason_of(request: Request) -> str | None:
    """Return the reason that the body of a change names, None if it names none that could be kept."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            body = json.loads(await request.body() or b"null")
        except (ValueError, RecursionError):
            return None
        found = body.get("reason") if isinstance(body, dict) else None
    elif kind == "application/x-www-form-urlencoded":
        found = (await request.form()).get("reason")
    else:
        return None
    if not isinstance(found, str) or not found.strip() or len(found) > MAX_REASON or not found.isprintable():
        return None
    return found
