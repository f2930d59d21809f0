# SPDX-License-Identifier: EUPL-1.2
"""What the pages of cards' lives read out of forms, and where they send somebody next."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from cardservice.cards.pages import KEY, PATH
from cardservice.web.login_paths import CONFIRM
from cardservice.web.problems import ApiProblem
from cardservice.web.session import SignedIn

SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page shows it."}}


def key_of(form: Mapping[str, str]) -> str:
    """Return what makes a form that is sent twice one change.

    Raises:
        ApiProblem: 422, it is none of ours.
    """
    key = form.get("key", "")
    if KEY.fullmatch(key) is None:
        raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
    return key


def require_sure(form: Mapping[str, str]) -> None:
    """Refuse what is for good unless whoever asks has said that they mean it.

    Raises:
        ApiProblem: 422.
    """
    if form.get("sure") != "1":
        raise ApiProblem(422, "invalid", "sure: say that it is for good, as the question before asks; allowed is 1")


def confirm_first(request: Request, path: str) -> Response | None:
    """Return the way to type one's password again and back to `path`, None if that was done a moment ago.

    A question is asked only of somebody whose answer will be taken.
    """
    signed_in = getattr(request.state, "signed_in", None)
    if isinstance(signed_in, SignedIn) and not signed_in.confirmed:
        return see_other(f"{CONFIRM}?next={quote(path, safe='')}")
    return None


def back_to(person: int) -> Response:
    """Return the way to the page of a person."""
    return see_other(f"{PATH}/{person}")


def see_other(path: str) -> Response:
    """Return the way to a page, which nobody keeps."""
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})
