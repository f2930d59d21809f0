# SPDX-License-Identifier: EUPL-1.2
"""A card of ours becomes stock of ours: everything on it is erased, its card level keeps our key.

FormatPICC is one command that the card carries out whole or not at all, so beginning again is always right.
"""

import secrets
from typing import Final

from cardservice.chip.conversation import Conversation, RandomBytes
from cardservice.chip.desfire_card import PICC_KEY_NO, CardLevel
from cardservice.chip.desfire_layout import Progress, Steps, unobserved
from cardservice.chip.errors import AuthenticationRefused, CardUnfit, UnfitCause
from cardservice.chip.keys import CardKey

_STEPS: Final = 3


def erase(
    picc: CardKey, *, random_bytes: RandomBytes = secrets.token_bytes, progress: Progress = unobserved
) -> Conversation[None]:
    """Erases all applications under the card level's key, and looks whether they are gone.

    Args:
        picc: the card level's key, which belongs to the badge number.
        random_bytes: source of our random numbers.
        progress: told of each step: card_key, erase, check.

    Raises:
        ApplicationNotFound: the card speaks no DESFire.
        CardUnfit: the card level does not have this key, or something is still there.
        CardGone, CardNotGenuine, ProtocolError, StatusError: the card left, talked nonsense, or refused.
    """
    steps = Steps(_STEPS, progress)
    steps.begin("card_key")
    level = yield from _open(picc, random_bytes)
    steps.begin("erase")
    yield from level.format_picc()
    steps.begin("check")
    level = yield from _open(picc, random_bytes)
    if left := (yield from level.get_application_ids()):
        raise CardUnfit(UnfitCause.LEFTOVERS, f"{len(left)} applications are still there")


def _open(picc: CardKey, random_bytes: RandomBytes) -> Conversation[CardLevel]:
    level = yield from CardLevel.select()
    try:
        yield from level.authenticate_ev2_first(PICC_KEY_NO, picc, random_bytes=random_bytes)
    except AuthenticationRefused as refused:
        raise CardUnfit(UnfitCause.KEY, "the card level does not have the key of this badge") from refused
    return level
