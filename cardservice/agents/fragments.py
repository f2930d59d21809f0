# SPDX-License-Identifier: EUPL-1.2
"""Messages that come in several frames (RFC 6455 §5.4), put together within limits; both sides of the wire do."""

from typing import Final

from picows import WSCloseCode

MAX_FRAGMENTS: Final = 64


class FragmentRefused(Exception):
    """No message comes of these frames; `code` is what the connection ends with."""

    def __init__(self, code: WSCloseCode) -> None:
        super().__init__(f"fragments refused: {code.name.lower()}")
        self.code = code


class Fragments:
    """The frames of the message that is under way."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether no message is under way."""
        return not self._parts

    def add(self, part: bytes, *, is_first: bool, is_last: bool, longest: int) -> bytes | None:
        """Take one frame; return the whole message with its last one. `longest`: of a message, in bytes.

        Raises:
            FragmentRefused: a frame out of its order, too many of them, or too long together.
        """
        if is_first != self.is_empty:
            raise FragmentRefused(WSCloseCode.PROTOCOL_ERROR)
        self._parts.append(part)
        self._bytes += len(part)
        if self._bytes > longest or len(self._parts) > MAX_FRAGMENTS:
            raise FragmentRefused(WSCloseCode.MESSAGE_TOO_BIG)
        if not is_last:
            return None
        whole, self._parts, self._bytes = b"".join(self._parts), [], 0
        return whole
