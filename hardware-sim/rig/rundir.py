# SPDX-License-Identifier: EUPL-1.2
"""The rig's own folder: private, used by one rig at a time, empty again afterwards."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from rig.errors import RunDirError

MAX_SOCKET_PATH_BYTES = 107
"""Room for a path in sockaddr_un (unix(7))."""


class RunDir:
    """A folder of mode 0700, locked while in use; as a context manager it cleans up at the end.

    Raises:
        RunDirError: it cannot be made, belongs to or is open to others, its name is too long, or a rig uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.control = self.path / "control"
        self.pcsc = self.path / "pcsc"
        self.pcsc_socket = self.pcsc / "pcscd.comm"
        if len(os.fsencode(self.pcsc_socket)) > MAX_SOCKET_PATH_BYTES:
            raise RunDirError(f"{self.pcsc_socket} is longer than the {MAX_SOCKET_PATH_BYTES} bytes a socket takes")
        try:
            self._made = self._make()
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise RunDirError(f"{self.path} cannot be used: {error.strerror}") from error
        try:
            self._check_and_lock()
        except RunDirError:
            os.close(self._lock)
            raise
        self._remove_contents()
        self.pcsc.mkdir(mode=0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove_contents()
        if self._made:
            with contextlib.suppress(OSError):
                self.path.rmdir()
        os.close(self._lock)

    def _make(self) -> bool:
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            return False
        return True

    def _check_and_lock(self) -> None:
        status = os.fstat(self._lock)
        if status.st_uid != os.geteuid():
            raise RunDirError(f"{self.path} belongs to another user")
        if status.st_mode & 0o077:
            raise RunDirError(f"{self.path} is open to others; its mode must be 0700")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunDirError(f"another rig uses {self.path}") from error

    def _remove_contents(self) -> None:
        """Remove what a rig makes, also what one killed earlier has left; foreign files stay."""
        self.control.unlink(missing_ok=True)
        for name in ("pcsc", "conf", "ifd"):
            shutil.rmtree(self.path / name, ignore_errors=True)
