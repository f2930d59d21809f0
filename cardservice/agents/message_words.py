# SPDX-License-Identifier: EUPL-1.2
"""What the messages of `agents.messages` are made of: kinds of fields with their bounds, and what every message has."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_BATCH = 8

AgentId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
PointCode = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Epoch = Annotated[int, Field(ge=1, lt=2**53)]
Sequence = Annotated[int, Field(ge=1, lt=2**53)]
InstantMs = Annotated[int, Field(ge=0, lt=2**53)]
DurationUs = Annotated[int, Field(ge=0, lt=2**53)]
ApduHex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$", max_length=2 * 65_544)]
Token = Annotated[str, Field(pattern=r"^[0-9a-f]{1,128}$")]
ShortText = Annotated[str, Field(max_length=200)]
PinDigits = Annotated[str, Field(pattern=r"^[0-9]{4,12}$")]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
# What one place of use says to the other end of the wire besides the tap itself: few, flat, named by the place.
Facts = Annotated[dict[Word, int | bool | ShortText], Field(max_length=24)]


class Message(BaseModel):
    """What every message has: the major version of the protocol."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1
