# SPDX-License-Identifier: EUPL-1.2
"""Changes that rest on what somebody saw: ETag and If-Match (RFC 9110, 8.8.3 and 13.1.1).

An entity tag is a digest of what is shown; who changes it names the tag they saw, and nobody's change is lost.
"""

import hashlib
import json
from typing import Annotated, Any, Final

from fastapi import Header

from cardservice.web.problems import ApiProblem

_LENGTH: Final = 20
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=400,
        description='The ETag of what is changed, as it was read; "*" changes whatever stands there.',
    ),
]


def etag_of(shown: Any) -> str:
    """Return the strong entity tag of what JSON shows."""
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]}"'


def require_match(given: str | None, shown: Any) -> None:
    """Refuse a change that does not rest on what is there now.

    Raises:
        ApiProblem: 428 nothing was named (RFC 6585, 3), 412 something else is there now.
    """
    if given is None:
        raise ApiProblem(428, "match_needed", "name the ETag you saw: If-Match")
    named = [one.strip() for one in given.split(",")]
    if "*" not in named and etag_of(shown) not in named:
        raise ApiProblem(412, "changed_meanwhile", "somebody changed it meanwhile; read it again")
