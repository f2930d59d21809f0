# SPDX-License-Identifier: EUPL-1.2
"""What several people do together at one terminal: shares handed out one at a time, shares typed in one at a time.

Nobody sees another person's share, and nobody ever sees a key. What was done is written into a record to be signed.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cardservice.cards.keys import shares
from cardservice.cards.keys.keyfile import SharedSecret
from cardservice.cards.keys.sealing import ShareScheme
from cardservice.cards.keys.shares import Share, ShareRefused
from cardservice.errors import KeyStoreError
from cardservice.instants import instant

# A slip is typed again; somebody who guesses is stopped.
_TRIES: Final = 5
_MAX_NAME: Final = 80


class Terminal(Protocol):
    """Where people stand. Nothing of it goes into a file."""

    def say(self, text: str) -> None:
        """Show text."""
        ...

    def ask(self, question: str) -> str:
        """Return one line, which everybody may see."""
        ...

    def ask_hidden(self, question: str) -> str:
        """Return one line that is not shown while it is typed."""
        ...

    def wipe(self) -> None:
        """Take what was shown from the screen, and from what can be scrolled back to."""
        ...


@dataclass(frozen=True, slots=True)
class Ceremony:
    """What the record says: which act, on what, who was there, which keys came of it, which shares."""

    act: str
    at_ms: int
    key_store: Path
    system_id: bytes
    present: tuple[str, ...]
    check_values: Mapping[str, str]
    scheme: ShareScheme | None


def ask_who_is_there(terminal: Terminal, at_least: int) -> tuple[str, ...]:
    """Return the names of those present.

    Raises:
        KeyStoreError: fewer than `at_least`, a name twice, or none.
    """
    found: list[str] = []
    while len(found) < at_least:
        name = " ".join(terminal.ask(f"Name of person {len(found) + 1} of {at_least} present").split())
        if not name.isprintable() or not 1 <= len(name) <= _MAX_NAME:
            raise KeyStoreError(f"a name has 1 to {_MAX_NAME} printable characters")
        if name.casefold() in {one.casefold() for one in found}:
            raise KeyStoreError(f"{name} was named already; {at_least} different people have to be present")
        found.append(name)
    return tuple(found)


def hand_out(terminal: Terminal, needed: int, count: int) -> SharedSecret:
    """Make a fresh secret and give each person a share, which they type back; only then the next one is shown.

    Raises:
        KeyStoreError: the numbers make no sense, or somebody cannot type their share back.
    """
    scheme = shares.new_scheme(needed, count)
    secret = shares.new_secret()
    terminal.say(
        f"Set {scheme.set_id.upper()}: any {needed} of {count} shares. Only the owner of a share may see the screen."
    )
    for share in shares.split(secret, scheme):
        terminal.ask(f"Share {share.number} of {count}: its owner alone at the screen, then Enter")
        terminal.say(
            f"Share {share.number} of {count}, set {scheme.set_id.upper()}. Write it down:\n\n    {share.text()}\n"
        )
        terminal.ask("Enter when it is written down; it is not shown again")
        terminal.wipe()
        _typed_back(terminal, share)
    return SharedSecret(scheme, secret)


def collect(terminal: Terminal, scheme: ShareScheme) -> bytes:
    """Return what enough shares make, each typed by its owner.

    Raises:
        ShareRefused: too many attempts.
    """
    found: list[Share] = []
    tries = 0
    while len(found) < scheme.needed:
        typed = terminal.ask_hidden(f"Share (person {len(found) + 1} of {scheme.needed}, set {scheme.set_id.upper()})")
        try:
            share = shares.read(typed)
            shares.require_fit(share, found, scheme)
        except ShareRefused as refused:
            tries += 1
            if tries >= _TRIES:
                raise ShareRefused(f"{refused}; that were {_TRIES} attempts, nothing was changed") from None
            terminal.say(f"Refused: {refused}")
            continue
        found.append(share)
        terminal.say(f"Share {share.number} is right.")
    return shares.combine(found)


def write_record(folder: Path, done: Ceremony) -> Path:
    """Write the record that those present sign; return where it lies.

    Raises:
        KeyStoreError: it cannot be written.
    """
    path = folder / f"key-ceremony-{done.at_ms}.txt"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(record(done))
    except OSError as error:
        raise KeyStoreError(
            f"the ceremony is done, but its record cannot be written: {path}: {error.strerror}"
        ) from error
    return path


def record(done: Ceremony) -> str:
    """Return the record: no key, no share."""
    scheme = done.scheme
    shared = "none" if scheme is None else f"set {scheme.set_id.upper()}, {scheme.needed} of {scheme.count}"
    lines = [
        "Record of a key ceremony",
        "",
        f"Act:        {done.act}",
        f"Instant:    {instant(done.at_ms)}",
        f"Key store:  {done.key_store}",
        f"System id:  {done.system_id.hex().upper()}",
        f"Shares:     {shared}",
        "",
        "Check values of the open keys, four bytes of a MAC each; they tell nothing of a key:",
        *(f"  {value}  {name}" for name, value in done.check_values.items()),
        "",
        "Present, each with own signature:",
        *_signatures(done.present),
    ]
    return "\n".join(lines) + "\n"


def _signatures(present: Sequence[str]) -> list[str]:
    return [line for name in present for line in ("", f"  {name}", "  ______________________________", "  place, date")]


def _typed_back(terminal: Terminal, share: Share) -> None:
    for _ in range(_TRIES):
        try:
            if shares.read(terminal.ask_hidden(f"Share {share.number} again, from the paper")) == share:
                terminal.say(f"Share {share.number} is right.")
                return
            terminal.say("This is another share.")
        except ShareRefused as refused:
            terminal.say(f"Refused: {refused}")
    raise ShareRefused(f"share {share.number} was not typed back in {_TRIES} attempts; begin again, nothing was made")
