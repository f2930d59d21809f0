# SPDX-License-Identifier: EUPL-1.2
"""Every route of the service with the operations it asks for, and requests that fit its path."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIRouter
from starlette.routing import Mount

from cardservice.web.gate import Asked

# What stands in a path; where any other word does, it is "1".
_WORDS = {
    "terminal": "kantine.kasse-1",
    "payment": "0" * 32,
    "door": "bauamt.aussen",
    "zone": "bauamt",
    "verdict": "keep",
}
_WORDS |= {"verdict": "keep"}
_NAME = re.compile(r"\{(\w+)(?::\w+)?\}")


@dataclass(frozen=True)
class RouteSeen:
    """One method of one path, and the operations its dependencies name."""

    method: str
    path: str
    operations: tuple[str, ...]

    @property
    def filled(self) -> str:
        """The path with a word for each parameter."""
        return _NAME.sub(lambda found: _WORDS.get(found[1], "1"), self.path)


def routes_of(app: FastAPI) -> list[RouteSeen]:
    """Return every route, however it was added."""
    return list(_routes(app.router, ""))


def _routes(router: Any, prefix: str) -> Iterator[RouteSeen]:
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if isinstance(inner, APIRouter):
            yield from _routes(inner, prefix)
        elif isinstance(route, APIRoute):
            operations = tuple(_operations(route.dependant))
            yield from (RouteSeen(method, prefix + route.path, operations) for method in sorted(route.methods))
        elif isinstance(route, Mount):
            yield RouteSeen("GET", prefix + route.path, ())
        else:
            yield RouteSeen("GET", prefix + str(getattr(route, "path", route)), ())


def _operations(dependant: Any) -> Iterator[str]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Asked):
            yield inner.call.operation
        yield from _operations(inner)
