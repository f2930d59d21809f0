# SPDX-License-Identifier: EUPL-1.2
"""How our layout (`docs/card-layout.md`) is made of DESFire applications, files and keys; steps of work on a card."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cardservice.chip.conversation import Conversation, RandomBytes
from cardservice.chip.desfire_application import CardApplication, DataFile
from cardservice.chip.desfire_formats import AccessRights, KeySets, NewApplication
from cardservice.chip.desfire_messages import CommMode
from cardservice.chip.errors import AuthenticationRefused, CardUnfit, UnfitCause
from cardservice.chip.keys import CardKey, WritableKey
from cardservice.chip.layout import (
    KEY_APPLICATION_MASTER,
    KEY_LOCATE,
    KEY_PROOF,
    NUMBER_FILE_BYTES,
    NUMBER_FILE_NO,
    CardUse,
    NumberFile,
)

PICC_KEY_SETTINGS: Final = 0x09
APPLICATION_KEY_SETTINGS: Final = 0x0B
APPLICATION_KEYS: Final = 3
KEY_SETS: Final = 2
NEXT_KEY_SET_NO: Final = 1
"""Where the next generation is prepared: sets are numbered from the one in force, which is 0."""

NUMBER_FILE: Final = DataFile(
    NUMBER_FILE_NO,
    NUMBER_FILE_BYTES,
    CommMode.FULL,
    AccessRights(
        read=KEY_LOCATE,
        write=KEY_APPLICATION_MASTER,
        read_write=KEY_APPLICATION_MASTER,
        change=KEY_APPLICATION_MASTER,
    ),
)


@dataclass(frozen=True, slots=True)
class UseKeySet:
    """The three keys of one application on one card, of one generation.

    Attributes:
        generation: 1 to 255.
        master: key 0; changes keys and settings, writes the number file.
        proof: key 1.
        locate: key 2; the same on every card of the use.
    """

    generation: int
    master: WritableKey = field(repr=False)
    proof: WritableKey = field(repr=False)
    locate: WritableKey = field(repr=False)

    def numbered(self) -> tuple[tuple[int, WritableKey], ...]:
        """The keys with their numbers, in the order in which they are changed: key 0, which changes them, last."""
        return (KEY_PROOF, self.proof), (KEY_LOCATE, self.locate), (KEY_APPLICATION_MASTER, self.master)


@dataclass(frozen=True, slots=True)
class Step:
    """Where a work on a card stands.

    Attributes:
        number: 1 to `total`.
        total: how many steps there are.
        name: a stable name: "chip", "card_key", "application", "check", ...
        use: whose application, None for the card level.
    """

    number: int
    total: int
    name: str
    use: CardUse | None = None


Progress: TypeAlias = Callable[[Step], None]
"""Told of each step before its first command."""


def unobserved(_: Step) -> None:
    """The `Progress` of whoever does not look."""


class Steps:
    """Counts the steps of one work."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress, self._number = total, progress, 0

    def begin(self, name: str, use: CardUse | None = None) -> None:
        """Tells of the next step."""
        self._number += 1
        self._progress(Step(self._number, self._total, name, use))


def application_of(use: CardUse, generation: int) -> NewApplication:
    """The parameters of a use's application: three AES keys in two sets, the one in force of this generation."""
    sets = KeySets(KEY_SETS, generation, KEY_APPLICATION_MASTER)
    return NewApplication(use.aid, APPLICATION_KEY_SETTINGS, APPLICATION_KEYS, key_sets=sets)


def write_number(application: CardApplication, content: NumberFile) -> Conversation[None]:
    """Writes the number file, under key 0."""
    yield from application.write_data(NUMBER_FILE_NO, 0, bytes(content), mode=CommMode.FULL)


def accepts(
    application: CardApplication, key_no: int, key: CardKey, *, random_bytes: RandomBytes
) -> Conversation[bool]:
    """Whether a key opens a session; False when the card refuses it."""
    try:
        yield from application.authenticate_ev2_first(key_no, key, random_bytes=random_bytes)
    except AuthenticationRefused:
        return False
    return True


def check_application(
    application: CardApplication, keys: UseKeySet, content: NumberFile, *, random_bytes: RandomBytes
) -> Conversation[None]:
    """Authenticates with each of the three keys and reads the number file as a tap will.

    Raises:
        CardUnfit: the file holds something else.
        AuthenticationRefused: the card does not accept one of the keys.
        CardGone, CardNotGenuine, ProtocolError, StatusError: as every command.
    """
    yield from application.authenticate_ev2_first(KEY_APPLICATION_MASTER, keys.master, random_bytes=random_bytes)
    for key_no, key in ((KEY_PROOF, keys.proof), (KEY_LOCATE, keys.locate)):
        yield from application.authenticate_ev2_non_first(key_no, key, random_bytes=random_bytes)
    read = yield from application.read_data(NUMBER_FILE_NO, 0, NUMBER_FILE_BYTES, mode=CommMode.FULL)
    if read != bytes(content):
        raise CardUnfit(UnfitCause.CONTENT, "the number file does not hold what was written")
