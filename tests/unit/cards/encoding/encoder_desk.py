# SPDX-License-Identifier: EUPL-1.2
"""An encoder in one process: a store of its own, a key store, a virtual card in the field, and hands that pull it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from service.fake_clock import FakeClock

from cardservice.cards import store as cards
from cardservice.cards.encoding import service, store
from cardservice.cards.encoding.rules import EncoderName, JobKind, NumberUse
from cardservice.cards.encoding.runner import Runner, Tools
from cardservice.cards.encoding.service import Job, Wish
from cardservice.cards.encoding.works import CardKeys, look
from cardservice.cards.keystore import CardMaster, SealedKeyStore
from cardservice.cards.rules import CardState, desfire_credential
from cardservice.cards.service import By, NewState, change_state_in
from cardservice.chip.conversation import drive
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_des import FACTORY_DES_KEY
from cardservice.chip.errors import ChipError, StatusError
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import identify
from cardservice.database import Databases, open_databases, read, upgrade, write
from cardservice.people.store import ensure_organisation
from cardsim.card import VirtualCard
from cardsim.personalise import factory_desfire
from city import seed

HERE = EncoderName("counter", "Encoder 00 00")
BY = By("Ines Issuer")
USES = ("door", "timeclock", "printer", "canteen")
PLAIN = ("locate", "proof", "application_master")


class CardInHand:
    """A virtual card on the encoder; it can be pulled before or after it carries out one of its commands."""

    encoder = HERE

    def __init__(self, card: VirtualCard | None = None) -> None:
        self.card = card or VirtualCard("blank", "blank", desfire=factory_desfire())
        self.sent: list[bytes] = []
        self.pull_at: int | None = None
        self.carries_out = False
        self._gone = False
        self.lay_on()

    def lay_on(self) -> "CardInHand":
        """Lay the card on (again)."""
        self.sent, self.pull_at, self._gone = [], None, False
        return self

    def pull(self, at: int, *, carries_out: bool) -> None:
        """Take it away at the command with this number."""
        self.pull_at, self.carries_out = at, carries_out

    def begin(self) -> None:
        self.card.power_off()
        self.card.power_on("contactless")

    def exchange(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        answers: list[bytes] = []
        for command in commands:
            if self.pull_at == len(self.sent):
                self._gone = True
                if self.carries_out:
                    self.card.transmit(command)
            if self._gone:
                break
            self.sent.append(command)
            answers.append(self.card.transmit(command))
        return tuple(answers)

    def release(self) -> None:
        self.card.power_off()

    def has_the_factory_key(self) -> bool:
        """Whether the card level still opens with the DES key of zeros."""
        self.begin()
        level = drive(CardLevel.select(), self.card.transmit)
        try:
            drive(level.authenticate_iso(0, FACTORY_DES_KEY, random_bytes=bytes), self.card.transmit)
        except StatusError:
            return False
        return True


def key_store(*, newest: int = 1) -> SealedKeyStore:
    """Keys of the demonstration, in as many generations."""
    names = [(use, what, number) for number in range(1, newest + 1) for use in USES for what in PLAIN]
    masters = [CardMaster(use, what, number, seed.master(use, what, number)) for use, what, number in names]
    masters += [CardMaster(*seed.PICC, number, seed.master(*seed.PICC, number)) for number in range(1, newest + 1)]
    return SealedKeyStore(bytes(32), seed.SYSTEM_ID, masters, demonstration=True)


@dataclass
class Desk:
    """A state store, a key store and a runner."""

    databases: Databases
    keys: SealedKeyStore = field(default_factory=key_store)
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def card_keys(self) -> CardKeys:
        return CardKeys(self.keys)

    @property
    def runner(self) -> Runner:
        """A runner that knows nothing but what is stored: as after a restart."""
        return Runner(Tools(self.databases.state, self.card_keys, self.clock, lambda: None, lambda: None))

    def ordered(self, profile: str | None = "canteen_guest") -> str:
        """Order a card; it is in production."""
        with write(self.databases.state) as connection:
            here = ensure_organisation(connection, "musterstadt", "Musterstadt")
            count = connection.execute(sa.select(sa.func.count()).select_from(cards.card)).scalar_one()
            reference = f"card-{count + 1}"
            cards.add_card(connection, reference, here, None, (), state="in_production", profile=profile)
        return reference

    def order(
        self,
        kind: JobKind,
        card: str | None = None,
        *,
        blank: str | None = None,
        number_use: NumberUse | None = None,
        by: By = BY,
    ) -> Job:
        wish = Wish(kind, HERE, card, blank, number_use)
        with write(self.databases.state) as connection:
            return service.order(connection, wish, by, self.card_keys, self.clock.now_ms())

    def job(self, job: Job) -> Job:
        with read(self.databases.state) as connection:
            return service.one(connection, job.reference)

    def run(self, job: Job, hand: CardInHand) -> Job:
        return self.runner.run(self.job(job), hand)

    def cancel(self, job: Job) -> Job:
        with write(self.databases.state) as connection:
            return service.cancel(connection, job.reference, self.clock.now_ms())

    def move(self, card: str, *states: CardState, reason: str | None = None) -> None:
        for state in states:
            with write(self.databases.state) as connection:
                change_state_in(connection, card, NewState(state, reason), self.clock.now_ms())

    def state_of(self, card: str) -> CardState:
        with read(self.databases.state) as connection:
            found = cards.find_card(connection, card)
        assert found is not None
        return CardState(found.state)

    def known_as(self, card: str) -> set[bytes]:
        """What the readers of the city know a card by."""
        with read(self.databases.state) as connection:
            found = cards.find_card(connection, card)
            assert found is not None
            return set(cards.keys_of_card(connection, found.id))

    def encoded(self, profile: str | None = "canteen_guest") -> tuple[str, CardInHand]:
        """A card that was encoded."""
        card, hand = self.ordered(profile), CardInHand()
        done = self.run(self.order(JobKind.ENCODE, card), hand)
        assert done.state == "done", done
        return card, hand

    def tap(self, hand: CardInHand, use: str) -> bytes | None:
        """Hold the card to a reader of a use; return the credential that it proves, None if it proves none."""
        hand.begin()
        try:
            asked = identify(CardUse(use), self.keys.ring(use), system_id=self.keys.system_id)
            proven = drive(asked, hand.card.transmit)
        except ChipError:
            return None
        return desfire_credential(use, proven.number)

    def opens(self, hand: CardInHand) -> set[str]:
        """The uses at which some registered card that may open something would be recognised in this one."""
        with read(self.databases.state) as connection:
            rows = connection.execute(
                sa.select(cards.credential.c.key)
                .join(cards.card)
                .where(~cards.credential.c.retired, cards.card.c.state.not_in(["returned", "erased", "stock"]))
            )
            known = {bytes(key) for (key,) in rows}
        return {use for use in USES if self.tap(hand, use) in known}

    def card_level_opens(self, card: str, hand: CardInHand) -> bool:
        """Whether the key that comes from the stored badge number opens the card level: nothing is lost."""
        with read(self.databases.state) as connection:
            found = cards.find_card(connection, card)
            assert found is not None
            row = store.badge_of(connection, found.id)
        if row is None:
            return False
        hand.begin()
        picc = self.keys.picc_key(row.generation, bytes(row.number))
        return drive(look(picc, bytes(32)), hand.card.transmit).ours


@contextmanager
def opened(folder: Path, template: Path) -> Iterator[Desk]:
    """A desk on a copy of a migrated store."""
    shutil.copytree(template, folder)
    databases = open_databases(f"sqlite:///{folder}")
    try:
        yield Desk(databases)
    finally:
        databases.close()


def migrated(folder: Path) -> Path:
    """Make the store that the others are copies of."""
    databases = open_databases(f"sqlite:///{folder}")
    upgrade(databases)
    databases.close()
    return folder
