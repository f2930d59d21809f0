# SPDX-License-Identifier: EUPL-1.2
"""Who is told of what: add, list, remove, enable, give a new secret, send a test."""

import ipaddress
import json
import secrets as chance
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.engine import Connection, Engine

from cardservice.cards.keystore import SealedKeyStore
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, KeyStoreError, NotFound
from cardservice.settings import WebhooksSection
from cardservice.webhooks import store
from cardservice.webhooks.rules import (
    OLD_SECRET_MS,
    SECRET_BYTES,
    TEST,
    Event,
    TargetRules,
    Unusable,
    require_name,
    require_types,
    secret_text,
)
from cardservice.webhooks.target import target_of

MAX_WEBHOOKS: Final = 50
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class WebhookView:
    """One webhook as a list shows it; instants are Unix milliseconds. `disabled_why`: the service did it."""

    name: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    disabled_ms: int | None
    disabled_why: str | None
    delivered_ms: int | None
    waiting: int
    failures: int
    trouble: str | None
    lost: int


@dataclass(frozen=True, slots=True)
class SecretBox:
    """Seals the secrets of webhooks under a key of the key store, each for its name alone."""

    key: Callable[[], bytes]

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return what is stored of a secret."""
        nonce = chance.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self.key()).encrypt(nonce, secret, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return a secret.

        Raises:
            KeyStoreError: it was sealed with another key store, or changed.
        """
        try:
            return AESGCM(self.key()).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except InvalidTag:
            raise KeyStoreError(f"the secret of webhook {name} is not of this key store; rotate it") from None


class Webhooks:
    """The use cases. They block."""

    def __init__(self, state: Engine, clock: Clock, box: SecretBox, rules: TargetRules) -> None:
        self._state, self._clock, self._box, self._rules = state, clock, box, rules

    def list(self) -> list[WebhookView]:
        """Return all webhooks by name.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        with read(self._state) as connection:
            return [_view(row) for row in store.all_webhooks(connection)]

    def add(self, name: str, url: str, events: Sequence[str]) -> str:
        """Have events of these types sent to `url` from now on; return the secret, which is never shown again.

        Raises:
            Conflict: the name is taken, there are too many, or something cannot be used.
            DatabaseUnavailable: the state store cannot be written.
        """
        try:
            require_name(name)
            chosen = require_types(events)
            target_of(url, self._rules)
        except Unusable as error:
            raise Conflict(str(error)) from None
        secret, now_ms = chance.token_bytes(SECRET_BYTES), self._clock.now_ms()
        values = {"name": name, "url": url, "events": json.dumps(chosen), "secret": self._box.seal(name, secret)}
        state = {"enabled": True, "created_ms": now_ms, "due_ms": now_ms, "failures": 0, "lost": 0}
        with write(self._state) as connection:
            if store.find(connection, name) is not None:
                raise Conflict(f"there is a webhook {name!r} already; remove it, or choose another name")
            if len(store.all_webhooks(connection)) >= MAX_WEBHOOKS:
                raise Conflict(f"there are {MAX_WEBHOOKS} webhooks already")
            connection.execute(sa.insert(store.webhook).values(**values, **state))
        return secret_text(secret)

    def remove(self, name: str) -> None:
        """Tell it nothing any more, and forget what waits for it.

        Raises:
            NotFound: there is no such webhook.
        """
        with write(self._state) as connection:
            store.remove(connection, self._found(connection, name).id)

    def enable(self, name: str) -> None:
        """Begin anew with what waits for it.

        Raises:
            NotFound: there is no such webhook.
        """
        now_ms = self._clock.now_ms()
        clear = {"disabled_ms": None, "disabled_why": None, "trouble": None}
        with write(self._state) as connection:
            number = self._found(connection, name).id
            store.change(connection, number, enabled=True, failures=0, due_ms=now_ms, **clear)
            store.try_all_again(connection, number, now_ms)

    def disable(self, name: str) -> None:
        """Send it nothing until it is enabled; what waits stays, what happens meanwhile is not kept for it.

        Raises:
            NotFound: there is no such webhook.
        """
        with write(self._state) as connection:
            number = self._found(connection, name).id
            store.change(connection, number, enabled=False, disabled_ms=self._clock.now_ms(), disabled_why=None)

    def rotate(self, name: str) -> str:
        """Return a new secret; for a day the one before signs beside it.

        Raises:
            NotFound: there is no such webhook.
        """
        secret = chance.token_bytes(SECRET_BYTES)
        with write(self._state) as connection:
            row = self._found(connection, name)
            until_ms = self._clock.now_ms() + OLD_SECRET_MS
            sealed = self._box.seal(name, secret)
            store.change(connection, row.id, secret=sealed, old_secret=row.secret, old_until_ms=until_ms)
        return secret_text(secret)

    def test(self, name: str) -> None:
        """Have an event sent that says nothing.

        Raises:
            NotFound: there is no such webhook.
            Conflict: it is disabled.
        """
        now_ms = self._clock.now_ms()
        event = Event(TEST, now_ms, f"webhook-test-{chance.token_hex(8)}", {"webhook": name})
        with write(self._state) as connection:
            row = self._found(connection, name)
            if not row.enabled:
                raise Conflict(f"webhook {name} is disabled; enable it first")
            store.queue(connection, row.id, event.message, event.body(), now_ms)

    @staticmethod
    def _found(connection: Connection, name: str) -> sa.Row[Any]:
        row = store.find(connection, name)
        if row is None:
            raise NotFound("there is no such webhook")
        return row


def targets(section: WebhooksSection) -> TargetRules:
    """Return where the settings allow events to be sent."""
    return TargetRules(tuple(ipaddress.ip_network(one) for one in section.allowed_networks), section.plain_http)


def secret_box(keys: SealedKeyStore) -> SecretBox:
    """Return what seals secrets under a key of this key store."""
    return SecretBox(lambda: keys.secret("webhooks"))


def _view(row: sa.Row[Any]) -> WebhookView:
    return WebhookView(
        name=row.name,
        url=row.url,
        events=tuple(json.loads(row.events)),
        enabled=row.enabled,
        disabled_ms=row.disabled_ms,
        disabled_why=row.disabled_why,
        delivered_ms=row.delivered_ms,
        waiting=row.waiting,
        failures=row.failures,
        trouble=row.trouble,
        lost=row.lost,
    )
