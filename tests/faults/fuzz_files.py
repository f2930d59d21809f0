# SPDX-License-Identifier: EUPL-1.2
"""The agent's files as a bad disk, a careless hand or another program leaves them."""

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from faults.fuzz_frames import bend_json

from cardservice.agents.messages import EventId, PointSetup, TapEvent
from readers.outbox import Outbox
from readers.points import PointMap
from readers.settings import MAX_FILE_BYTES

AGENT = "agent-1"
NOW_MS = 1_760_000_000_000

SETTINGS = (
    b"""agent = "agent-1"
centre_url = "wss://centre.example/agents"
""",
    b"""agent = "agent-1"
centre_url = "ws://127.0.0.1:8000/agents/v1"
key_file = "/var/lib/agent/agent.key"
outbox_file = "/var/lib/agent/outbox.sqlite"
outbox_capacity = 200_000
removal_debounce_ms = 0
""",
    b"""# the till
agent = "till-1"
centre_url = "wss://[2001:db8::1]:8443/agents?a=b"
ca_file = "ca.pem"
metrics_port = 9_105
metrics_address = "::1"
found_card = "tap"
log_format = "console"
log_level = "debug"
""",
)
TOML_TOKENS = (
    *(
        b'"',
        b"'''",
        b'"""',
        b"[",
        b"[[",
        b"]",
        b"{",
        b"}",
        b"=",
        b".",
        b"\n",
        b"\r",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"#",
    ),
    *(b"inf", b"-nan", b"1e400", b"0x" + b"f" * 200, b"9" * 4_400, b"1979-05-27T25:00:00Z", b"0001-01-01", b"true"),
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"[" * 400, b"{a=" * 400, b"a." * 50, b"_env_file", b"agent"),
    *(
        b"ws://",
        b"@",
        b":99999",
        b":x",
        b"[::",
        b"..",
        b"#f",
        b" ",
        b"\t",
        b"#",
        b"%00",
        "ä".encode(),
        b"../..",
        b"/",
        b"~",
    ),
)
HEAVY_SETTINGS = {
    "one long key": b"a." * (MAX_FILE_BYTES // 2 - 4) + b"a=1",
    "one long table name": b"[" + b"a." * (MAX_FILE_BYTES // 2 - 4) + b"a]",
    "many keys": b"".join(b"k%d=1\n" % number for number in range(1_900)),
    "many tables": b"".join(b"[t%d]\n" % number for number in range(1_900)),
    "many tables of one array": b"[[a]]\n" * (MAX_FILE_BYTES // 6 - 1),
    "deep arrays": b"a=" + b"[" * 16_000,
    "deep tables": b"a=" + b"{a=" * 5_000,
    "a long number": b"metrics_port=" + b"9" * 16_000,
    "a long text": b'agent="' + b"\\u00e4" * 2_700 + b'"',
    "a comment": b"#" * MAX_FILE_BYTES,
    "much too long": b"#" * (64 << 20),
}


def bent_settings(dice: random.Random) -> Iterator[bytes]:
    """Yield settings files with one to three mistakes, without end."""
    while True:
        text = dice.choice(SETTINGS)
        for _ in range(dice.randint(1, 3)):
            at, to = sorted((dice.randint(0, len(text)), dice.randint(0, len(text))))
            token = dice.choice(TOML_TOKENS)
            text = dice.choice((text[:at] + token + text[at:], text[:at] + token + text[to:], text[:at] + text[to:]))
        yield text


def bent_points(dice: random.Random) -> Iterator[str]:
    """Yield what may be left of remembered points, without end."""
    points = [PointSetup(point=f"door-{number}", reader=f"Reader {number}", use="door") for number in range(3)]
    known = PointMap(points).to_json()
    while True:
        if dice.random() < 0.5:
            yield json.dumps(bend_json(dice, json.loads(known)), ensure_ascii=dice.random() < 0.5)
        else:
            at = dice.randrange(len(known))
            yield known[:at] + dice.choice(("", "\x00", "\ud800", "[" * 300, "9" * 5_000, '"')) + known[at + 1 :]


@dataclass(frozen=True, slots=True)
class Written:
    """An outbox on the disk, closed or as a crash leaves it, and the events in it that wait for the centre."""

    folder: Path
    waiting: tuple[TapEvent, ...]

    def copy_to(self, folder: Path) -> Path:
        """Copy it, with what SQLite keeps beside it, and return its path."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        return folder / "outbox.sqlite"


def write_outbox(folder: Path, *, crashed: bool) -> Written:
    """Make an outbox with entries of every kind."""
    working = folder / "working"
    working.mkdir(parents=True)
    outbox = Outbox.open(working / "outbox.sqlite", AGENT, at_ms=NOW_MS, capacity=100)
    events = [outbox.open_tap("door-1", NOW_MS + number) for number in range(12)]
    done = [TapEvent(event=event, point="door-1", at_ms=NOW_MS, outcome="shown") for event in events[:9]]
    for event in done:
        outbox.finish(event)
    outbox.acknowledged(events[:2])
    outbox.set_aside(events[2], "unseen_tap")
    outbox.remember("points", PointMap().to_json())
    kept = folder / "kept"
    if crashed:
        # The log of a running agent holds what its database does not: copied under its hands, as a crash would.
        shutil.copytree(working, kept)
        outbox.close()
    else:
        outbox.close()
        shutil.copytree(working, kept)
    return Written(kept, tuple(done[3:]))


def damage(dice: random.Random, file: Path) -> str:
    """Do to a file what disks and careless copies do; return what was done."""
    content = bytearray(file.read_bytes())
    what = dice.choice(("cut", "zeros", "noise", "bits", "longer", "moved", "empty", "another"))
    at = dice.randrange(max(1, len(content)))
    length = dice.choice((1, 16, 512, 4_096, 8_192))
    if what == "cut":
        del content[at // 512 * 512 if dice.random() < 0.5 else at :]
    elif what == "zeros":
        content[at : at + length] = bytes(len(content[at : at + length]))
    elif what == "noise":
        content[at : at + length] = dice.randbytes(len(content[at : at + length]))
    elif what == "bits":
        for _ in range(dice.randint(1, 8)):
            if content:
                content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    elif what == "longer":
        content += dice.randbytes(length)
    elif what == "moved":
        content = content[at:] + content[:at]
    elif what == "empty":
        content.clear()
    else:
        content[:] = dice.choice((b"SQLite format 3\x00", b"#!/bin/sh\n", b"\x00", b"\xff")) * 300
    file.write_bytes(content)
    return f"{what} at {at} of {file.name}"


# Sequence numbers whose rows are written over below.
SPOILT = frozenset({4, 5, 9})
# Rows that no agent of ours writes, one statement each; `?` is some bent content.
GARBAGE = (
    "UPDATE meta SET value = 'soon' WHERE key = 'epoch'",
    "UPDATE meta SET value = '' WHERE key = 'epoch'",
    "UPDATE meta SET value = '-9' WHERE key = 'epoch'",
    "UPDATE meta SET value = '9007199254740991' WHERE key = 'epoch'",
    "UPDATE meta SET value = '99999999999999999999999' WHERE key = 'epoch'",
    "UPDATE meta SET value = hex(zeroblob(4000)) WHERE key = 'epoch'",
    "DELETE FROM meta",
    "UPDATE meta SET value = CAST(x'ff00fe' AS TEXT) WHERE key = 'points'",
    "UPDATE entries SET content = ? WHERE sequence = 4",
    "UPDATE entries SET content = ? WHERE sequence = 9",
    "UPDATE entries SET content = CAST(x'c328' AS TEXT) WHERE sequence = 5",
    "UPDATE entries SET content = hex(zeroblob(2000000)) WHERE sequence = 5",
    "INSERT INTO entries (epoch, sequence, point, at_ms, content) VALUES (-5, -5, '', -1, ?)",
    "INSERT INTO entries (epoch, sequence, point, at_ms, content) VALUES (9007199254740993, 1, 'door-1', 1, NULL)",
    "INSERT INTO entries (epoch, sequence, point, at_ms, content) VALUES (1, 0, 'DOOR 1', -1, NULL)",
    "INSERT INTO entries (epoch, sequence, point, at_ms, content, aside) VALUES (1, 1, 'door-1', 1, ?, 'unseen_tap')",
    "INSERT INTO lost VALUES (-1, -9, 9223372036854775807, -1)",
    "INSERT INTO lost VALUES (1760000000, 5, 3, 0)",
    "INSERT OR REPLACE INTO epochs VALUES (9223372036854775807, -1)",
    "UPDATE epochs SET last = 9223372036854775807",
    "DROP TABLE lost",
    "DROP TABLE entries",
    "DROP INDEX pending",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = 99",
    "CREATE TRIGGER t BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'no'); END",
)


def spoil(dice: random.Random, file: Path) -> str:
    """Write one or two things into the database that no agent writes; return what."""
    event = EventId(agent=AGENT, epoch=NOW_MS // 1_000, sequence=4)
    known = TapEvent(event=event, point="door-1", at_ms=NOW_MS, outcome="shown").model_dump(mode="json")
    done = []
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in dice.sample(GARBAGE, dice.choice((1, 1, 2))):
            bent = (
                json.dumps(bend_json(dice, known)) if dice.random() < 0.7 else dice.choice(("", "{}", "null", "\x00"))
            )
            try:
                connection.execute(statement, (bent,) if "?" in statement else ())
            except sqlite3.Error:
                continue
            done.append(f"{statement} ({bent[:200]})" if "?" in statement else statement)
    return "; ".join(done)
