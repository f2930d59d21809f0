# SPDX-License-Identifier: EUPL-1.2
"""Random JSON that a schema allows, mostly at the edges of what it allows.

Made from the schema of the wire itself, so a message added tomorrow is tried tomorrow.
"""

import random
import re
from collections.abc import Callable, Mapping
from re import _constants as parts  # type: ignore[attr-defined]  # sre's own, the only parser of patterns there is
from re import _parser as patterns  # type: ignore[attr-defined]
from typing import Any

ALPHABETS = (
    "abcdefghij 0123456789",
    "äöüßéñçİıſ",
    "\x00\x01\x07\x1b\x7f\r\n\t\"'\\/<>&%{}[]",
    "\u200b\u202e\u2066\ufeff\ufffd\U0001f6aa\U0010ffff",
)
EDGES = (-(2**63), -1, 0, 1, 2, 63, 64, 255, 256, 2**31, 2**32, 2**53 - 1, 2**53, 2**63, 2**64)
MANY = 8


def text(dice: random.Random, least: int, most: int) -> str:
    """Text of an edge length or a small one, of letters, controls or whatever Unicode has."""
    length = dice.choice((least, most, min(most, least + 1), dice.randint(least, min(most, least + 40))))
    return "".join(dice.choices(dice.choice(ALPHABETS), k=length))


def matching(dice: random.Random, pattern: str) -> str:
    """Text that `pattern` matches."""
    return "".join(_piece(dice, operation, argument) for operation, argument in patterns.parse(pattern))


def _piece(dice: random.Random, operation: Any, argument: Any) -> str:
    if operation is parts.LITERAL:
        return chr(argument)
    if operation is parts.IN:
        kind, found = dice.choice(argument)
        return chr(found if kind is parts.LITERAL else dice.randint(*found))
    if operation is parts.MAX_REPEAT:
        least, most, inner = argument
        most = min(int(most), 200)
        count = dice.choice((least, most, dice.randint(least, most)))
        return "".join(_piece(dice, *one) for _ in range(count) for one in inner)
    if operation is parts.SUBPATTERN:
        return "".join(_piece(dice, *one) for one in argument[-1])
    assert operation is parts.AT, f"{operation} is in no pattern of the wire"
    return ""


class Sampler:
    """Makes values of one schema (JSON Schema as pydantic writes it)."""

    def __init__(self, schema: Mapping[str, Any], dice: random.Random) -> None:
        self._schema = schema
        self._dice = dice

    def value(self, schema: Mapping[str, Any] | None = None) -> Any:
        """Return a value that `schema`, or the whole one, allows."""
        schema = self._schema if schema is None else schema
        if "$ref" in schema:
            return self.value(self._schema["$defs"][schema["$ref"].rpartition("/")[2]])
        if "const" in schema:
            return schema["const"]
        for several in ("enum", "oneOf", "anyOf"):
            if several in schema:
                chosen = self._dice.choice(schema[several])
                return chosen if several == "enum" else self.value(chosen)
        makers: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "boolean": lambda _: self._dice.random() < 0.5,
            "null": lambda _: None,
        }
        return makers[schema["type"]](schema)

    def message(self, kind: str) -> dict[str, Any]:
        """Return a message of the type `kind` of the union that the schema is of."""
        reference = self._schema["discriminator"]["mapping"][kind]
        made: dict[str, Any] = self.value({"$ref": reference})
        return made

    @property
    def kinds(self) -> tuple[str, ...]:
        """The types of message that the schema knows."""
        return tuple(self._schema["discriminator"]["mapping"])

    def _object(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        required = schema.get("required", ())
        made = {
            name: self.value(inner)
            for name, inner in schema.get("properties", {}).items()
            if name in required or name in {"type", "v"} or self._dice.random() < 0.6
        }
        for pattern, inner in schema.get("patternProperties", {}).items():
            for _ in range(self._dice.randint(0, schema.get("maxProperties", MANY))):
                made[matching(self._dice, pattern)] = self.value(inner)
        return made

    def _array(self, schema: Mapping[str, Any]) -> list[Any]:
        if "prefixItems" in schema:
            return [self.value(inner) for inner in schema["prefixItems"]]
        least, most = schema.get("minItems", 0), schema.get("maxItems", MANY)
        count = self._dice.choice((least, min(most, least + 1), self._dice.randint(least, min(most, MANY)), most))
        return [self.value(schema["items"]) for _ in range(count)]

    def _string(self, schema: Mapping[str, Any]) -> str:
        most = schema.get("maxLength", 200)
        if "pattern" not in schema:
            return text(self._dice, schema.get("minLength", 0), most)
        made = matching(self._dice, schema["pattern"])
        assert re.match(schema["pattern"], made), f"{schema['pattern']} is not understood here"
        return made[:most]

    def _integer(self, schema: Mapping[str, Any]) -> int:
        least = schema.get("minimum", -(2**63))
        most = min(schema.get("maximum", 2**63), schema.get("exclusiveMaximum", 2**63 + 1) - 1)
        inside = [edge for edge in EDGES if least <= edge <= most]
        return self._dice.choice([*inside, least, most, self._dice.randint(least, most)])
