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
    """The keys of a tap, out of a plan, the newest generation first; proof keys are not derived here."""

    def __init__(self, use: CardUse, *generations: int) -> None:
        mine = [keys(generation, use) for generation in generations or (1,)]
        self.locate = [one.locate for one in mine]
        self._proofs = {one.generation: Derived(one.proof) for one in mine}

    def proof(self, generation: int):
        return self._proofs.get(generation)


class Derived:
    """A master of which every card has the same key."""

    def __init__(self, key: SoftwareWritableKey) -> None:
        self._key = key

    def diversify(self, _: bytes):
        return self._key


def tap(field: Field, use: CardUse, *generations: int) -> bytes:
    """Activates the card and taps it, with the keys of these generations; returns the number that it has proved."""
    field.activate()
    return drive(identify(use, UseKeys(use, *generations), system_id=SYSTEM_ID), field).number


def pulled_everywhere(
    prepare: Callable[[], Field],
    work: Callable[[Field], None],
    check: Callable[[Field], bool],
    meanwhile: Callable[[Field], bool] = lambda _: True,
) -> int:
    """Does `work` on a card that is pulled at each of its commands in turn, and then again; counts the pulls.

    Each command is cut off once before and once after the card has carried it out. `check` looks at what became of
    the card in the end, `meanwhile` at the card as it was pulled.
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
            assert meanwhile(field), (at, carries_out)
            field.activate()
            work(field)
            assert check(field), (at, carries_out)
    return 2 * count
