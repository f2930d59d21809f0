# SPDX-License-Identifier: EUPL-1.2
"""What a card that was not made here can be known by, at its honest level. Writes nothing to it.

It proves the numbers of our uses: a card of ours that the register has lost, after a backup was restored. Level `card`.
It proves its PIV key (slot 9E): a token that was bought, or a card of a CA that is trusted. Level `card`.
It shows a UID that stays: anybody can copy that, so it counts in one building alone, and to a day. Level `uid`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from cardservice.cards.encoding.ports import CardInReader
from cardservice.cards.encoding.rules import NumberUse, Trouble
from cardservice.cards.encoding.works import CardKeys, converse
from cardservice.cards.numbers.rules import NumberRefused, Written, read_number
from cardservice.cards.ports import TokenTrouble
from cardservice.cards.proven import credential_of
from cardservice.cards.rules import desfire_credential, old_credential
from cardservice.chip.errors import CardGone, ChipError
from cardservice.chip.locate import identify
from cardservice.chip.open_reading import read_openly
from cardservice.chip.piv import authenticate_card
from cardservice.chip.probe import Probe, conclude
from cardservice.errors import Conflict, KeyStoreError

# What readers that know nothing but a number can be for.
_NUMBER_USES: Final = ("door", "timeclock", "printer", "canteen")
_CONTEXT: Final = b"registration"


class CardUnknowable(Conflict):
    """A card cannot be registered: `trouble` says why."""

    code = "card_unknowable"

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a card can be known by.

    Attributes:
        keys: credentials, and of which generation the keys are that have proved one; None where that is no question.
        until_ms: when it ends by itself, None where it does not.
        facts: what may be said of it.
    """

    keys: Mapping[bytes, int | None] = field(repr=False)
    until_ms: int | None
    facts: dict[str, Any]


def recognise(card: CardInReader, keys: CardKeys, at_ms: int, number: NumberUse | None) -> Recognised:
    """Ask a card everything it can prove. Blocks.

    Raises:
        CardUnknowable: nothing, or nothing but a number, and `number` does not say where that counts.
        CardGone: it left.
    """
    card.begin()
    probe = conclude(converse(read_openly(), card))
    proved: dict[bytes, int | None] = dict(_numbers(probe, card, keys))
    until_ms, refused = None, ""
    if probe.has_piv:
        try:
            credential, until_ms = _piv(card, keys, at_ms)
            proved[credential] = None
        except CardGone:
            raise
        except ChipError as error:
            refused = f"; its PIV application: {error}"
    facts = {"family": None if probe.family is None else probe.family.value, "level": "card" if proved else "uid"}
    if proved:
        return Recognised(proved, until_ms, facts)
    return _by_number(probe, number, facts, refused)


def _numbers(probe: Probe, card: CardInReader, keys: CardKeys) -> Iterator[tuple[bytes, int]]:
    for use in probe.uses:
        card.begin()
        try:
            found = converse(identify(use, keys.ring(use.value), system_id=keys.system_id), card)
        except (CardGone, TokenTrouble):
            raise
        except (ChipError, KeyStoreError):
            continue  # somebody else's application under this name
        yield desfire_credential(use.value, found.number), found.generation


def _piv(card: CardInReader, keys: CardKeys, at_ms: int) -> tuple[bytes, int]:
    """Return under which key a PIV card is known, and when its certificate ends: here any key may be pinned."""
    card.begin()
    trust = replace(keys.trust, pinned=lambda _: True)
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    proven = converse(authenticate_card(_CONTEXT, trust, at=at), card)
    return credential_of(proven), int(proven.not_after.timestamp() * 1_000)


def _by_number(probe: Probe, number: NumberUse | None, facts: dict[str, Any], refused: str) -> Recognised:
    if probe.uid is None or probe.random_uid is not False:
        raise CardUnknowable(Trouble.NOTHING_STABLE, f"it shows no number that stays{refused}")
    if number is None:
        raise CardUnknowable(Trouble.NUMBER_ALONE, f"it shows nothing but a number, which anybody can copy{refused}")
    try:
        value = read_number(probe.uid.hex(), Written.HEX).number()
    except NumberRefused as error:
        raise CardUnknowable(Trouble.NOTHING_STABLE, f"its number is none that readers know: {error}") from None
    keys = {old_credential(use, value, number.building): None for use in _NUMBER_USES}
    return Recognised(keys, number.until_ms, facts)
