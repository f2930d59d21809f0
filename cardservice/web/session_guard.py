# SPDX-License-Identifier: EUPL-1.2
"""What changes something comes from a page of ours: the browser says so, and the page knows the session's own token.

Both are asked for, so that neither an old browser nor a page of ours that shows foreign text is enough by itself.
"""

import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request
from starlette.datastructures import FormData

from cardservice.web.problems import ApiProblem
from cardservice.web.uploads import is_upload, read_upload

FIELD: Final = "form_token"
HEADER: Final = "x-form-token"
FORM: Final = "application/x-www-form-urlencoded"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_FORM_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 100


def form_token(session_token: str) -> str:
    """Return what the pages of one session send along; nobody can make it who does not know the session's token."""
    return hmac.new(session_token.encode(), b"cardservice form v1", hashlib.sha256).hexdigest()


def require_same_origin(request: Request) -> None:
    """Refuse a request that a page of somebody else's made (Fetch Metadata; of older browsers, the origin).

    Raises:
        ApiProblem: 403.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        own = site == "same-origin"
    else:
        # A proxy may speak TLS for us: the scheme is not compared, and a foreign page cannot choose the host.
        origin = urlsplit(request.headers.get("origin", ""))
        own = bool(origin.netloc) and origin.netloc.lower() == request.headers.get("host", "").lower()
    if not own:
        raise ApiProblem(403, "foreign_page", "this came from no page of this service")


def require_no_foreign_page(request: Request) -> None:
    """Refuse what a page of somebody else's had a browser send; programs say nothing of pages.

    Raises:
        ApiProblem: 403.
    """
    if "sec-fetch-site" in request.headers or "origin" in request.headers:
        require_same_origin(request)


async def require_form_token(request: Request, session_token: str) -> None:
    """Refuse a request without the session's token, in the header or as a form's field.

    Raises:
        ApiProblem: 403; 400, 413, 415 as `read_form`.
    """
    sent = request.headers.get(HEADER)
    if sent is None and is_upload(request):
        sent = (await read_upload(request)).fields.get(FIELD)
    if sent is None and request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        sent = (await read_form(request)).get(FIELD)
    if sent is None or not hmac.compare_digest(sent.encode(), form_token(session_token).encode()):
        raise ApiProblem(403, "form_token", "the page's token is missing or of another session; load the page again")


async def read_form(request: Request, max_bytes: int = MAX_FORM_BYTES) -> dict[str, str]:
    """Return the fields of a form, each once, in UTF-8.

    Raises:
        ApiProblem: 400 not a form that could be read, 413 too long, 415 not a form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise ApiProblem(415, "wrong_media_type", f"a form is sent as {FORM}")
    parsed = getattr(request, "_form", None)
    if isinstance(parsed, FormData):
        # The route's own parameters took it already.
        return {name: value for name, value in parsed.items() if isinstance(value, str)}
    body = await _bounded_body(request, max_bytes)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise ApiProblem(400, "bad_request", "the form cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ApiProblem(400, "bad_request", "a field of the form is there twice")
    return fields


async def _bounded_body(request: Request, max_bytes: int) -> bytes:
    """Return the body, never reading more than `max_bytes` of it; the route may read it again."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 12 or int(declared) > max_bytes:
        raise _too_long(max_bytes)
    known = getattr(request, "_body", None)
    if isinstance(known, bytes):
        return known
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > max_bytes:
            raise _too_long(max_bytes)
        parts.append(part)
    # Where the framework keeps a body that was read: a route that declares one finds it.
    body = request._body = b"".join(parts)  # noqa: SLF001
    return body


def _too_long(max_bytes: int) -> ApiProblem:
    return ApiProblem(413, "too_long", f"the form is longer than {max_bytes} bytes")
