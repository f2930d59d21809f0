# SPDX-License-Identifier: EUPL-1.2
"""What a form rests on: a short mark of each field as it was shown, so that a conflict can name what changed meanwhile.

Beside the ETag of the API because a form's address has no room for the whole entry, and an ETag cannot tell fields
apart. And the seal that says that an undo was offered by the page itself.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from cardservice.access.model.refusals import Fault, Refused
from cardservice.access.model.service import Check
from cardservice.errors import Conflict
from cardservice.web.i18n import marked

_MARK: Final = 8
GONE: Final = marked("It is gone: somebody removed it meanwhile.")


class ChangedMeanwhile(Conflict):
    """Somebody changed the entry since the form was shown; `now` is what it is, `fields` what of it is different."""

    def __init__(self, now: Mapping[str, Any], fields: tuple[str, ...]) -> None:
        super().__init__("somebody changed it meanwhile")
        self.now, self.fields = now, fields


def marks_of(shown: Mapping[str, Any]) -> str:
    """Return the marks of an entry's fields, for a form."""
    return "~".join(f"{name}.{_mark(value)}" for name, value in sorted(shown.items()))


def rests_on(marks: str, show: Callable[[Any], BaseModel]) -> Check:
    """Return what refuses a change of something else than was shown; of what is new there are no marks.

    It raises ChangedMeanwhile, or Refused where a new entry's code is taken or an old entry is gone.
    """

    def check(old: Any | None) -> None:
        if old is None:
            if marks:
                raise Refused(Fault(None, GONE))
            return
        if not marks:
            raise Refused(Fault("code", marked("This code is taken already.")))
        now = show(old).model_dump(mode="json")
        before = dict(one.partition(".")[::2] for one in marks.split("~"))
        different = tuple(name for name, value in now.items() if before.get(name) != _mark(value))
        if different or set(before) != set(now):
            raise ChangedMeanwhile(now, different)

    return check


def sealed(form_token: str, content: str) -> str:
    """Return the seal of what a page of this session offers to undo; no link from elsewhere has one."""
    return hmac.new(form_token.encode(), b"undo " + content.encode(), hashlib.sha256).hexdigest()[:32]


def is_sealed(form_token: str, content: str, seal: str) -> bool:
    """Tell whether a page of this session offered it."""
    return hmac.compare_digest(sealed(form_token, content).encode(), seal.encode())


def _mark(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_MARK]
