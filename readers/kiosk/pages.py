# SPDX-License-Identifier: EUPL-1.2
"""The HTML of the kiosk pages, from the files beside this one; everything on them that changes comes by their feed."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

from readers.kiosk.screen import Screen

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"
_MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _template(name: str) -> Template:
    return Template((_HERE / "templates" / name).read_text("utf-8"))


_PAGE: Final = _template("terminal.html")
_KEYS: Final = _template("keys.html")
_KEY: Final = _template("key.html")
_LIST: Final = _template("list.html")
_ENTRY: Final = _template("entry.html")
# (media type, content) by name: read once, so that a request touches no disk and reaches no other file.
STATIC_FILES: Final[Mapping[str, tuple[str, bytes]]] = {
    path.name: (_MEDIA_TYPES[path.suffix], path.read_bytes())
    for path in STATIC.iterdir()
    if path.suffix in _MEDIA_TYPES
}


def terminal_page(point: str, screen: Screen, version: str) -> str:
    """Return the page of one terminal: the frame, and in it what its use has declared."""
    face = screen.face
    own = face.spoken()[screen.language]
    keys = "".join(_KEY.substitute(key=key, label=html.escape(own[key])) for key in face.keys)
    return _PAGE.substitute(
        language=screen.language,
        point=html.escape(point),
        use=screen.use,
        version=html.escape(version),
        name=html.escape(screen.name),
        # A closing tag inside a text must not end the block.
        face=json.dumps(face.document(), ensure_ascii=False).replace("<", "\\u003c"),
        clock="" if face.has_clock else " hidden",
        keys=_KEYS.substitute(keys=keys, label=html.escape(own["keys"])) if keys else "",
    )


def list_page(names: Mapping[str, str]) -> str:
    """Return the page that leads to every terminal of this agent; it looks again by itself."""
    entries = "".join(
        _ENTRY.substitute(point=html.escape(point), name=html.escape(name)) for point, name in names.items()
    )
    return _LIST.substitute(entries=entries, some="some" if names else "none")
