# SPDX-License-Identifier: EUPL-1.2
"""Between the service and the process that signs: one question and one answer for each connection of a UNIX socket.

A frame is a length of four bytes (big-endian) and as many bytes of JSON. Who may connect is said by the socket's file
mode.
"""

import socket
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cardservice.errors import CardServiceError

# A revocation list of a hundred thousand certificates, in hexadecimal.
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
_LENGTH_BYTES: Final = 4


class FrameRefused(CardServiceError):
    """What came is no question or answer of this protocol, or the other side went away in the middle of it."""

    code = "signer_frame"


class Question(BaseModel):
    """The public half of an authority's key, a new key, or a signature over `data` (hexadecimal)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Literal["public_key", "make", "sign"]
    authority: Annotated[str, Field(pattern=r"^logon-[1-9][0-9]{0,2}$")]
    data: Annotated[str | None, Field(pattern=r"^([0-9a-f]{2})+$", repr=False)] = None

    @model_validator(mode="after")
    def _signs_something(self) -> Self:
        if (self.do == "sign") != (self.data is not None):
            raise ValueError("data belongs to sign, and to nothing else")
        return self


class Answer(BaseModel):
    """What was asked for (hexadecimal), or why not: it is `refused` for good, or there is `trouble` that may pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    result: Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$", max_length=4_096)] | None = None
    refused: Annotated[str, Field(max_length=1_000)] | None = None
    trouble: Annotated[str, Field(max_length=1_000)] | None = None


def send(connection: socket.socket, message: BaseModel) -> None:
    """Send a question or an answer. Raises OSError."""
    content = message.model_dump_json(exclude_none=True).encode()
    connection.sendall(len(content).to_bytes(_LENGTH_BYTES) + content)


def receive_question(connection: socket.socket) -> Question:
    """Return what the service asks. Raises FrameRefused, OSError."""
    try:
        return Question.model_validate_json(_frame(connection))
    except ValidationError:
        raise FrameRefused("what came is no question") from None


def receive_answer(connection: socket.socket) -> Answer:
    """Return what the signer answers. Raises FrameRefused, OSError."""
    try:
        return Answer.model_validate_json(_frame(connection))
    except ValidationError:
        raise FrameRefused("what came is no answer") from None


def _frame(connection: socket.socket) -> bytes:
    length = int.from_bytes(_exactly(connection, _LENGTH_BYTES))
    if length > MAX_FRAME_BYTES:
        raise FrameRefused(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are taken")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts: list[bytes] = []
    left = length
    while left:
        part = connection.recv(min(left, 65_536))
        if not part:
            raise FrameRefused("the other side went away in the middle of a frame")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
