# SPDX-License-Identifier: EUPL-1.2
"""A file layer below SQLite: it writes down whatever is done to the files of one folder, and can make it fail.

The files are real and used as ever; beside them stands the list of steps (written, resized, flushed, made, removed), of
which `disk_image` makes what a disk could hold after a power cut. A `Fault` lets the n-th operation fail as a full or a
broken disk does.
"""

import random
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw


@dataclass(frozen=True, slots=True)
class Written:
    """These bytes were handed to the operating system."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    """The file was cut, or made longer, to this size."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Flushed:
    """The file was flushed, and its folder with it; or the disk said that this did not work."""

    file: int
    folder: bool
    worked: bool


@dataclass(frozen=True, slots=True)
class Made:
    """The folder has a new file of this name."""

    name: str
    file: int


@dataclass(frozen=True, slots=True)
class Removed:
    """The folder has no file of this name any more; `flushed` if the folder was flushed at once."""

    name: str
    flushed: bool


Step = Written | Resized | Flushed | Made | Removed


@dataclass(frozen=True, slots=True)
class Fault:
    """The n-th operation from now on fails, and all later ones if it is `lasting`; `of` says which ones are counted.

    A `full` disk writes a part of what it was given, then refuses; a `broken` one answers with an input/output error.
    Neither can be flushed while it fails.
    """

    kind: Literal["full", "broken"]
    nth: int
    lasting: bool = False
    of: Literal["operations", "flushes"] = "operations"


class Disk:
    """The disk below one folder. What `folder` holds when this is made counts as flushed long ago."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder = folder
        self.dice = dice
        self.steps: list[Step] = []
        self.operations = 0
        self.struck = 0
        self.fault: Fault | None = None
        self._counted = 0
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}
        self._count = 0
        self.before = {file.name: (self._new(file.name), file.read_bytes()) for file in sorted(folder.iterdir())}
        self.vfs = _Layer(f"faults-{id(self)}", self)

    def strike(self, fault: Fault) -> None:
        """Let `fault` come."""
        self.fault, self._counted = fault, 0

    def lift(self) -> None:
        """From now on everything works again."""
        self.fault = None

    def close(self) -> None:
        """Take the layer away; every connection on it is closed by then."""
        self.vfs.unregister()

    def opened(self, path: str) -> int:
        """Return the number of the file at `path`; one that was not there before is a step."""
        name = Path(path).name
        with self._lock:
            number = self._files.get(name)
            if number is None:
                number = self._new(name)
                self.steps.append(Made(name, number))
            return number

    def note(self, step: Step) -> None:
        """Write down a step that was done."""
        with self._lock:
            if isinstance(step, Removed):
                self._files.pop(step.name, None)
            self.steps.append(step)

    def strikes(self, *, flush: bool = False) -> Fault | None:
        """Count one operation; return the fault if it is to fail."""
        with self._lock:
            self.operations += 1
            fault = self.fault
            if fault is None:
                return None
            counts = flush or fault.of == "operations"
            self._counted += counts
            is_due = counts and self._counted == fault.nth
            if not is_due and not (fault.lasting and self._counted >= fault.nth):
                return None
            self.struck += 1
            return fault

    def _new(self, name: str) -> int:
        self._count += 1
        self._files[name] = self._count
        return self._count


class _Layer(apsw.VFS):
    """The operating system's own files, seen through a `Disk`."""

    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, "")
        self.name = name
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is None:
            # A temporary file nobody looks for after a power cut.
            return super().xOpen(name, flags)
        return _LoggedFile(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self._disk.note(Removed(Path(filename).name, syncdir))


class _LoggedFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        path = name if isinstance(name, str) else name.filename()
        self._file = disk.opened(path)
        # As SQLite's own layer for POSIX does: the first flush of a journal flushes its folder too, others never do.
        beside = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
        self._flushes_folder = bool(flags[0] & beside)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        fault = self._disk.strikes()
        kept = bytes(data)
        if fault is not None:
            kept = kept[: self._disk.dice.randrange(len(kept))]
        if kept:
            super().xWrite(kept, offset)
            self._disk.note(Written(self._file, offset, kept))
        if fault is not None:
            raise apsw.FullError if fault.kind == "full" else apsw.IOError

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        fault = self._disk.strikes()
        if fault is not None and fault.kind == "broken":
            raise apsw.IOError
        super().xTruncate(newsize)
        self._disk.note(Resized(self._file, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        # The real file need not be flushed: the disk that loses its power is the list of steps.
        worked = self._disk.strikes(flush=True) is None
        self._disk.note(Flushed(self._file, self._flushes_folder, worked))
        if not worked:
            raise apsw.IOError
        self._flushes_folder = False
