# SPDX-License-Identifier: EUPL-1.2
"""Cards that lie in a reader while it or pcscd goes: seen again they are found, not presented."""

from typing import Any

import pytest

from readers.ports import CardArrived

pytestmark = pytest.mark.pcscd

ATR = bytes.fromhex("3b8180018080")


class Driver:
    """A driver whose pcscd is told here: what it lists, and what lies in the reader A."""

    def __init__(self) -> None:
        # Only here: collecting the suite must not need pyscard.
        from readers import pcsc

        self.pcsc = pcsc
        self.driver = pcsc.PcscDriver()
        self._counter = 0

    def lists(self, *names: str) -> None:
        self.driver._compare(names)

    def goes_down(self) -> None:
        self.driver._go_down("gone", 0)

    def shows(self, atr: bytes | None) -> list[Any]:
        """What the driver reports when pcscd shows reader A with this card, or empty."""
        self._counter += 1
        present = self.pcsc.scard.SCARD_STATE_PRESENT if atr else self.pcsc.scard.SCARD_STATE_EMPTY
        return self.driver._update("A", self.driver._watched["A"], present | self._counter << 16, atr or b"")

    def presents(self, atr: bytes) -> None:
        self.shows(None)
        assert self.shows(atr) == [CardArrived("A", atr, found=False)]


@pytest.fixture
def driver() -> Driver:
    """A card was presented to reader A and lies there."""
    driver = Driver()
    driver.lists("A", "B")
    driver.presents(ATR)
    return driver


def test_a_card_seen_late_after_a_restart_is_found(driver):
    driver.goes_down()
    driver.lists("A", "B")
    assert driver.shows(None) == []
    assert driver.shows(ATR) == [CardArrived("A", ATR, found=True)]


def test_a_card_not_yet_seen_again_when_pcscd_goes_once_more_is_found(driver):
    """A pcscd that crashes in a row opens no door to a card that lies there."""
    for _ in range(3):
        driver.goes_down()
        driver.lists("A", "B")
        assert driver.shows(None) == []
    assert driver.shows(ATR) == [CardArrived("A", ATR, found=True)]


def test_a_card_in_a_reader_that_was_unplugged_is_found(driver):
    """With and without a restart of pcscd in between."""
    driver.lists("B")
    driver.goes_down()
    driver.lists("B")
    driver.lists("B", "A")
    assert driver.shows(None) == []
    assert driver.shows(ATR) == [CardArrived("A", ATR, found=True)]


def test_a_card_presented_after_the_pause_is_an_arrival(driver, monkeypatch):
    """Two seconds after its reader came back nobody asks for it again, and what lay there before is forgotten."""
    driver.goes_down()
    driver.lists("A", "B")
    now_s = driver.pcsc.time.monotonic() + driver.pcsc.RESTART_SETTLES_S
    monkeypatch.setattr(driver.pcsc.time, "monotonic", lambda: now_s)
    driver.goes_down()
    driver.lists("A", "B")
    driver.presents(ATR)


def test_a_card_of_another_kind_is_an_arrival(driver):
    driver.goes_down()
    driver.lists("A", "B")
    driver.presents(ATR + b"\x01")


def test_not_every_reader_that_ever_was_is_remembered(driver):
    for number in range(200):
        name = f"A{number}"
        driver.lists(name)
        driver.driver._watched[name].atr = ATR
    assert len(driver.driver._held) == driver.pcsc.MAX_HELD
    driver.lists("A198", "A")
    assert [driver.driver._watched[name].held for name in ("A198", "A")] == [ATR, None]
