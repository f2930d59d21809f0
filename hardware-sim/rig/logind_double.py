# SPDX-License-Identifier: EUPL-1.2
"""A template for python3-dbusmock: its logind, whose locking and unlocking really reach the sessions, and are noted.

Run by Debian's own interpreter (`/usr/bin/python3 -m dbusmock --system -t THIS_FILE -p PARAMETERS`), which has dbus
and gi; nothing else imports it. Parameters: `sessions`, each [id, seat, uid, user, active, type, locked]; `ready`, a
file that appears when it serves; `notes`, a file to which every call is appended as "monotonic-us member id";
`behaviour`, a JSON file that is read at every call: `delay_ms` before it is done, `deaf` when it is not done at all.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dbus
from dbusmock.mockobject import objects

# Its methods become those of our object.
from dbusmock.templates.logind import *  # noqa: F403
from dbusmock.templates.logind import BUS_NAME, MAIN_IFACE, MAIN_OBJ, SYSTEM_BUS
from dbusmock.templates.logind import load as load_logind

__all__ = ["BUS_NAME", "MAIN_IFACE", "MAIN_OBJ", "SYSTEM_BUS", "load"]

_SESSION = "org.freedesktop.login1.Session"


def load(mock: Any, parameters: dict[str, Any]) -> None:
    """Set up the manager and the sessions; dbusmock calls this."""
    load_logind(mock, parameters)
    for member, signal in (("LockSession", "Lock"), ("UnlockSession", "Unlock")):
        mock.AddMethod(MAIN_IFACE, member, "s", "", _teller(member, signal, parameters))
    for number, seat, uid, user, active, kind, locked in parameters["sessions"]:
        path = mock.AddSession(number, seat, uid, user, active)
        objects[path].UpdateProperties(_SESSION, {"Type": dbus.String(kind), "LockedHint": dbus.Boolean(locked)})
    Path(parameters["ready"]).touch()


def _teller(member: str, signal: str, parameters: dict[str, Any]) -> Callable[[Any, str], None]:
    notes, behaviour = parameters["notes"], Path(parameters["behaviour"])

    def tell(_mock: Any, number: str) -> None:
        now_us = time.monotonic_ns() // 1_000
        with open(notes, "a", encoding="utf-8") as file:  # noqa: PTH123  # one write, appended whole
            file.write(f"{now_us} {member} {number}\n")
        ordered = json.loads(behaviour.read_text("utf-8"))
        time.sleep(ordered.get("delay_ms", 0) / 1_000)
        if not ordered.get("deaf"):
            objects[f"{MAIN_OBJ}/session/{number}"].EmitSignal(_SESSION, signal, "", [])

    return tell
