# SPDX-License-Identifier: EUPL-1.2
"""Changes by the command line leave a line in the stream `audit`, as those over HTTP do, before they are made.

The running service holds the chains of its own epoch; a command begins one of its own, as every other writer does.
Whoever uses the command is known to the operating system alone: that user is sealed, and so are names they give.
"""

import os
import pwd
from pathlib import Path
from typing import Final

from cardservice.access.record import OwnChains
from cardservice.cards.keystore import open_store
from cardservice.clock import SystemClock
from cardservice.console import CommandUse, load_settings, open_stores
from cardservice.journal.audit import STREAM, SYSTEMS
from cardservice.journal.service import Entry, Journal
from cardservice.randomness import random_bytes
from cardservice.settings import read_secret

BY: Final = "command line"
# The kernel's own note of who logged in, whatever `su` and `sudo` made of them since.
_LOGIN_UID: Final = Path("/proc/self/loginuid")
_NOBODY_LOGGED_IN: Final = 2**32 - 1


def keep_command(config: Path | None, use: CommandUse) -> None:
    """Have the line on disk.

    Raises:
        CardServiceError: the stores or the key store cannot be used: then the command does nothing.
    """
    settings, databases = load_settings(config), open_stores(config)
    passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
    keys = open_store(settings.keys.store, passphrase, demonstration_allowed=settings.demonstration)
    journal = Journal(lambda stream, purpose: keys.secret(f"journal {stream} {purpose}"))
    facts = {"kind": "asked", "operation": use.operation, "request": random_bytes(16).hex(), "by": BY}
    said = {**_users(), "named": use.named, "reason": use.reason}
    personal = {name: value for name, value in said.items() if value is not None}
    OwnChains(databases.record, journal).keep(Entry(STREAM, SystemClock().now_ms(), facts, SYSTEMS, personal))


def _users() -> dict[str, str | None]:
    """Return who runs this process, and who logged in, if that is somebody else."""
    runs = os.getuid()
    try:
        logged_in = int(_LOGIN_UID.read_text("ascii"))
    except (OSError, ValueError):
        logged_in = _NOBODY_LOGGED_IN
    known = logged_in not in {_NOBODY_LOGGED_IN, runs}
    return {"os_user": _name_of(runs), "login_user": _name_of(logged_in) if known else None}


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
