# SPDX-License-Identifier: EUPL-1.2
"""What a backup says of itself, and whether its files are what they were."""

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardservice.errors import BackupBroken, Conflict, NotFound

NAME: Final = "manifest.json"
MAX_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 1 << 20

# Tables of the state that do not come back: who was signed in then need not be any more.
FORGOTTEN: Final = frozenset({"web_session"})

Engine = Literal["sqlite", "postgresql"]
# Hears how many bytes more were done, and how many more there are to do, if that is known.
Progress = Callable[[int, int | None], None]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BackupFile(_Model):
    """One file of a backup."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z.-]{0,40}$")]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(_Model):
    """What a backup is: of which engine, from when, at which revisions, in which files."""

    format: Literal[1]
    program: Annotated[str, Field(max_length=40)]
    engine: Engine
    taken_at: datetime
    revisions: Annotated[dict[Literal["state", "record"], str], Field(min_length=2)]
    files: Annotated[tuple[BackupFile, ...], Field(min_length=1, max_length=8)]

    @property
    def size(self) -> int:
        """How many bytes its files have in all."""
        return sum(file.bytes for file in self.files)

    def taken(self) -> str:
        """Return when it was taken, for people."""
        return self.taken_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def describe(path: Path, progress: Progress) -> BackupFile:
    """Return what `path` holds now."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            progress(len(chunk), None)
    return BackupFile(name=path.name, bytes=size, sha256=digest.hexdigest())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it beside the files it names, and all of them onto the disk."""
    path = folder / NAME
    path.write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
    for name in (NAME, *(file.name for file in manifest.files)):
        (folder / name).chmod(0o600)
        flush(folder / name)
    flush(folder)


def flush(path: Path) -> None:
    """Bring a file, or a folder's list of files, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> Manifest:
    """Return what the backup in `folder` says of itself.

    Raises:
        NotFound: there is none.
        BackupBroken: it cannot be read.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            found = file.read(MAX_BYTES)
    except FileNotFoundError:
        raise NotFound(f"{folder}: no backup is there, {NAME} is missing") from None
    except OSError as error:
        raise BackupBroken(f"{path}: {error.strerror}") from error
    try:
        return Manifest.model_validate_json(found)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_url=False, include_input=False)[0]["loc"])
        raise BackupBroken(
            f"{path}: it says nothing that this program understands ({where or 'not JSON'}); it is damaged, or a newer "
            "program made it"
        ) from None


def require_whole(folder: Path, manifest: Manifest, progress: Progress) -> None:
    """Refuse a backup whose files are not what they were when it was taken.

    Raises:
        BackupBroken: names the first file that is missing or changed.
    """
    for file in manifest.files:
        path = folder / file.name
        try:
            found = describe(path, progress)
        except OSError as error:
            raise BackupBroken(f"{path}: {error.strerror}") from error
        if found != file:
            raise BackupBroken(
                f"{path}: its checksum is not the one of {NAME} ({found.bytes} bytes, {file.bytes} were written); the "
                "file was changed or damaged, take another backup"
            )


def refuse_existing(target: Path) -> None:
    """Refuse a place where something is already.

    Raises:
        Conflict: nothing is ever overwritten.
    """
    if target.exists():
        raise Conflict(f"{target}: something is there already; name a folder that does not exist yet")
