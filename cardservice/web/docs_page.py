# SPDX-License-Identifier: EUPL-1.2
"""`/docs`: the API as a page, made here from `/openapi.json`; it needs no script and nothing from elsewhere."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from cardservice.web.described import METHODS, SOURCE, Description
from cardservice.web.i18n import Language, marked
from cardservice.web.pages import PageLanguage, Pages

PATH: Final = "/docs"
MAX_DEPTH: Final = 6
TEXTS: Final[Mapping[str, str]] = {
    "title": marked("The interface"),
    "hint": marked("Every route of this service, for whoever connects another system; the same for programs:"),
    "systems": marked("Systems with"),
    "people": marked("People who are"),
    "anybody": marked("Anybody"),
    "parameter": marked("Parameter"),
    "where": marked("Where"),
    "needed": marked("Needed"),
    "kind": marked("Kind"),
    "meaning": marked("Meaning"),
    "yes": marked("yes"),
    "no": marked("no"),
    "body": marked("Body"),
    "answers": marked("Answers"),
    "example": marked("Example"),
    "contents": marked("Contents"),
}
_PLAIN: Final[Mapping[str, Any]] = {"string": "text", "integer": 1, "number": 1.0, "boolean": True, "null": None}


@dataclass(frozen=True, slots=True)
class Shown:
    """One route as the page shows it."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    scope: str | None
    roles: tuple[str, ...]
    parameters: tuple[Mapping[str, str], ...]
    body: str | None
    answers: tuple[tuple[str, str], ...]
    example: str | None

    @property
    def anybody(self) -> bool:
        """Whether nobody has to say who they are."""
        return self.scope is None and not self.roles


def docs_page(description: Description, pages: Pages) -> APIRouter:
    """Return the page's route. The page is long, so it is made once for each language, and in a thread."""
    router = APIRouter(default_response_class=HTMLResponse)
    made: dict[Language, HTMLResponse] = {}

    def make(described: Mapping[str, Any], language: Language) -> HTMLResponse:
        return pages.page("docs.html", language, TEXTS, groups=grouped(described), source=SOURCE)

    @router.get(PATH, summary="This description as a page", tags=["service"])
    async def docs(language: PageLanguage) -> HTMLResponse:
        if language not in made:
            made[language] = await asyncio.to_thread(make, await description.read(), language)
        page = made[language]
        return HTMLResponse(page.body, headers=dict(page.headers))

    return router


def grouped(description: Mapping[str, Any]) -> Mapping[str, list[Shown]]:
    """Return the routes by their subject, in the order of the description."""
    found: dict[str, list[Shown]] = {}
    for tag, one in _routes(description):
        found.setdefault(tag, []).append(one)
    return found


def _routes(description: Mapping[str, Any]) -> Iterator[tuple[str, Shown]]:
    schemas = description.get("components", {}).get("schemas", {})
    for path, item in description["paths"].items():
        for method in METHODS:
            if method in item:
                yield (item[method].get("tags") or ["service"])[0], _shown(method, path, item[method], schemas)


def _shown(method: str, path: str, route: Mapping[str, Any], schemas: Mapping[str, Any]) -> Shown:
    body = _schema_of(route.get("requestBody"))
    first = next((answer for status, answer in route["responses"].items() if status.startswith("2")), None)
    answer = _schema_of(first)
    return Shown(
        anchor=f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""),
        method=method.upper(),
        path=path,
        summary=route.get("summary", ""),
        description=route.get("description", ""),
        scope=route.get("x-scope"),
        roles=tuple(route.get("x-roles", ())),
        parameters=tuple(_parameter(one, schemas) for one in route.get("parameters", ())),
        body=None if body is None else _pretty(example_of(body, schemas)),
        answers=tuple((status, one.get("description", "")) for status, one in sorted(route["responses"].items())),
        example=None if not answer else _pretty(example_of(answer, schemas)),
    )


def _parameter(one: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, str]:
    schema = _resolved(one.get("schema", {}), schemas)
    kinds = [_resolved(part, schemas) for part in schema.get("anyOf", [schema])]
    words = [str(kind["type"]) for kind in kinds if kind.get("type") not in {None, "null"}]
    pattern = next((f" {kind['pattern']}" for kind in kinds if "pattern" in kind), "")
    return {
        "name": one["name"],
        "where": one["in"],
        "required": "yes" if one.get("required") else "no",
        "kind": ", ".join(words) + pattern,
        "description": one.get("description", ""),
    }


def _schema_of(part: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    content = (part or {}).get("content", {}).get("application/json", {})
    found: Mapping[str, Any] | None = content.get("schema")
    return found


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = schemas.get(name, {}) if name else schema
    return found


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value that a schema names or allows; what lies too deep is left out."""
    schema = _resolved(schema, schemas)
    if depth > MAX_DEPTH:
        return None
    named = [*schema.get("examples", ()), *schema.get("enum", ())]
    named += [schema[word] for word in ("const", "default") if word in schema]
    if named:
        return named[0]
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    return example_of(choices[0], schemas, depth + 1) if choices else _made_up(schema, schemas, depth + 1)


def _made_up(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    if "properties" in schema:
        return {name: example_of(part, schemas, depth) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [example_of(schema.get("items", {}), schemas, depth)]
    return _PLAIN.get(str(schema.get("type")), {})


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
