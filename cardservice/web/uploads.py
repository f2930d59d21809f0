# SPDX-License-Identifier: EUPL-1.2
"""A file that somebody sends by a form, with the form's other fields: kept in memory, never written anywhere.

How long it may be stands in `limits.py`, which is asked before any of it is read.
"""

from dataclasses import dataclass
from typing import Final

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cardservice.web.limits import LARGER_BODIES, MAX_BODY
from cardservice.web.problems import ApiProblem

MULTIPART: Final = "multipart/form-data"
MAX_FIELDS: Final = 8
_MAX_FIELD_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Upload:
    """The file of a form, None if none was chosen, and its other fields."""

    fields: dict[str, str]
    content: bytes | None


def is_upload(request: Request) -> bool:
    """Tell whether a request says that it is a form with a file."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MULTIPART


async def read_upload(request: Request) -> Upload:
    """Return the one file of a form; it may be read again.

    Raises:
        ApiProblem: 400 not a form that could be read, 415 not a form with a file.
    """
    known = getattr(request.state, "upload", None)
    if isinstance(known, Upload):
        return known
    if not is_upload(request):
        raise ApiProblem(415, "wrong_media_type", f"a form with a file is sent as {MULTIPART}")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=1, max_fields=MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
    )
    # Nothing of it reaches a disk: it never gets that long.
    parser.spool_max_size = LARGER_BODIES.get(request.url.path, MAX_BODY)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError):
        raise ApiProblem(400, "bad_request", "the form cannot be read") from None
    found = request.state.upload = await _taken(form.multi_items())
    return found


async def _taken(items: list[tuple[str, UploadFile | str]]) -> Upload:
    fields: dict[str, str] = {}
    content: bytes | None = None
    for name, value in items:
        if isinstance(value, str):
            fields[name] = value
        else:
            # A form whose file nobody chose sends one without a name.
            content = await value.read() if value.filename else None
            await value.close()
    return Upload(fields, content)
