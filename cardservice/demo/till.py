# SPDX-License-Identifier: EUPL-1.2
"""The canteen's till, as its software uses the service: it asks for a card, and hears what came of it."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from cardservice.demo.city import DemoCity
from cardservice.demo.processes import NotPossible
from city import building
from integrations.till import Till
from integrations.till.client import TillError, UnknownOutcome
from rig.program import wait_for

_WAITS_S: Final = 60
_SHOWN_WITHIN_S: Final = 5.0


class Dish(NamedTuple):
    """What the canteen sells."""

    amount_cents: int
    price_class: str


DISHES: Final[Mapping[str, Dish]] = {"menu": Dish(980, "food"), "coffee": Dish(140, "drinks")}


class TillDesk:
    """The till, asked for one dish at a time. `changed` is called whenever it asks or has asked."""

    def __init__(self, city: DemoCity, changed: Callable[[], None]) -> None:
        self._city = city
        self._changed = changed
        self._hands = threading.Lock()
        # What the till was told to sell, and what the terminal shows of it.
        self._asked: str | None = None
        self.asks: str | None = None

    def ask(self, dish: str) -> None:
        """Let the till ask for a card; what came of it is told over the feed (kind "till").

        Raises:
            NotPossible: it asks already, or there is no such dish.
        """
        if dish not in DISHES:
            raise NotPossible("no_such_dish", f"{dish!r} is not sold here")
        with self._hands:
            if self._asked is not None:
                raise NotPossible("till_busy", "the till waits for a card already")
            self._asked = dish
        threading.Thread(target=self._pay, args=(dish,), name="till", daemon=True).start()
        # A card held before would only be shown what it has.
        wait_for(lambda: self._asked is None or self._prompts(), _SHOWN_WITHIN_S)
        with self._hands:
            self.asks = self._asked
        self._changed()

    def cancel(self) -> None:
        """Let the till stop waiting.

        Raises:
            NotPossible: it does not wait for a card.
        """
        with self._till() as till:
            try:
                till.cancel()
            except TillError as error:
                raise NotPossible("till_idle", str(error)) from error

    def close(self) -> None:
        """Let a till that waits wait no longer."""
        if self._asked is not None:
            with contextlib.suppress(TillError, NotPossible):
                self.cancel()

    def _prompts(self) -> bool:
        return bool(self._city.screens.get(building.TILL, {}).get("prompt"))

    def _till(self) -> Till:
        city = self._city
        return Till(city.url, city.token("till-1"), building.TILL, city.state_folder / "tour-till.json")

    def _pay(self, dish: str) -> None:
        """Wait for a card as the till does, in a thread of its own, and tell the pages what came of it."""
        amount_cents, price_class = DISHES[dish]
        lines = [{"price_class": price_class, "amount_cents": amount_cents}]
        told: dict[str, Any] = {"kind": "till", "dish": dish, "amount_cents": amount_cents}
        try:
            with self._till() as till:
                # A payment nobody saw the end of comes first: none is begun beside it.
                with contextlib.suppress(TillError):
                    till.settle_open()
                told["status"] = till.pay(amount_cents, lines=lines, wait_s=_WAITS_S).status
        except TillError as error:
            told["status"] = error.code
        except UnknownOutcome:
            told["status"] = "unknown"
        finally:
            with self._hands:
                self._asked = self.asks = None
            self._city.live.tell(told)
            self._changed()
