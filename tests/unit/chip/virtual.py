# SPDX-License-Identifier: EUPL-1.2
"""The virtual card as a counterpart of the card language, which its authors never saw; and a card that is pulled."""

from collections.abc import Callable

from cardservice.chip.conversation import drive
from cardservice.chip.desfire_layout import UseKeySet
from cardservice.chip.desfire_personalise import ApplicationPlan, CardPlan
from cardservice.chip.errors import CardGone
from cardservice.chip.keys import SoftwareWritableKey
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import identify
from cardsim.card import VirtualCard
from cardsim.personalise import factory_desfire

PICC_KEY = SoftwareWritableKey(b"the badge's key.")
USES = (CardUse.DOOR, CardUse.CANTEEN)
SYSTEM_ID = b"STADT"


class Field:
    """A virtual card in a reader's field; every activation forgets what the card forgets without power."""

    def __init__(self, card: VirtualCard | None = None) -> None:
        self.card = card or VirtualCard("test", "test", desfire=factory_desfire())
        self.sent: list[bytes] = []
        self.pull_at: int | None = None
        self.carries_out = False
        self.activate()

    def activate(self) -> None:
        self.card.power_off()
        self.card.power_on("contactless")
        self.sent = []
        self.pull_at = None

    def __call__(self, apdu: bytes) -> bytes:
        if self.pull_at == len(self.sent):
            if self.carries_out:
                self.card.transmit(apdu)
            raise CardGone("pulled by the test")
        self.sent.append(apdu)
        return self.card.transmit(apdu)

    def pull(self, at: int, *, carries_out: bool) -> None:
        """Takes the card out at the command with this number, before or after the card carries it out."""
        self.pull_at, self.carries_out = at, carries_out


def keys(generation: int, use: CardUse) -> UseKeySet:
    """Three keys of a use and generation, all different."""
    place = list(CardUse).index(use)
    return UseKeySet(generation, *(SoftwareWritableKey(bytes([generation, place, no]) + b"k" * 13) for no in range(3)))


def number(use: CardUse) -> bytes:
    return bytes([list(CardUse).index(use)]) * 12


def plan(*uses: CardUse, generation: int = 1) -> CardPlan:
    return CardPlan(PICC_KEY, tuple(ApplicationPlan(use, number(use), keys(generation, use)) for use in uses or USES))


class UseKeys:
    """The keys of a tap, out of a plan: the proof key is not derived here, it is simply there."""

    def __init__(self, use: CardUse, generation: int = 1) -> None:
        mine = keys(generation, use)
        self.locate, self._generation, self._proof = [mine.locate], generation, mine.proof

    def proof(self, generation: int):
        return self if generation == self._generation else None

    def diversify(self, _: bytes):
        return self._proof


def tap(field: Field, use: CardUse, generation: int = 1) -> bytes:
    """Activates the card and taps it; returns the number that it has proved."""
    field.activate()
    return drive(identify(use, UseKeys(use, generation), system_id=SYSTEM_ID), field).number


def pulled_everywhere(
    prepare: Callable[[], Field], work: Callable[[Field], None], check: Callable[[Field], bool]
) -> int:
    """Does `work` on a card that is pulled at each of its commands in turn, and then again; counts the pulls.

    Each command is cut off once before and once after the card has carried it out. `check` looks at what became of
    the card in the end.
    """
    whole = prepare()
    work(whole)
    count = len(whole.sent)
    for at in range(count):
        for carries_out in (False, True):
            field = prepare()
            field.pull(at, carries_out=carries_out)
            try:
                work(field)
            except CardGone:
                field.activate()
            else:
                raise AssertionError(f"the card was not pulled at command {at}")
            work(field)
            assert check(field), (at, carries_out)
    return 2 * count
