# SPDX-License-Identifier: EUPL-1.2
"""What this agent has unlocked and not locked again, in a small file that outlives it.

Written before a session is unlocked, removed after it has said that it is locked: an agent that was killed in between
finds it at its next start. No name is in it, only a salted hash by which a holder who is still there is recognised. It
need not survive a power cut, which ends the sessions too.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

import structlog

from cardservice.doors.ports import OutputFault

_log = structlog.get_logger("readers.unlocked")

_SALT_BYTES = 16
_MAX_FILE_BYTES = 64 * 1024
_MAX_POINTS = 64


class UnlockedNotes:
    """The notes of one agent; `found` is what an agent before this one left, until it is settled.

    A file that cannot be understood counts as found: something may be open, and nobody knows whose.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._salt = secrets.token_bytes(_SALT_BYTES)
        self._open: dict[str, str] = {}
        self._found: frozenset[str] = frozenset()
        self._found_salt = b""
        self.found = file.exists()
        if self.found:
            self._read()

    def is_found_of(self, user: str) -> bool:
        """Tell whether all that was found is the session of `user`."""
        return self.found and self._found == {_hash(self._found_salt, user)}

    def note(self, point: str, user: str) -> None:
        """Write down that the session of `user` is about to be unlocked at `point`.

        Raises:
            OutputFault: it cannot be written, so nothing may be unlocked.
        """
        before = dict(self._open)
        self._open[point] = _hash(self._salt, user)
        try:
            self._write()
        except OSError as error:
            self._open = before
            raise OutputFault(f"{self._file.name} cannot be written: {error.strerror}") from error

    def settle(self, point: str) -> None:
        """Forget what `point` noted and what was found, because both are locked. Never raises."""
        self._open.pop(point, None)
        self.settle_found()

    def settle_found(self) -> None:
        """Forget what was found: it is locked, or its holder's card is there. Never raises."""
        self.found, self._found = False, frozenset()
        try:
            self._write()
        except OSError as error:
            # It then says too much, and the next start locks once more than needed.
            _log.error("unlocked_not_settled", reason=error.strerror)

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            with self._file.open("rb") as stream:
                content = json.loads(stream.read(_MAX_FILE_BYTES))
            self._found_salt = bytes.fromhex(content["salt"])
            self._found = frozenset(str(mark) for mark in list(content["open"].values())[:_MAX_POINTS])

    def _write(self) -> None:
        """Replace the file whole; without anything open there is none. What was found stays in it until settled."""
        if not self._open and not self.found:
            self._file.unlink(missing_ok=True)
            return
        content = {"salt": self._salt.hex(), "open": self._open}
        if self.found:
            # Under a salt that is gone these can only be told apart, which is enough to lock.
            content["open"] = {**{f"found {number}": mark for number, mark in enumerate(self._found)}, **self._open}
        new = self._file.with_name(f"{self._file.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump(content, stream)
        new.replace(self._file)


def _hash(salt: bytes, user: str) -> str:
    return hmac.new(salt, user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
