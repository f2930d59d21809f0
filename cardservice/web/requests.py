# SPDX-License-Identifier: EUPL-1.2
"""What the requests of every place's API have in common: codes in the path, the key of a write, the body."""

from typing import Annotated, Final

from fastapi import Header
from pydantic import BaseModel, ConfigDict

from cardservice.web.problems import documented

# Of a point or a zone.
CODE_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description=(
            "Made by the caller and stored before the request is sent; the same key acts once, however often it comes."
        ),
    ),
]
PROBLEMS: Final = documented(401, 403, 404, 409, 422, 429, 503)


class Body(BaseModel):
    """What a caller sends: nothing that is not asked for, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)
