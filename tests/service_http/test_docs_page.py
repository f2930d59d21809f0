# SPDX-License-Identifier: EUPL-1.2
"""The page that describes the interface: all of it, offline, for anybody."""

import re

import httpx2
import pytest

from cardservice.web.described import METHODS
from cardservice.web.docs_page import example_of


def test_every_route_is_on_it_in_both_languages(city):
    """With who may ask, what it takes and what it answers; nothing is fetched from elsewhere."""
    description = httpx2.get(f"{city.service.url}/openapi.json", timeout=60).json()
    routes = [
        (method.upper(), path) for path, item in description["paths"].items() for method in METHODS if method in item
    ]
    assert len(routes) > 40
    for language, words in (("de", "Systeme mit"), ("en", "Systems with")):
        page = httpx2.get(f"{city.service.url}/docs", params={"lang": language}, timeout=60)
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for method, path in routes:
            assert f"<strong>{method}</strong> <code>{path}</code>" in page.text
        assert words in page.text
        assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
        assert "<script>" not in page.text
    anchors = re.findall(r' id="([^"]+)"', page.text)
    assert len(anchors) == len(set(anchors))


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "examples": ["a.b"]}, "a.b"),
        ({"enum": ["x", "y"]}, "x"),
        ({"type": "integer", "default": 0}, 0),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"$ref": "#/components/schemas/One"}}, [{"name": "text"}]),
        ({}, {}),
    ],
)
def test_an_example_is_what_the_schema_names(schema: dict, example: object):
    """Its own example first, then what is allowed, then anything of its kind."""
    one = {"type": "object", "properties": {"name": {"type": "string"}}}
    assert example_of(schema, {"One": one}) == example


def test_a_schema_that_contains_itself_has_an_end():
    """A description cannot make the page endless."""
    loop = {"properties": {"next": {"$ref": "#/components/schemas/Loop"}}}
    assert example_of(loop, {"Loop": loop})["next"]
