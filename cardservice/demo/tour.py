# SPDX-License-Identifier: EUPL-1.2
"""What a visitor does in the demonstration city, and what is seen of it. Decides nothing.

What holds on every page is told over the service's live feed (kind "tour").
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from cardservice.cards.rules import CardState
from cardservice.demo.apart import Apart
from cardservice.demo.city import AGENT, DemoCity
from cardservice.demo.drawer import holder_of
from cardservice.demo.kept import KeptEvents
from cardservice.demo.processes import DemoError, NotPossible
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.demo.till import TillDesk
from cardservice.demo.watch import TERMINALS, TapWatch
from city import building, deck
from city.building import PC
from rig.errors import RigError
from rig.program import wait_for

PRINTERS: Final = {place.code: str(place.options["printer"]) for place in building.PLACES if place.use == "printer"}
EFFECT_LIMIT_S: Final = 5.0
TOP_UP_CENTS: Final = 2_000
_LOOK_EVERY_S: Final = 0.5
# A look at the PC's screen starts a program.
_SCREEN_PAUSE_S: Final = 0.05
# A terminal takes no key while it is read from, and for a second after it answered.
_KEYS_SETTLE_S: Final = 1.5


class Tour:
    """The city as its visitors use it, many at once. `start` once, `stop` always."""

    def __init__(self, city: DemoCity) -> None:
        self._city = city
        self._apart = Apart(city)
        self._hands = threading.Lock()
        self._stopped = threading.Event()
        self._card_in_pc: str | None = None
        self._locked: bool | None = None
        self._printed: Mapping[str, int] = {}
        self._kept = 0
        self.till = TillDesk(city, self._tell)
        self._states = {card.card_id: card.state for card in deck.CARDS}
        self._told: Mapping[str, Any] = {}
        self._looking: threading.Thread | None = None

    def start(self, watched: Callable[[], bool]) -> None:
        """Begin to look after what no feed tells (screen, output trays, outboxes) while `watched()` is true."""
        self._looking = threading.Thread(target=self._keep_looking, args=(watched,), name="tour", daemon=True)
        self._looking.start()

    def stop(self) -> None:
        """Stop looking, and let a till that waits wait no longer."""
        self._stopped.set()
        if self._looking is not None:
            self._looking.join(timeout=5)
        self.till.close()
        self._apart.close()

    # What one does

    def hold(self, card: str, point: str) -> dict[str, Any]:
        """Hold a card to a reader until something came of it; return what was seen.

        Raises:
            RigError, DemoError: the card or the reader is not free, or there is none.
        """
        if point == PC:
            raise NotPossible("pc_is_a_slot", "a card is put into the PC, not held to it")
        if card == self._card_in_pc:
            # One has one card: whoever goes on takes it along.
            self.take_out()
        with TapWatch(self._city, point) as watch:
            self._insert(card, point)
            try:
                return watch.until_over()
            finally:
                self._eject(point)
                self._look()

    def put_in(self, card: str) -> dict[str, Any]:
        """Put a card into the PC's reader and leave it there; return what was seen.

        Raises:
            RigError, DemoError: the card or the reader is not free, or there is none.
        """
        with TapWatch(self._city, PC) as watch:
            self._insert(card, PC)
            self._card_in_pc = card
            seen = watch.until_over()
        if seen["outcome"] == "acted":
            self._until_locked(locked=False)
        self._look()
        return seen

    def take_out(self) -> dict[str, Any]:
        """Take the card out of the PC, if one is there; return how long the screen took to lock, where there is one."""
        began_s = time.monotonic()
        was_open = self._locked is False
        self._eject(PC)
        self._card_in_pc = None
        locked = self._until_locked(locked=True)
        took_ms = round((time.monotonic() - began_s) * 1_000) if was_open and locked else None
        self._look()
        return {"locked_ms": took_ms}

    def choose(self, point: str, key: str) -> None:
        """Press a key on a terminal's screen.

        Raises:
            NotPossible: it cannot be pressed now.
        """
        if point not in TERMINALS:
            raise NotPossible("no_keys", f"there are no keys at {point!r}")
        until_s = time.monotonic() + _KEYS_SETTLE_S
        while (why_not := self._cannot_choose(point, key)) is not None:
            if time.monotonic() > until_s or not self._city.cable.plugged:
                raise NotPossible("no_keys_now", why_not)
            time.sleep(0.1)  # the kiosk tells nobody when it takes keys again

    def _cannot_choose(self, point: str, key: str) -> str | None:
        try:
            self._city.choose(point, key)
        except DemoError as error:
            return str(error)
        return None

    def top_up(self, card: str) -> None:
        """Put 20 euros onto the wallet of the card's holder, as payroll would.

        Raises:
            NotPossible: the card is nobody's.
            DemoError: the service does not answer, or refuses.
        """
        answer = self._city.top_up(holder_of(card).number, TOP_UP_CENTS)
        if answer.get("status") != "booked":
            raise DemoError(f"the wallet was not topped up: {answer.get('detail', 'no reason given')}")

    def print_document(self, card: str, title: str) -> None:
        """Send a document to the waiting queue as the card's holder.

        Raises:
            NotPossible: nobody could print with this card, or there are no printers here.
            RigError: the spooler does not take it.
        """
        around, holder = self._city.around, holder_of(card)
        if around.why_no_printers:
            raise NotPossible("no_printers", around.why_no_printers)
        if holder.login not in around.accounts:
            raise NotPossible("no_print_account", f"{holder.login} has no account to print with")
        around.print_something(holder.login, title)

    def set_missing(self, card: str, *, missing: bool) -> float | None:
        """Report a card missing at the card desk, or found; return after how many milliseconds it held everywhere.

        Raises:
            CardServiceError: the life cycle does not allow it.
        """
        if card not in self._city.references:
            raise NotPossible("not_registered", "only a registered card can be reported")
        state = CardState.SUSPENDED if missing else CardState.ACTIVE
        took_ms = self._city.effect_ms(lambda: self._city.report(card, state, "missing" if missing else None))
        self._states[card] = state.value
        self._tell()
        return took_ms

    def set_disabled(self, login: str, *, disabled: bool) -> float | None:
        """Disable somebody in the directory, or enable them; return after how many milliseconds the service knew.

        Raises:
            DemoError, LdapTrouble: there is no such person, or the directory does not answer.
        """
        took_ms = self._city.effect_ms(lambda: self._city.set_disabled(login, disabled=disabled))
        self._tell()
        return took_ms

    def set_network(self, *, plugged: bool) -> None:
        """Pull the cable between the agents and the service, or put it back."""
        self._city.set_network(plugged=plugged)
        self._tell()

    def set_directory(self, *, running: bool) -> None:
        """Let the directory hang, or go on."""
        self._city.set_directory(running=running)
        self._tell()

    # What is seen

    def state(self) -> dict[str, Any]:
        """Return what holds on every page, as JSON knows it."""
        return {
            "kind": "tour",
            "network": self._city.cable.plugged,
            "directory": self._city.directory_runs,
            "kept": self._kept,
            "pc": {"card": self._card_in_pc, "locked": self._locked},
            "printed": dict(self._printed),
            "till": self.till.asks,
            "cards": dict(self._states),
            "disabled": sorted(self._city.disabled),
        }

    def lies_apart(self, card: str) -> dict[str, Any]:
        """Return what each use knows of a card and its holder."""
        return self._apart.of(card)

    def try_to_link(self) -> str:
        """Try to bring two uses together, as a curious colleague would; return how the service refuses."""
        return self._apart.try_to_link()

    def _tell(self) -> None:
        state = self.state()
        if state != self._told:
            self._told = state
            self._city.live.tell(state)

    def _look(self) -> None:
        around, city = self._city.around, self._city
        documents = around.printed()
        self._printed = {point: documents.get(printer, 0) for point, printer in PRINTERS.items()}
        self._locked = around.pc_locked()
        # While all is well an event waits for milliseconds: nothing worth telling.
        if self._kept or not city.cable.plugged:
            self._kept = sum(KeptEvents(city.state_folder, agent).waiting() for agent in (AGENT, PLACES_AGENT))
        self._tell()

    def _keep_looking(self, watched: Callable[[], bool]) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(RigError, OSError):
                if watched():
                    self._look()
            self._stopped.wait(_LOOK_EVERY_S)

    def _until_locked(self, *, locked: bool) -> bool:
        """Wait until the PC's screen is as it should; tell whether it is."""
        pc_locked = self._city.around.pc_locked
        wait_for(lambda: pc_locked() in (locked, None), EFFECT_LIMIT_S, pause_s=_SCREEN_PAUSE_S)
        return pc_locked() is locked

    def _insert(self, card: str, point: str) -> None:
        with self._hands:
            self._city.insert(card, point)

    def _eject(self, point: str) -> None:
        with self._hands:
            self._city.eject(point)
