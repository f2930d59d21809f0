# SPDX-License-Identifier: EUPL-1.2
"""Setting, checking and unlocking PINs. Everything here blocks; a check takes about as long as `COST` makes it.

What keeps a stolen database from giving PINs away is less the cost of a guess (there are ten thousand PINs of four
digits) than the key store's secret in each of them. What keeps a stolen card from being guessed at is the count.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from sqlalchemy.engine import Engine

from cardservice.cards.pin import store
from cardservice.cards.pin.rules import Tries, Verdict, fault_of, one_more, still
from cardservice.cards.store import find_card
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, NotFound
from cardservice.people.lookup import person_by_login

_SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess costs (Argon2id, RFC 9106): memory in KiB, passes over it."""

    memory_kib: int = 19_456
    passes: int = 2


# About 30 ms; RFC 9106's own second choice (64 MiB, three passes) takes over 200 and would hold up who waits at a door.
COST: Final = Cost()


@dataclass(frozen=True, slots=True)
class PinView:
    """What may be known of a holder's PIN: since when they have one (None: they have none), and the wrong tries."""

    changed_ms: int | None
    tries: Mapping[str, Tries]


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose PIN is meant; `card` is the row number of the card by which they were named, None if by their login."""

    person: int
    card: int | None = None


class Secrets(Protocol):
    """What is needed of the key store."""

    def secret(self, purpose: str) -> bytes:
        """Return the service's own secret for `purpose`."""
        ...


def pepper_of(keys: Secrets) -> Callable[[], bytes]:
    """Return what the verifiers of a city are made with: another key store fits none of them."""
    return lambda: keys.secret("pin")


class Pins:
    """The PINs of the card holders; `pepper` returns the key store's secret for them. For any thread."""

    def __init__(self, engine: Engine, pepper: Callable[[], bytes], clock: Clock, cost: Cost = COST) -> None:
        self._engine = engine
        self._pepper = pepper
        self._clock = clock
        self._cost = cost
        # Compared with where somebody has none, so that it takes as long to find out.
        self._nobodys = self._verifier(0, secrets.token_hex(16))

    def find(self, card_or_login: str) -> Holder:
        """Return who holds this card, or has this login.

        Raises:
            NotFound: neither is known, or nobody holds the card.
            Conflict: two people have the login.
        """
        with read(self._engine) as connection:
            card = find_card(connection, card_or_login)
        if card is not None and card.person_id is None:
            raise NotFound(f"nobody holds the card {card_or_login}")
        if card is not None:
            return Holder(card.person_id, card.id)
        person = person_by_login(self._engine, card_or_login)
        if person is None:
            raise NotFound(f"there is neither a card nor a login {card_or_login!r}")
        return Holder(person)

    def set(self, person: int, pin: str) -> None:
        """Give a person this PIN in place of any before; earlier wrong tries are forgotten.

        Raises:
            Conflict: it may not be a PIN, or it is the one they have, or nobody needs one of them any more.
        """
        fault = fault_of(pin)
        if fault is not None:
            raise Conflict(fault)
        with read(self._engine) as connection:
            if not store.keeps_pin(connection, person):
                raise Conflict("they have left, or all their cards have come to their end: nobody needs a PIN then")
            before = store.find_pin(connection, person)
        if before is not None and self._fits(person, pin, before.verifier):
            raise Conflict("this is the PIN as it was; a new one must differ")
        verifier = self._verifier(person, pin)
        with write(self._engine) as connection:
            store.put_pin(connection, person, verifier, self._clock.now_ms())
            store.forget_tries_of_person(connection, person)

    def reset(self, person: int) -> bool:
        """Take a person's PIN away, and forget wrong tries; tell whether there was one."""
        with write(self._engine) as connection:
            store.forget_tries_of_person(connection, person)
            return store.drop_pin(connection, person)

    def unlock(self, holder: Holder) -> None:
        """Forget the wrong tries of the card that was named, or of every card of the person."""
        with write(self._engine) as connection:
            if holder.card is None:
                store.forget_tries_of_person(connection, holder.person)
            else:
                store.forget_tries(connection, holder.card)

    def view(self, person: int) -> PinView:
        """Return what may be known of a person's PIN."""
        now_ms = self._clock.now_ms()
        with read(self._engine) as connection:
            found = store.find_pin(connection, person)
            tries = store.tries_of_person(connection, person)
        left = {reference: still(one, now_ms) for reference, one in tries.items()}
        return PinView(
            None if found is None else found.changed_ms, {key: one for key, one in left.items() if one.wrong}
        )

    def check(self, card: int, person: int, pin: str) -> Verdict:
        """Return whether `pin` is this holder's, tried with a card that has proved itself.

        The try is on disk before anything is compared: of many at once, at whatever points and over a restart, no more
        get through than one after the other.

        Raises:
            DatabaseUnavailable: the state store cannot be used; nothing was found out.
        """
        with write(self._engine) as connection:
            counted = one_more(store.tries_to_change(connection, card), self._clock.now_ms())
            if counted is None:
                return Verdict.LOCKED
            store.put_tries(connection, card, counted)
            found = store.find_pin(connection, person)
        fits = self._fits(*((0, pin, self._nobodys) if found is None else (person, pin, found.verifier)))
        if found is None or not fits:
            return Verdict.WRONG
        with write(self._engine) as connection:
            store.forget_tries(connection, card)
        return Verdict.RIGHT

    def _verifier(self, person: int, pin: str) -> str:
        made = Argon2id(
            salt=secrets.token_bytes(_SALT_BYTES),
            length=_DIGEST_BYTES,
            iterations=self._cost.passes,
            lanes=1,
            memory_cost=self._cost.memory_kib,
            secret=self._secret_of(person),
        )
        return made.derive_phc_encoded(pin.encode())

    def _fits(self, person: int, pin: str, verifier: str) -> bool:
        try:
            Argon2id.verify_phc_encoded(pin.encode(), verifier, secret=self._secret_of(person))
        except InvalidKey:
            return False
        return True

    def _secret_of(self, person: int) -> bytes:
        """Return what goes into the verifiers of one person: copied to another's row, one fits nobody."""
        return hmac.new(self._pepper(), str(person).encode(), hashlib.sha256).digest()
