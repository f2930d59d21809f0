# SPDX-License-Identifier: EUPL-1.2
"""What a visitor does in the demonstration city, and what is seen of it. Decides nothing.

A card held somewhere is watched where it really shows: the service's live feed, the terminal's own screen, and, while
the network is cut, the outbox of the agent. What holds on every page is told over the same feed (kind "tour").
"""

import contextlib
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.agents.messages import TapEvent
from cardservice.canteen.rules import WALLET
from cardservice.canteen.store import canteen_payment
from cardservice.cards.keystore import open_store
from cardservice.cards.rules import CardState
from cardservice.database import open_databases, read
from cardservice.demo.city import AGENT, DemoCity
from cardservice.demo.processes import DemoError
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.journal.store import journal_subject
from cardservice.ledger.store import ledger_account, ledger_entry
from cardservice.people.lookup import person_by_login
from cardservice.printing.store import print_release
from cardservice.pseudonyms import pseudonym_of
from cardservice.timeclock.store import timeclock_booking
from cardservice.use_guard import UsesLinked
from city import building, deck, people, seed
from integrations.till import Till
from integrations.till.client import TillError, UnknownOutcome
from readers import texts as agent_texts
from readers.errors import OutboxFault
from readers.outbox_file import connect_to_read
from rig.errors import RigError

PC: Final = "pc.bauamt"
TILL: Final = "kantine.kasse-1"
TERMINALS: Final = frozenset(place.code for place in building.PLACES if place.kind == "terminal")
PRINTERS: Final = {place.code: str(place.options["printer"]) for place in building.PLACES if place.use == "printer"}
TAP_LIMIT_S: Final = 15.0
EFFECT_LIMIT_S: Final = 5.0
TOP_UP_CENTS: Final = 2_000
_TILL_WAITS_S: Final = 60
_LOOK_EVERY_S: Final = 0.5
# A terminal takes no key while it is read from, and for a second after it answered.
_KEYS_SETTLE_S: Final = 1.5
_MAX_EVENTS: Final = 1_000
# The end of the same answer, worked out twice, is the same instant but for rounding; no two taps are this close.
_SAME_ANSWER_MS: Final = 20
# What the agent shows by itself, by what became of the tap.
_AGENT_SAYS: Final = {
    "no_answer": agent_texts.CENTRE_UNREACHABLE,
    "late": agent_texts.CENTRE_UNREACHABLE,
    "card_gone": agent_texts.CARD_GONE,
    "output_failed": agent_texts.READER_FAULT,
}
_WAITING_EVENTS: Final = "FROM entries WHERE content IS NOT NULL AND aside IS NULL AND NOT acknowledged"


class Dish(NamedTuple):
    """What the canteen sells."""

    amount_cents: int
    price_class: str


DISHES: Final[Mapping[str, Dish]] = {"menu": Dish(980, "food"), "coffee": Dish(140, "drinks")}


class NotPossible(DemoError):
    """What was asked for cannot be done now; `code` is for the page, which says it in the visitor's language."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


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
        # What the till was told to sell, and what the terminal shows of it.
        self._asked: str | None = None
        self._asks: str | None = None
        self._states = {card.card_id: card.state for card in deck.CARDS}
        self._told: Mapping[str, Any] = {}
        self._looking = threading.Thread(target=self._keep_looking, name="tour", daemon=True)

    def start(self) -> None:
        """Begin to look after what no feed tells: screen, output trays, outboxes."""
        self._looking.start()

    def stop(self) -> None:
        """Stop looking, and let a till that waits wait no longer."""
        self._stopped.set()
        self._looking.join(timeout=5)
        if self._asked is not None:
            with contextlib.suppress(TillError, NotPossible):
                self.cancel_payment()
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
        with _Watch(self._city, point) as watch:
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
        with _Watch(self._city, PC) as watch:
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
            time.sleep(0.1)  # nothing tells us

    def _cannot_choose(self, point: str, key: str) -> str | None:
        try:
            self._city.choose(point, key)
        except DemoError as error:
            return str(error)
        return None

    def ask_to_pay(self, dish: str) -> None:
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
        _until(lambda: self._asked is None or bool(self._city.screens.get(TILL, {}).get("prompt")))
        with self._hands:
            self._asks = self._asked
        self._tell()

    def cancel_payment(self) -> None:
        """Let the till stop waiting.

        Raises:
            NotPossible: it does not wait for a card.
        """
        with self._till() as till:
            try:
                till.cancel()
            except TillError as error:
                raise NotPossible("till_idle", str(error)) from error

    def top_up(self, card: str) -> None:
        """Put 20 euros onto the wallet of the card's holder, as payroll would.

        Raises:
            NotPossible: the card is nobody's.
            DemoError: the service does not answer, or refuses.
        """
        holder = _holder(card)
        body = {"personnel_number": holder.number, "amount_cents": TOP_UP_CENTS, "source": "payroll"}
        answer = self._city.post("/api/v1/canteen/top-ups", body, caller="payroll", key=uuid.uuid4().hex)
        if answer.get("status") != "booked":
            raise DemoError(f"the wallet was not topped up: {answer.get('detail', 'no reason given')}")

    def print_document(self, card: str, title: str) -> None:
        """Send a document to the waiting queue as the card's holder.

        Raises:
            NotPossible: nobody could print with this card, or there are no printers here.
            RigError: the spooler does not take it.
        """
        around, holder = self._city.around, _holder(card)
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
        took_ms = self._measured(lambda: self._city.report(card, state, "missing" if missing else None))
        self._states[card] = state.value
        self._tell()
        return took_ms

    def set_disabled(self, login: str, *, disabled: bool) -> float | None:
        """Disable somebody in the directory, or enable them; return after how many milliseconds the service knew.

        Raises:
            DemoError, LdapTrouble: there is no such person, or the directory does not answer.
        """
        took_ms = self._measured(lambda: self._city.set_disabled(login, disabled=disabled))
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
            "till": self._asks,
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
            self._kept = sum(_Outbox(city, agent).waiting() for agent in (AGENT, PLACES_AGENT))
        self._tell()

    def _keep_looking(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(RigError, OSError):
                self._look()
            self._stopped.wait(_LOOK_EVERY_S)

    def _until_locked(self, *, locked: bool) -> bool:
        """Wait until the PC's screen is as it should; tell whether it is."""
        return _until(lambda: self._city.around.pc_locked() in (locked, None))

    def _measured(self, act: Callable[[], None]) -> float | None:
        """Do something that changes who may do what; return after how many milliseconds the service goes by it."""
        before = self._city.health().get("snapshot_revision", 0)
        began_s = time.monotonic()
        act()
        held = _until(lambda: self._city.health().get("snapshot_revision", before) > before)
        return round((time.monotonic() - began_s) * 1_000, 1) if held else None

    def _insert(self, card: str, point: str) -> None:
        with self._hands:
            self._city.insert(card, point)

    def _eject(self, point: str) -> None:
        with self._hands:
            self._city.eject(point)

    def _till(self) -> Till:
        city = self._city
        return Till(city.url, city.token("till-1"), TILL, city.state_folder / "tour-till.json")

    def _pay(self, dish: str) -> None:
        """Wait for a card as the till does, in a thread of its own, and tell the pages what came of it."""
        amount_cents, price_class = DISHES[dish]
        lines = [{"price_class": price_class, "amount_cents": amount_cents}]
        told: dict[str, Any] = {"kind": "till", "dish": dish, "amount_cents": amount_cents}
        try:
            with self._till() as till:
                told["status"] = till.pay(amount_cents, lines=lines, wait_s=_TILL_WAITS_S).status
        except TillError as error:
            told["status"] = error.code
        except UnknownOutcome:
            told["status"] = "unknown"
        finally:
            with self._hands:
                self._asked = self._asks = None
            self._city.live.tell(told)
            self._tell()


class _Watch:
    """Collects what becomes of one card at one point. Use it as a context."""

    def __init__(self, city: DemoCity, point: str) -> None:
        self._city = city
        self._point = point
        self._events: queue.Queue[Mapping[str, Any]] = queue.Queue(_MAX_EVENTS)
        # A screen may still show the answer to the card before.
        self._old_answer_ends_ms = _answer_ends_ms(city.screens.get(point, {}))
        self._outbox = _Outbox(city, PLACES_AGENT if point in {place.code for place in building.PLACES} else AGENT)
        self._old_event = self._outbox.newest(point)
        self._answered = point not in TERMINALS
        self._began_s = time.monotonic()
        self._seen: dict[str, Any] = {
            **dict.fromkeys(("permit", "reason", "level", "answer", "text", "outcome", "inserted_to_decision_ms")),
            "stages_us": {},
        }

    def __enter__(self) -> Self:
        self._end = self._city.live.listen(self._take)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _take(self, event: Mapping[str, Any]) -> None:
        if event.get("point") == self._point:
            with contextlib.suppress(queue.Full):
                self._events.put_nowait(event)

    def until_over(self) -> dict[str, Any]:
        """Return what was seen until the agent told what came of the card, or the time was over."""
        until_s = self._began_s + TAP_LIMIT_S
        while not (self._seen["outcome"] and self._answered) and time.monotonic() < until_s:
            try:
                self._note(self._events.get(timeout=0.05))
            except queue.Empty:
                if self._seen["outcome"] is None and not self._city.cable.plugged:
                    self._note_kept()
            if self._seen["outcome"]:
                # The screen comes another way, a moment later at most.
                until_s = min(until_s, time.monotonic() + 2)
        if self._seen["text"] is None:
            german, english = _AGENT_SAYS.get(str(self._seen["outcome"]), agent_texts.CENTRE_UNREACHABLE)
            self._seen["text"] = {"de": german, "en": english}
        return self._seen

    def _note(self, event: Mapping[str, Any]) -> None:
        seen = self._seen
        match event["kind"]:
            case "tap":
                seen |= {name: event[name] for name in ("permit", "reason", "level", "answer")}
                seen["text"] = seen["text"] or event["text"]
                seen["inserted_to_decision_ms"] = round((time.monotonic() - self._began_s) * 1_000, 2)
                seen["stages_us"] |= {f"centre_{name}": took for name, took in event["stages_us"].items()}
            case "output" if event["text"] is not None:
                seen["text"] = event["text"]
            case "screen" if _answer_ends_ms(event["screen"]) > self._old_answer_ends_ms + _SAME_ANSWER_MS:
                seen["text"] = event["screen"]["answer"]["text"]
                self._answered = True
            case "event":
                seen["outcome"] = event["outcome"]
                seen["stages_us"] |= {f"agent_{name}": took for name, took in event["stages_us"].items()}

    def _note_kept(self) -> None:
        """Look what the agent has kept: without the network its outbox is the only one to know."""
        kept = self._outbox.newest(self._point)
        if kept is not None and kept != self._old_event:
            self._seen["outcome"] = kept.outcome
            self._seen["stages_us"] |= {f"agent_{name}": took for name, took in kept.stages_us.items()}


class _Outbox:
    """The outbox of one agent, seen from outside; an unreadable one looks empty."""

    def __init__(self, city: DemoCity, agent: str) -> None:
        self._file = city.state_folder / f"{agent}.outbox"

    def waiting(self) -> int:
        """Return how many events wait for the service."""
        rows = self._select(f"SELECT count(*) {_WAITING_EVENTS}")
        return int(rows[0][0]) if rows else 0

    def newest(self, point: str) -> TapEvent | None:
        """Return the newest event of a point that waits for the service."""
        rows = self._select(
            f"SELECT content {_WAITING_EVENTS} AND point = ? ORDER BY epoch DESC, sequence DESC LIMIT 1", point
        )
        return TapEvent.model_validate_json(rows[0][0]) if rows else None

    def _select(self, statement: str, *values: str) -> list[Any]:
        try:
            with contextlib.closing(connect_to_read(self._file)) as connection:
                return connection.execute(statement, values).fetchall()
        except (OutboxFault, sqlite3.Error):
            return []


class Apart:
    """What each use knows of a person, read from the city's own stores; nothing is written."""

    def __init__(self, city: DemoCity) -> None:
        self._city = city
        folder = city.state_folder
        self._databases = open_databases(f"sqlite:///{folder}")
        passphrase = (folder / "keys.secret").read_bytes().strip()
        self._keys = open_store(folder / "keys.json", passphrase, demonstration_allowed=True)

    def close(self) -> None:
        """Close the stores."""
        self._databases.close()

    def of(self, card_id: str) -> dict[str, Any]:
        """Return for each use: the number on the card, the holder's pseudonym (both cut short), how many records.

        Raises:
            NotPossible: there is no such card.
        """
        card = _card(card_id)
        person = None if card.login is None else person_by_login(self._databases.state, card.login)
        return {"card": card_id, "uses": [self._use(use, card, person) for use in _RECORDS]}

    def try_to_link(self) -> str:
        """Ask the record who both clocked in and paid; return how that is refused."""
        both = timeclock_booking.join(canteen_payment, timeclock_booking.c.at_ms == canteen_payment.c.at_ms)
        try:
            with read(self._databases.record) as connection:
                connection.execute(sa.select(sa.func.count()).select_from(both))
        except UsesLinked as refused:
            return str(refused)
        raise AssertionError("two uses were linked")

    def _use(self, use: str, card: deck.CityCard, person: int | None) -> dict[str, Any]:
        number = _number(use, card)
        known: dict[str, Any] = {"use": use, "number": number and number.hex()[:4], "pseudonym": None, "records": None}
        if person is not None:
            pseudonym = pseudonym_of(self._keys.secret(_SECRETS[use]), person)
            with read(self._databases.record) as connection:
                known |= {"pseudonym": pseudonym[:6], "records": _RECORDS[use](connection, pseudonym)}
        return known


def _lines_of(stream: str) -> Callable[[Connection, str], int]:
    def count(connection: Connection, pseudonym: str) -> int:
        line = journal_subject.c
        return _count(connection, journal_subject, sa.and_(line.stream == stream, line.pseudonym == pseudonym))

    return count


def _entries(connection: Connection, pseudonym: str) -> int:
    account = ledger_account.c
    of_wallet = ledger_entry.join(ledger_account, account.id == ledger_entry.c.account_id)
    return _count(connection, of_wallet, sa.and_(account.kind == WALLET, account.owner == pseudonym))


def _count(connection: Connection, rows: sa.FromClause, condition: sa.ColumnElement[bool]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(rows).where(condition)).scalar_one())


# Doors and PCs keep nothing but their streams of the journal; the others have tables of their own.
_RECORDS: Final[Mapping[str, Callable[[Connection, str], int]]] = {
    "door": _lines_of("door"),
    "workstation": _lines_of("workstation"),
    "timeclock": lambda connection, owner: _count(
        connection, timeclock_booking, timeclock_booking.c.pseudonym == owner
    ),
    "printer": lambda connection, owner: _count(connection, print_release, print_release.c.pseudonym == owner),
    "canteen": _entries,
}
_SECRETS: Final[Mapping[str, str]] = {
    "door": "journal door pseudonym",
    "workstation": "journal workstation pseudonym",
    "timeclock": "timeclock pseudonym",
    "printer": "printer pseudonym",
    "canteen": "canteen pseudonym",
}


def _number(use: str, card: deck.CityCard) -> bytes | None:
    """Return what a card is known by in one use, None if it carries nothing for it."""
    if use == "workstation":
        return deck.card_uuid(card.card_id).bytes if card.chip == "employee" or card.chip.startswith("piv") else None
    return seed.number(card.number_of, use) if card.chip in {"employee", "desfire"} else None


def _card(card_id: str) -> deck.CityCard:
    card = next((card for card in deck.CARDS if card.card_id == card_id), None)
    if card is None:
        raise NotPossible("no_such_card", f"there is no card {card_id!r} in the drawer")
    return card


def _holder(card_id: str) -> people.Citizen:
    login = _card(card_id).login
    holder = next((citizen for citizen in people.CITIZENS if citizen.login == login), None)
    if holder is None:
        raise NotPossible("no_holder", f"the card {card_id!r} is nobody's")
    return holder


def _answer_ends_ms(screen: Mapping[str, Any]) -> int:
    """Return when a terminal will have shown its answer long enough, 0 if it shows none."""
    answer = screen.get("answer")
    return 0 if answer is None else int(screen["now_ms"] + answer["left_ms"])


def _until(what: Callable[[], bool]) -> bool:
    """Wait until something is true, for a few seconds; tell whether it is."""
    until_s = time.monotonic() + EFFECT_LIMIT_S
    while not (true := what()) and time.monotonic() < until_s:
        time.sleep(0.01)  # nothing tells us
    return true
