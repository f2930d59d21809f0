# SPDX-License-Identifier: EUPL-1.2
"""The rig without the rights of a full root: an ordinary user, a container, a host with its own pcscd."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rig.errors import RigError

pytestmark = pytest.mark.pcscd

OUTSIDE, INSIDE = "Door 1 00 00", "Door 1 00 01"
WITH_OWN_RUN = """#!/bin/sh
exec unshare --user --map-root-user --mount --net --pid --fork --kill-child sh -c '
    mount -t tmpfs tmpfs /run && {prepare} && exec "$@"' sh {python} "$@"
"""
AS_IN_A_CONTAINER = WITH_OWN_RUN.replace(
    'exec "$@"\'',
    "echo 0 > /proc/sys/user/max_user_namespaces && "
    'exec setpriv --inh-caps=-sys_admin --bounding-set=-sys_admin "$@"\'',
)
PCSCD_OF_THE_HOST = "pcscd && while [ ! -e /run/pcscd/pcscd.comm ]; do :; done"
LOOPBACK_UP = 'PYTHONPATH={path} {python} -c "from rig import namespace; namespace._bring_loopback_up()"'
AS_NOBODY = """#!/bin/sh
exec setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/python3 "$@"
"""


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch, run_dir: Path) -> Callable:
    """Let the rig's interpreter be started through a shell script."""

    @contextmanager
    def start_through(script: str, prepare: str = "true") -> Iterator[None]:
        wrapper = run_dir.with_name("python-wrapper")
        path = Path(__file__).parents[2] / "hardware-sim"
        bring_up = LOOPBACK_UP.format(path=path, python=sys.executable).replace("'", "")
        text = script.format(python=sys.executable, prepare=f"{bring_up} && {prepare}")
        wrapper.write_text(text)
        wrapper.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(wrapper))
            yield

    return start_through


def _nobody_may_make_namespaces() -> bool:
    checks = "import sys; sys.exit(sys.version_info < (3, 11))", "exec unshare -r -m -n true"
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    commands = [[*drop, "/usr/bin/python3", "-c", checks[0]], [*drop, "sh", "-c", checks[1]]]
    return all(subprocess.run(command, check=False, cwd="/").returncode == 0 for command in commands)


@pytest.fixture
def container_tools(capability) -> None:
    """Skip where the tools or rights to play a container are missing."""
    if capability.mode != "namespace" or not (shutil.which("setpriv") and shutil.which("unshare")):
        pytest.skip("a container can only be played where namespaces are allowed")
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False).returncode != 0:
        pytest.skip("a container can only be played where user namespaces are allowed; in a chroot they never are")


def test_pcscd_runs_directly_where_namespaces_are_forbidden(container_tools, start_rig, run_dir, through, pcsc):
    """Without the right to mount, pcscd serves the host's own socket and cards work as usual."""
    with through(AS_IN_A_CONTAINER):
        rig = start_rig(run_dir, "--doors", "1")
    assert rig.ready["mode"] == "direct"
    assert rig.pcsc_socket == "/run/pcscd/pcscd.comm"
    rig.pcsc_socket = f"/proc/{rig.pid}/root{rig.pcsc_socket}"
    client = pcsc(rig)
    assert sorted(client("readers")["readers"]) == [OUTSIDE, INSIDE]
    with rig.client() as control:
        control.insert("card 1", OUTSIDE)
    assert client("await_state", readers=[OUTSIDE], state="present", timeout_s=2)["code"] == 0
    assert client("connect", reader=OUTSIDE) == {"code": 0}
    assert client("transmit", reader=OUTSIDE, apdu="60")["answer"] == "609000"


def test_a_pcscd_of_the_host_is_never_disturbed(container_tools, start_rig, run_dir, through):
    """Where namespaces are forbidden and a pcscd runs already, the rig refuses and says why."""
    with (
        through(AS_IN_A_CONTAINER, PCSCD_OF_THE_HOST),
        pytest.raises(RigError, match=r"another pcscd already serves /run/pcscd/pcscd\.comm"),
    ):
        start_rig(run_dir, "--doors", "1")


def test_a_private_pcscd_runs_beside_the_one_of_the_host(container_tools, start_rig, run_dir, through, pcsc):
    """In a namespace the rig's pcscd hides the host's socket for itself only; each serves its own readers."""
    with through(WITH_OWN_RUN, PCSCD_OF_THE_HOST):
        rig = start_rig(run_dir, "--doors", "1")
    assert rig.ready["mode"] == "namespace"
    assert sorted(pcsc(rig)("readers")["readers"]) == [OUTSIDE, INSIDE]
    rig.pcsc_socket = f"/proc/{rig.pid}/root/run/pcscd/pcscd.comm"
    assert OUTSIDE not in (pcsc(rig)("readers")["readers"] or [])


def test_an_ordinary_user_needs_no_root(capability, start_rig, run_dir, through, pcsc):
    """A user without any privilege gets the same private rig, where user namespaces are allowed."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user; an ordinary user runs all other tests this way")
    if not _nobody_may_make_namespaces():
        pytest.skip("this machine allows no namespaces, or no Python 3.11, to ordinary users")
    os.chown(run_dir.parent, 65534, 65534)
    with through(AS_NOBODY):
        rig = start_rig(run_dir, "--doors", "1")
    assert rig.ready["mode"] == "namespace"
    assert run_dir.stat().st_uid == 65534
    client = pcsc(rig)
    with rig.client() as control:
        control.insert("card 1", OUTSIDE)
    assert client("await_state", readers=[OUTSIDE], state="present", timeout_s=2)["code"] == 0
