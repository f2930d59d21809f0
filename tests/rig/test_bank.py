# SPDX-License-Identifier: EUPL-1.2
"""Who is where: insertions, removals, waiting and cards that leave, from several threads."""

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rig.bank import Bank, ReaderSpec, SlotState
from rig.errors import (
    BankClosedError,
    CardElsewhereError,
    CardFaultError,
    CardNotPoweredError,
    CardRemovedError,
    ReadersFileError,
    ReaderUnavailableError,
    RequestError,
    SlotEmptyError,
    SlotOccupiedError,
    UnknownCardError,
    UnknownReaderError,
)

READERS = [ReaderSpec("outside"), ReaderSpec("inside"), ReaderSpec("desk", "contact")]


@pytest.fixture
def deck(cards):
    """Three ordinary cards and the difficult ones."""
    return {
        "alice": cards.EchoCard(1),
        "bob": cards.EchoCard(2),
        "leaving": cards.LeavingCard(),
        "broken": cards.BrokenCard(),
        "slow": cards.SlowCard(),
    }


@pytest.fixture
def bank(deck):
    """Three readers and the deck."""
    return Bank(READERS, deck)


def test_a_card_is_powered_over_the_interface_of_its_reader(bank, deck):
    """The card learns its interface, answers, and loses its power with the removal."""
    bank.insert("alice", "desk")
    assert bank.power_on("desk") == deck["alice"].atr
    assert bank.transmit("desk", b"\x00\x84\x00\x00\x08") == b"\x00\x84\x00\x00\x08\x90\x00"
    assert bank.eject("desk") == "alice"
    bank.insert("alice", "outside")
    bank.power_on("outside")
    assert deck["alice"].diary == ["on contact", "0084000008", "off", "on contactless"]


def test_power_on_twice_is_a_cold_start(bank, deck):
    """A card that is on is switched off before it starts anew; power_off twice reaches it once."""
    bank.insert("alice", "desk")
    bank.power_on("desk")
    bank.power_on("desk")
    bank.power_off("desk")
    bank.power_off("desk")
    assert deck["alice"].diary == ["on contact", "off", "on contact", "off"]


def test_a_card_has_one_place_and_a_reader_one_card(bank):
    """Double insertion is refused whichever side is taken, and nothing has changed after it."""
    bank.insert("alice", "outside")
    before = bank.state()
    with pytest.raises(CardElsewhereError, match="'alice' is in 'outside'"):
        bank.insert("alice", "inside")
    with pytest.raises(SlotOccupiedError, match="holds card 'alice'"):
        bank.insert("bob", "outside")
    with pytest.raises(CardElsewhereError):
        bank.swap("alice", "outside")
    assert bank.state() == before
    assert bank.cards_in() == {"outside": "alice"}


def test_mistakes_are_named(bank):
    """Unknown names, empty slots and numbers out of range each have their own error."""
    with pytest.raises(UnknownReaderError, match="'outside', 'inside', 'desk'"):
        bank.insert("alice", "roof")
    with pytest.raises(UnknownCardError, match="'carol'"):
        bank.insert("carol", "desk")
    with pytest.raises(SlotEmptyError):
        bank.eject("desk")
    with pytest.raises(SlotEmptyError):
        bank.swap("alice", "desk")
    with pytest.raises(SlotEmptyError):
        bank.pull_after("desk", 1)
    with pytest.raises(RequestError, match="n_apdus is 0"):
        bank.pull_after("desk", 0)
    with pytest.raises(CardRemovedError):
        bank.power_on("desk")
    bank.insert("alice", "desk")
    with pytest.raises(CardNotPoweredError):
        bank.transmit("desk", b"\x60")
    for length in (0, 65545):
        with pytest.raises(RequestError, match="1 to 65544"):
            bank.transmit("desk", bytes(length))
    assert bank.cards_in() == {"desk": "alice"}


def test_readers_need_unique_names_and_a_known_interface():
    """Two readers of one name and an unknown interface are refused at the start."""
    with pytest.raises(ReadersFileError, match="two readers are named 'a'"):
        Bank([ReaderSpec("a"), ReaderSpec("a")], {})
    with pytest.raises(ReadersFileError, match="interface is 'magnetic'"):
        ReaderSpec("a", "magnetic")


def test_a_swap_between_two_looks_moves_the_counter(bank):
    """The state alone would look unchanged; the counter moves by two, and the new card has no power yet."""
    bank.insert("alice", "outside")
    bank.power_on("outside")
    events = bank.state()["outside"].events
    assert bank.swap("bob", "outside") == "alice"
    assert bank.wait({"outside": "present"}, 0) == {}
    assert bank.wait({"outside": events}, 0) == {"outside": SlotState("present", events + 2)}
    with pytest.raises(CardNotPoweredError):
        bank.transmit("outside", b"\x60")


@pytest.mark.parametrize(
    ("executed", "diary"), [(True, ["on contactless", "60", "61", "off"]), (False, ["on contactless", "60", "off"])]
)
def test_a_card_is_pulled_in_the_middle_of_the_second_apdu(bank, deck, executed, diary):
    """The answer is lost, whether the card carried the command out or not, and the slot is empty."""
    bank.insert("alice", "outside")
    bank.power_on("outside")
    bank.pull_after("outside", 2, executed=executed)
    assert bank.transmit("outside", b"\x60") == b"\x60\x90\x00"
    with pytest.raises(CardRemovedError):
        bank.transmit("outside", b"\x61")
    assert bank.state()["outside"].state == "empty"
    assert deck["alice"].diary == diary


def test_a_pull_ends_with_the_stay_of_the_card(bank):
    """A planned pull does not wait for the next card."""
    bank.insert("alice", "outside")
    bank.pull_after("outside", 1)
    bank.swap("bob", "outside")
    bank.power_on("outside")
    assert bank.transmit("outside", b"\x60") == b"\x60\x90\x00"


def test_a_card_that_pulls_itself_out(bank):
    """CardPulled means removed now, and the card can be put in again."""
    bank.insert("leaving", "outside")
    bank.power_on("outside")
    with pytest.raises(CardRemovedError, match="pulled itself out"):
        bank.transmit("outside", b"\x60")
    bank.insert("leaving", "inside")
    assert bank.cards_in() == {"inside": "leaving"}


def test_a_broken_card_is_taken_out_and_its_message_kept_quiet(bank, caplog):
    """Any other exception is a fault of the card; its text may hold secrets and is told nobody."""
    bank.insert("broken", "outside")
    bank.power_on("outside")
    with pytest.raises(CardFaultError, match=r"ValueError at .*echo_cards\.py") as caught:
        bank.transmit("outside", b"\x60")
    assert bank.state()["outside"].state == "empty"
    assert "123456" not in str(caught.value) + caplog.text


@pytest.mark.parametrize("atr", [b"", bytes(34), "3B"])
def test_a_card_without_a_valid_atr_is_broken(cards, atr):
    """An ATR has 1 to 33 bytes."""
    card = cards.EchoCard()
    card.atr = atr
    bank = Bank(READERS, {"odd": card})
    bank.insert("odd", "outside")
    with pytest.raises(CardFaultError, match="no ATR"):
        bank.power_on("outside")


def test_an_unplugged_reader_keeps_its_card(bank, deck):
    """Unplugging cuts the power and refuses everything but taking the card out; plugging in shows the card."""
    bank.insert("alice", "outside")
    bank.power_on("outside")
    bank.remove_reader("outside")
    assert deck["alice"].diary[-1] == "off"
    assert bank.state()["outside"].state == "unavailable"
    for attempt in (lambda: bank.power_on("outside"), lambda: bank.insert("bob", "outside")):
        with pytest.raises(ReaderUnavailableError):
            attempt()
    bank.restore_reader("outside")
    assert bank.wait({"outside": "unavailable"}, 0)["outside"].state == "present"
    bank.remove_reader("outside")
    assert bank.eject("outside") == "alice"
    bank.restore_reader("outside")
    assert bank.state()["outside"].state == "empty"
    with pytest.raises(RequestError, match="not unplugged"):
        bank.restore_reader("outside")


def test_wait_blocks_until_something_differs(bank):
    """A waiting thread is woken by the insertion and told which reader changed."""
    known = {name: look.events for name, look in bank.state().items()}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bank.wait, known, 30)
        bank.insert("alice", "inside")
        assert waiting.result(30) == {"inside": SlotState("present", 1)}
    assert bank.wait({"inside": "present", "outside": "empty"}, 0.01) == {}
    with pytest.raises(UnknownReaderError):
        bank.wait({"roof": 0}, 0)


def test_closing_wakes_whoever_waits(bank, deck):
    """A stopped rig leaves no thread waiting and no card powered."""
    bank.insert("alice", "inside")
    bank.power_on("inside")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bank.wait, {"outside": "empty"}, 30)
        bank.close()
        with pytest.raises(BankClosedError):
            waiting.result(30)
    assert deck["alice"].diary[-1] == "off"


def test_a_card_is_never_used_twice_at_a_time(bank, deck):
    """Pulled out during a slow command and put in elsewhere, a card first finishes the old command."""
    slow = deck["slow"]
    bank.insert("slow", "outside")
    bank.power_on("outside")
    with ThreadPoolExecutor(2) as pool:
        old = pool.submit(bank.transmit, "outside", b"\x60")
        assert slow.inside.wait(30)
        bank.eject("outside")
        bank.insert("slow", "inside")
        new = pool.submit(bank.power_on, "inside")
        slow.go_on.set()
        with pytest.raises(CardRemovedError):
            old.result(30)
        assert new.result(30) == slow.atr
    assert slow.most_users == 1
    assert slow.diary == ["on contactless", "60", "off", "on contactless"]


def test_many_threads_never_put_a_card_into_two_readers(cards):
    """Four threads move six cards at random: no card is ever in two places, and every refusal is a clear one."""
    names = [f"reader {number}" for number in range(4)]
    deck = {f"card {number}": cards.EchoCard(number) for number in range(6)}
    bank = Bank([ReaderSpec(name) for name in names], deck)
    doubles: list[dict[str, str]] = []
    start = threading.Barrier(4)

    def move(seed: int) -> int:
        choose = random.Random(seed)
        done = 0
        start.wait(30)
        for _ in range(200):
            card, reader = choose.choice(list(deck)), choose.choice(names)
            action = choose.choice(["insert", "swap", "eject", "use"])
            try:
                if action == "use":
                    bank.power_on(reader)
                    assert bank.transmit(reader, b"\x60") == b"\x60\x90\x00"
                elif action == "eject":
                    bank.eject(reader)
                else:
                    getattr(bank, action)(card, reader)
                done += 1
            except (CardElsewhereError, SlotOccupiedError, SlotEmptyError, CardRemovedError, CardNotPoweredError):
                pass
            inside = bank.cards_in()
            if len(set(inside.values())) != len(inside):
                doubles.append(inside)
        return done

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(move, range(4)))
    assert not doubles
    assert min(done) > 0
    for card in deck.values():
        power = [entry for entry in card.diary if entry.startswith("o")]
        assert all(first[:2] != second[:2] for first, second in itertools.pairwise(power))


def test_observers_hear_every_change_in_order(bank):
    """An observer first hears of the cards already in, then of each insertion and removal."""
    bank.insert("alice", "outside")
    heard: list[tuple[str, bool]] = []
    bank.observe(lambda reader, insertion: heard.append((reader, insertion is not None)))
    bank.swap("bob", "outside")
    bank.remove_reader("outside")
    bank.restore_reader("outside")
    bank.eject("outside")
    assert heard == [("outside", state) for state in (True, False, True, False, True, False)]
