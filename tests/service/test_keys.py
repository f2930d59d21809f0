# SPDX-License-Identifier: EUPL-1.2
"""Changing the keys of all cards: who has moved is counted, nobody is shut out unawares, closed keys are gone."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from service.fake_clock import FakeClock

from cardservice.cards.encoding.store import add_badge
from cardservice.cards.keys import sealing, store
from cardservice.cards.keys.keyfile import KeyFile
from cardservice.cards.keys.service import CardsLeft, Closing, close_now, listed, status
from cardservice.cards.keys.upkeep import COUNT_S, KeyUpkeep
from cardservice.cards.numbers.rules import Written, read_number
from cardservice.cards.rules import CardState, desfire_credential, old_credential
from cardservice.cards.store import add_card, credential, set_state
from cardservice.cards.store import card as card_table
from cardservice.database import Databases, read, write
from cardservice.errors import Conflict
from cardservice.people.store import ensure_organisation

PASSPHRASE = b"passphrase-canary-2c71"
NOW_MS = 1_790_000_000_000


@dataclass
class World:
    """Ten cards with a door and a canteen application, a key store, and what looks after both."""

    databases: Databases
    file: KeyFile
    upkeep: KeyUpkeep
    clock: FakeClock

    def door(self, card: int) -> bytes:
        return desfire_credential("door", bytes((card,)) * 12)

    def doors(self):
        return next(one for one in self.upkeep.status if one.use == "door")

    def open_generations(self) -> list[int]:
        return [one.generation for one in self.doors().generations if one.closed_ms is None]

    def look(self) -> None:
        self.clock.pass_ms(int(COUNT_S * 1_000))
        self.upkeep.look()
        assert self.upkeep.trouble is None


@pytest.fixture
def world(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(sealing, "SCRYPT", {"n": 2, "r": 8, "p": 1})
    file = KeyFile(tmp_path / "keys.json", lambda: PASSPHRASE)
    keys = file.create(b"CITY", None, NOW_MS)
    with write(databases.state) as connection:
        city = ensure_organisation(connection, "city", "City")
        for card in range(10):
            numbers = [desfire_credential(use, bytes((card,)) * 12) for use in ("door", "canteen")]
            add_card(connection, f"card-{card}", city, None, numbers)
    clock = FakeClock()
    upkeep = KeyUpkeep(databases.state, keys, file, clock)
    return World(databases, file, upkeep, clock)


def test_what_cards_prove_is_counted(world: World) -> None:
    """Of each use by itself; a card nobody has seen since is told apart; unknown numbers count nowhere."""
    for card in range(6):
        world.upkeep.proved(world.door(card), 1)
    world.upkeep.proved(desfire_credential("door", b"\xee" * 12), 1)
    world.look()
    doors = world.doors()
    assert (doors.cards, doors.moved, doors.unseen) == (10, 6, 4)
    assert next(one for one in world.upkeep.status if one.use == "canteen").unseen == 10
    assert next(one for one in world.upkeep.status if one.use == "card").cards == 0


def test_keys_of_the_card_level_are_counted_by_the_cards_that_need_them(world: World) -> None:
    """A used blank that is not finished may have the one before; what was destroyed needs none."""
    with write(world.databases.state) as connection:
        numbers = connection.execute(sa.select(card_table.c.id).order_by(card_table.c.id).limit(4)).scalars().all()
        for number, (generation, former) in zip(numbers, ((1, None), (2, None), (2, 1), (1, None)), strict=True):
            add_badge(connection, number, bytes([number]) * 12, generation, former)
        connection.execute(sa.update(card_table).where(card_table.c.id == numbers[3]).values(state="destroyed"))
        assert store.counts(connection, ("card",)) == {"card": {1: 2, 2: 1}}
        assert len(store.cards_of(connection, "card", 1, 10)) == 2


def test_a_number_of_before_is_no_card_that_has_yet_to_move(world: World) -> None:
    """It has no keys at all: it would be counted as unseen for ever."""
    world.look()
    before = world.doors().cards
    with write(world.databases.state) as connection:
        number = connection.execute(sa.select(card_table.c.id).limit(1)).scalar_one()
        old = old_credential("door", read_number("04AABBCCDDEEFF", Written.HEX).number(), 1)
        connection.execute(sa.insert(credential).values(card_id=number, key=old))
    world.look()
    assert world.doors().cards == before


def test_a_card_that_moved_counts_as_moved(world: World) -> None:
    """After a rotation none has; each that proves the new generation has; what was seen survives a restart."""
    for card in range(10):
        world.upkeep.proved(world.door(card), 1)
    world.look()
    world.file.rotate("door", None, NOW_MS)
    world.look()
    assert (world.doors().moved, world.doors().unseen) == (0, 0)
    for card in range(3):
        world.upkeep.proved(world.door(card), 2)
    world.look()
    assert world.doors().moved == 3
    again = KeyUpkeep(world.databases.state, world.file.load(), world.file, world.clock)
    again.start()
    again.stop()
    assert next(one for one in again.status if one.use == "door").moved == 3
    with read(world.databases.state) as connection:
        assert sorted(store.known(connection).values()) == [1] * 7 + [2] * 3


def test_a_tap_that_tells_nothing_new_writes_nothing(world: World) -> None:
    """A thousand taps of one card are one row, written once."""
    for _ in range(1_000):
        world.upkeep.proved(world.door(1), 1)
    world.look()
    written = []
    real, store.note = store.note, lambda *_: written.append(1)
    try:
        for _ in range(1_000):
            world.upkeep.proved(world.door(1), 1)
        world.look()
    finally:
        store.note = real
    assert written == []


def test_cards_that_are_over_do_not_count(world: World) -> None:
    """A lost card opens nothing whatever its keys are: it holds no closing up."""
    with write(world.databases.state) as connection:
        set_state(connection, 1, CardState.REVOKED, "lost", None)
    world.look()
    assert world.doors().cards == 9


def test_closing_shuts_nobody_out_unawares(world: World) -> None:
    """The exact number has to be said; who they are is listed; the active generation is never closed."""
    world.file.rotate("door", None, NOW_MS)
    for card in range(8):
        world.upkeep.proved(world.door(card), 2)
    world.look()
    state, generations = world.databases.state, world.upkeep.generations
    for said in (0, 1, 3, 10):
        with pytest.raises(CardsLeft, match=f"shuts out 2 cards .*said were {said}"):
            close_now(state, generations, Closing("door", 1, said), NOW_MS)
    assert listed(state, "door", 1) == ["card-8", "card-9"]
    with pytest.raises(Conflict, match="is the one new cards get"):
        close_now(state, generations, Closing("door", 2, 8), NOW_MS)
    with pytest.raises(Conflict, match="generation 7 of door is not open"):
        close_now(state, generations, Closing("door", 7), NOW_MS)
    assert world.open_generations() == [2, 1]
    close_now(state, generations, Closing("door", 1, 2), NOW_MS)
    world.look()
    assert world.open_generations() == [2]
    assert [one.generation for one in world.doors().generations] == [2, 1]


def test_what_was_closed_is_thrown_away_however_often_the_service_dies(world: World) -> None:
    """The closing is in the store first; whoever opens the keys next throws them away, and only once."""
    world.file.rotate("door", None, NOW_MS)
    world.look()
    close_now(world.databases.state, world.upkeep.generations, Closing("door", 1, 10), NOW_MS)
    assert len(world.file.load().ring("door").locate) == 2
    restarted = KeyUpkeep(world.databases.state, world.file.load(), world.file, world.clock)
    restarted.look()
    assert restarted.trouble is None
    assert len(world.file.load().ring("door").locate) == 1
    changed = world.file.path.read_bytes()
    restarted.look()
    assert world.file.path.read_bytes() == changed
    with pytest.raises(Conflict):
        close_now(world.databases.state, restarted.generations, Closing("door", 1, 10), NOW_MS)


def test_a_damaged_key_file_is_told_and_the_keys_go_on(world: World) -> None:
    """Whoever breaks the file under a running service does not lock the city out; it says so until it is mended."""
    whole = world.file.path.read_bytes()
    world.file.path.write_bytes(whole[:-40])
    world.upkeep.look()
    assert any("key store" in sentence for sentence in world.upkeep.sentences())
    world.file.path.write_bytes(whole)
    world.look()
    assert world.upkeep.sentences() == []


def test_the_gauges_name_uses_and_generations_alone(world: World) -> None:
    world.upkeep.proved(world.door(1), 1)
    world.look()
    shown = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in world.upkeep.collect()
        for sample in family.samples
    }
    assert shown["cardservice_key_cards", ("generation", "1"), ("use", "door")] == 1
    assert shown["cardservice_key_cards", ("generation", "unseen"), ("use", "door")] == 9
    assert shown["cardservice_key_generation", ("generation", "1"), ("state", "active"), ("use", "door")] == 1


def test_the_queue_of_news_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away taps go on; what does not fit is noted when the card is held to a reader again."""
    monkeypatch.setattr("cardservice.cards.keys.upkeep.MAX_WAITING", 3)
    for card in range(10):
        world.upkeep.proved(world.door(card), 1)
    world.look()
    assert world.doors().moved == 3
    for card in range(10):
        world.upkeep.proved(world.door(card), 1)
    world.look()
    assert world.doors().moved == 6


def test_status_of_keys_that_nobody_counts_is_complete(world: World) -> None:
    found = status(world.databases.state, world.file.load().generations)
    assert [one.use for one in found] == ["door", "timeclock", "printer", "canteen", "card"]
    assert all([line.state for line in one.generations] == ["active"] for one in found)
    assert replace(found[0], cards=0).cards == 0
