# SPDX-License-Identifier: EUPL-1.2
"""A really small disk: a tmpfs of a few megabytes over one folder, seen by nobody but the programs started on it.

It lives in a mount namespace of its own, so that nothing is mounted on the machine and nothing is left if a test dies.
As an ordinary user a user namespace comes with it, where the machine allows that.
"""

import errno
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

BALLAST = "ballast"
BLOCK = bytes(4_096)
EAT_EVERY_S = 0.01
# Ends, and takes the mount with it, when its standard input is closed: by the test or by the test's death.
# In a chroot the root is no mount point; there the mount is taken away by hand.
KEEPER = """
mount --make-rprivate / 2>&- || true
mount -t tmpfs -o "size=$2,mode=0700" tmpfs "$1" && echo mounted && read -r _
umount -l "$1"
"""


class TinyDiskRefused(Exception):
    """This machine lets nobody mount anything; says in what words."""


class TinyDisk:
    """What `folder` held when the disk was made is on it; programs see it at the same path.

    `outside` is where this process finds it. SQLite must not be used there: it follows no path into a namespace.
    """

    def __init__(self, folder: Path, keeper: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self._keeper = keeper.pid
        self.outside = Path(f"/proc/{keeper.pid}/root") / folder.relative_to("/")

    @contextmanager
    def programs(self) -> Iterator[None]:
        """Start the Python programs of this context on the disk."""
        enter = ["nsenter", f"--target={self._keeper}", "--mount", "--root", "--wd"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        script = self.folder.with_name(f"{self.folder.name}-python")
        script.write_text(f'#!/bin/sh\nexec {shlex.join([*enter, sys.executable])} "$@"\n')
        script.chmod(0o700)
        with mock.patch.object(sys, "executable", str(script)):
            yield

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let ballast take every byte, also those given back meanwhile; afterwards it is thrown away."""
        over = threading.Event()

        def eat() -> None:
            while not over.wait(EAT_EVERY_S):
                self._fill()

        self._fill()
        eater = threading.Thread(target=eat, name="ballast")
        eater.start()
        try:
            yield
        finally:
            over.set()
            eater.join()
            (self.outside / BALLAST).unlink()

    def _fill(self) -> None:
        with (self.outside / BALLAST).open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def copy_out(self, name: str, to: Path) -> Path:
        """Copy a folder of the disk to where SQLite may be used; nobody writes in it meanwhile."""
        return Path(shutil.copytree(self.outside / name, to))


@contextmanager
def tiny_disk(folder: Path, megabytes: int) -> Iterator[TinyDisk]:
    """Put a disk of so many megabytes over `folder` while the context lasts.

    Raises:
        TinyDiskRefused: namespaces, or mounts in them, are forbidden here.
    """
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = [
        "unshare",
        *rights,
        "--mount",
        "--propagation",
        "unchanged",
        "sh",
        "-c",
        KEEPER,
        "sh",
        str(folder),
        f"{megabytes}m",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as keeper:
        assert keeper.stdout is not None
        said = keeper.stdout.readline()
        if said != "mounted\n":
            raise TinyDiskRefused(said.strip())
        disk = TinyDisk(folder, keeper)
        shutil.copytree(folder, disk.outside, dirs_exist_ok=True)
        yield disk
        # The end of the context closes the keeper's standard input.
