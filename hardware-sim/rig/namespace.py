# SPDX-License-Identifier: EUPL-1.2
"""A private mount and network namespace in which pcscd's fixed socket path leads to a directory of the rig.

vpcd listens on all addresses and asks nobody for a password, so its ports must not be reachable from outside.
`python -m rig.namespace DIR IPC_DIR` tries it out and leaves nothing behind.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

from rig.errors import NamespaceRefusedError

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
SIOCSIFFLAGS = 0x8914
IFF_UP, IFF_RUNNING = 0x1, 0x40
MAX_COVERED_ENTRIES = 10_000

_libc = ctypes.CDLL(None, use_errno=True)


def enter(directory: Path, ipc_dir: Path) -> None:
    """Move this process (of one thread) into new namespaces where `ipc_dir` shows `directory`.

    Works as root, and without root where user namespaces are allowed.

    Raises:
        NamespaceRefusedError: the machine does not allow it; the message says which step failed.
    """
    _unshare()
    _make_mounts_private(ipc_dir.parent.resolve())
    if not ipc_dir.is_dir():
        _cover(ipc_dir.parent.resolve())
        ipc_dir.mkdir(mode=0o755)
    _mount(str(directory), ipc_dir, None, MS_BIND)
    _bring_loopback_up()


def _unshare() -> None:
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(CLONE_NEWNS | CLONE_NEWNET) == 0:
        return
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise NamespaceRefusedError(f"private namespaces are refused ({os.strerror(ctypes.get_errno())})")
    try:
        Path("/proc/self/setgroups").write_text("deny", "ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", "ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", "ascii")
    except OSError as error:
        raise NamespaceRefusedError(f"user namespaces are refused ({error.strerror})") from error


def _make_mounts_private(run: Path) -> None:
    """Keep what is mounted here from showing up on the host; in a chroot the root is no mount point."""
    try:
        _mount(None, Path("/"), None, MS_REC | MS_PRIVATE)
    except NamespaceRefusedError:
        _mount(None, run, None, MS_REC | MS_PRIVATE)


def _cover(parent: Path) -> None:
    """Put an empty file system over a directory and show its old folders and links in it.

    A missing /run/pcscd is made in there, so that nothing is created on the host.
    """
    old = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _mount("tmpfs", parent, "tmpfs", 0, b"mode=0755")
        behind = Path(f"/proc/self/fd/{old}")
        for name in os.listdir(behind)[:MAX_COVERED_ENTRIES]:  # noqa: PTH208 - the path ends in a magic link
            source, target = behind / name, parent / name
            if source.is_symlink():
                target.symlink_to(source.readlink())
            elif source.is_dir():
                target.mkdir()
                with contextlib.suppress(NamespaceRefusedError):
                    _mount(str(source), target, None, MS_BIND | MS_REC)
    except OSError as error:
        raise NamespaceRefusedError(f"{parent} cannot be covered ({error.strerror})") from error
    finally:
        os.close(old)


def _mount(source: str | None, target: Path, kind: str | None, flags: int, data: bytes | None = None) -> None:
    result = _libc.mount(
        os.fsencode(source) if source is not None else None,
        os.fsencode(target),
        kind.encode("ascii") if kind is not None else None,
        ctypes.c_ulong(flags),
        data,
    )
    if result != 0:
        raise NamespaceRefusedError(f"mounting on {target} is refused ({os.strerror(ctypes.get_errno())})")


def _bring_loopback_up() -> None:
    request = struct.pack("16sH22x", b"lo", IFF_UP | IFF_RUNNING)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, SIOCSIFFLAGS, request)
    except OSError as error:
        raise NamespaceRefusedError(f"the loopback interface cannot be used ({error.strerror})") from error


def main(arguments: list[str]) -> int:
    """Try `enter` in this process, which then ends; the reason of a refusal is printed."""
    try:
        enter(Path(arguments[0]), Path(arguments[1]))
    except NamespaceRefusedError as error:
        sys.stdout.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
