# SPDX-License-Identifier: EUPL-1.2
"""Where a person is sent: to the sign-in page, and from there back to where they wanted to go, never elsewhere."""

import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from fastapi import Request

from cardservice.web.problems import ApiProblem

LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
CONFIRM: Final = "/confirm"
# To the provider that people may sign in at, and back.
OIDC: Final = "/login/oidc"
OIDC_BACK: Final = "/login/oidc/back"
OIDC_CONFIRM: Final = "/confirm/oidc"
# Where whoever did not want to go anywhere in particular gets.
HOME: Final = "/"
MAX_PATH: Final = 2_000
_ENTRANCES: Final = frozenset({LOGIN, LOGOUT, CONFIRM, OIDC, OIDC_BACK, OIDC_CONFIRM})
# Printable ASCII without the backslash, which browsers read as a slash; everything else an address has escaped.
_PLAIN: Final = re.compile(r"/[\x21-\x5b\x5d-\x7e]*")


class SignInNeeded(ApiProblem):
    """401 for a page: the browser is sent to the sign-in page and afterwards to `wanted`."""

    def __init__(self, wanted: str) -> None:
        super().__init__(401, "not_authenticated", "sign in first")
        self.wanted = wanted

    @property
    def location(self) -> str:
        """Where to send the browser."""
        return f"{LOGIN}?next={quote(self.wanted, safe='')}"


class ConfirmationNeeded(ApiProblem):
    """403 for a change: the password is to be confirmed first; a browser is sent there, and back to `page`."""

    def __init__(self, page: str) -> None:
        super().__init__(403, "confirmation_needed", f"confirm your password first, at {CONFIRM}")
        self.page = page

    @property
    def location(self) -> str:
        """Where to send the browser."""
        return f"{CONFIRM}?next={quote(self.page, safe='')}"


def local_path(text: str | None) -> str | None:
    """Return `text` if it is the path of a page of ours, with its query; None for every other address.

    What it says after unescaping is looked at too: a proxy on the way may do that.
    """
    if text is None or len(text) > MAX_PATH or not _PLAIN.fullmatch(text):
        return None
    unescaped = unquote(text, errors="replace")
    if any(_leads_away(one) for one in (text, unescaped, unquote(unescaped, errors="replace"))):
        return None
    return None if urlsplit(text).path in _ENTRANCES else text


def _leads_away(text: str) -> bool:
    path = text.partition("?")[0]
    return path.startswith("//") or "\\" in path or not path.isprintable()


def wants_page(request: Request) -> bool:
    """Tell whether a browser asks for a page to show, and no script for a part of one."""
    headers = request.headers
    return request.method == "GET" and "text/html" in headers.get("accept", "").lower() and "hx-request" not in headers


def wanted_path(request: Request) -> str:
    """Return the path and query of a request, `HOME` if nobody can be sent back there."""
    path: str = request.scope.get("raw_path", b"").decode("ascii", "replace")
    query: str = request.scope.get("query_string", b"").decode("ascii", "replace")
    return local_path(f"{path}?{query}" if query else path) or HOME


def page_of_form(request: Request) -> str:
    """Return the page of ours that a form was sent from, `HOME` if nobody can be sent back there."""
    came_from = urlsplit(request.headers.get("referer", "")[:MAX_PATH])
    if came_from.netloc != request.url.netloc:
        return HOME
    return local_path(f"{came_from.path}?{came_from.query}" if came_from.query else came_from.path) or HOME
