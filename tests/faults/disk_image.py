# SPDX-License-Identifier: EUPL-1.2
"""What a disk could hold after a power cut, made from the steps a `Disk` has written down.

What was flushed is there. Of what was done since, any part may be, in any order: whole writes, some of their sectors, a
sector torn in the middle with rubbish behind the tear, new lengths, new names, names that were removed. After a flush
that failed nobody may hope that a later one brings the same bytes to the disk: they are there by chance, from then on.

One thing is relied on, as SQLite does on every disk it is used on today (`powersafe overwrite`): a torn write hurts
nothing outside the bytes that were written.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from faults.file_layer import Disk, Flushed, Made, Removed, Resized, Step, Written

SECTOR = 512
# How likely it is that something unflushed survives; one share for a whole power cut.
SHARES = (0.0, 0.0, 0.2, 0.5, 0.8, 1.0)
TORN = 0.3

Image = dict[str, bytes]


def images(disk: Disk, cuts: Sequence[int], dice: random.Random) -> Iterator[tuple[int, Image]]:
    """Cut the power after each of `cuts` steps; yield the cut and what the folder holds then, by file name."""
    platter = Platter(disk, dice)
    for cut in sorted(cuts):
        platter.play(cut)
        yield cut, platter.image()


def lay_out(image: Image, folder: Path) -> None:
    """Let `folder` hold exactly `image`."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in image.items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_bytes(content)


class Platter:
    """The steps played onto a disk: what is certain, and what is still on its way."""

    def __init__(self, disk: Disk, dice: random.Random) -> None:
        self._steps = disk.steps
        self._dice = dice
        self._played = 0
        self._names = {name: file for name, (file, _) in disk.before.items()}
        self._contents = {file: bytearray(content) for file, content in disk.before.values()}
        self._unflushed: dict[int, list[Written | Resized]] = {}
        self._unflushed_names: list[Made | Removed] = []

    def play(self, until: int) -> None:
        """Play on to the step number `until`."""
        for step in self._steps[self._played : until]:
            self._play_one(step)
        self._played = max(self._played, until)

    def image(self) -> Image:
        """Return one of the many things the folder may hold if the power goes now."""
        share = self._dice.choice(SHARES)
        names = dict(self._names)
        for step in self._unflushed_names:
            if self._dice.random() < share:
                _rename(names, step)
        image = {}
        for name, file in names.items():
            content = bytearray(self._contents.get(file, b""))
            self._chance(content, self._unflushed.get(file, []), share)
            image[name] = bytes(content)
        return image

    def _play_one(self, step: Step) -> None:
        match step:
            case Written() | Resized():
                self._unflushed.setdefault(step.file, []).append(step)
            case Flushed():
                self._flush(step)
            case Made():
                self._unflushed_names.append(step)
            case Removed():
                self._unflushed_names.append(step)
                if step.flushed:
                    self._flush_names()

    def _flush(self, step: Flushed) -> None:
        content = self._contents.setdefault(step.file, bytearray())
        waiting = self._unflushed.pop(step.file, [])
        if not step.worked:
            self._chance(content, waiting, self._dice.choice(SHARES))
            return
        for one in waiting:
            _apply(content, one)
        if step.folder:
            self._flush_names()

    def _flush_names(self) -> None:
        for step in self._unflushed_names:
            _rename(self._names, step)
        self._unflushed_names.clear()

    def _chance(self, content: bytearray, steps: Sequence[Written | Resized], share: float) -> None:
        """Let each of `steps` reach the disk, or not, or in part."""
        for step in steps:
            if self._dice.random() >= share:
                continue
            if isinstance(step, Written) and self._dice.random() < TORN:
                self._tear(content, step)
            else:
                _apply(content, step)

    def _tear(self, content: bytearray, step: Written) -> None:
        """Some sectors of a write are there, some are not, and one ends in the middle."""
        end = step.offset + len(step.data)
        edges = [step.offset, *range((step.offset // SECTOR + 1) * SECTOR, end, SECTOR), end]
        torn = self._dice.randrange(len(edges) - 1)
        for number, (first, last) in enumerate(pairwise(edges)):
            new = step.data[first - step.offset : last - step.offset]
            if number == torn:
                kept = self._dice.randrange(len(new) + 1)
                rubbish = self._dice.randbytes(len(new) - kept) if self._dice.random() < 0.5 else b""
                _put(content, first, new[:kept] + rubbish)
            elif self._dice.random() < 0.5:
                _put(content, first, new)


def _apply(content: bytearray, step: Written | Resized) -> None:
    if isinstance(step, Written):
        _put(content, step.offset, step.data)
        return
    del content[step.size :]
    content.extend(bytes(step.size - len(content)))


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if data and len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _rename(names: dict[str, int], step: Made | Removed) -> None:
    if isinstance(step, Made):
        names[step.name] = step.file
    else:
        names.pop(step.name, None)
