# SPDX-License-Identifier: EUPL-1.2
"""Who the agents are: enrol, lock, list, and check that the one who says hello holds the enrolled key."""

import re
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.engine import Engine

from cardservice import changes
from cardservice.agents import store
from cardservice.agents.messages import Hello, RefusalCode, hello_signing_input
from cardservice.clock import Clock
from cardservice.database import read, row_id, write
from cardservice.errors import Conflict, NotFound

_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class AgentView:
    """One agent as a list shows it."""

    code: str
    locked: bool
    enrolled_ms: int


class HelloRefused(Exception):
    """The one who says hello is not let in; `code` is what the wire says."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Agents:
    """The enrolled agents."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def enrol(self, code: str, public_key: str) -> None:
        """Enrol an agent with the public key it made (Ed25519, 64 hexadecimal digits).

        Raises:
            Conflict: the name is taken, or name or key are malformed.
        """
        if not _CODE.fullmatch(code):
            raise Conflict(f"agent name {code!r}: 1 to 40 of a-z, 0-9 and '-', not beginning with '-'")
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        except ValueError:
            raise Conflict("the public key is not 64 hexadecimal digits of an Ed25519 key") from None
        with write(self._engine) as connection:
            if store.find_agent(connection, code) is not None:
                raise Conflict(f"an agent {code!r} is enrolled already; lock it, or choose another name")
            values = {"code": code, "public_key": public_key.lower(), "locked": False}
            number = row_id(
                connection.execute(sa.insert(store.agent).values(enrolled_ms=self._clock.now_ms(), **values))
            )
            changes.append(connection, "agent", [number])

    def lock(self, code: str, *, locked: bool) -> None:
        """Stop trusting an agent, or trust it again; a locked one that is connected is cut off within a second.

        Raises:
            NotFound: no such agent.
        """
        with write(self._engine) as connection:
            found = store.find_agent(connection, code)
            if found is None:
                raise NotFound(f"there is no agent {code!r}")
            connection.execute(sa.update(store.agent).where(store.agent.c.id == found.id).values(locked=locked))
            changes.append(connection, "agent", [found.id])

    def list(self) -> list[AgentView]:
        """Return every enrolled agent by name."""
        with read(self._engine) as connection:
            rows = connection.execute(sa.select(store.agent).order_by(store.agent.c.code))
            return [AgentView(row.code, row.locked, row.enrolled_ms) for row in rows]

    def locked(self, code: str | None = None) -> frozenset[str]:
        """Return the locked agents, or `code` alone if it is one of them."""
        wanted = [store.agent.c.locked] if code is None else [store.agent.c.locked, store.agent.c.code == code]
        with read(self._engine) as connection:
            return frozenset(connection.execute(sa.select(store.agent.c.code).where(*wanted)).scalars())

    def verify(self, hello: Hello, nonce: str) -> None:
        """Check that `hello` answers `nonce` with the key that was enrolled.

        Raises:
            HelloRefused: unknown, locked, or the signature is wrong.
        """
        with read(self._engine) as connection:
            found = store.find_agent(connection, hello.agent)
        if found is None:
            raise HelloRefused("unknown_agent", f"agent {hello.agent!r} is not enrolled: 'cardservice agents enrol'")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.public_key))
        try:
            key.verify(bytes.fromhex(hello.signature), hello_signing_input(nonce, hello.agent, hello.epoch))
        except (InvalidSignature, ValueError):
            raise HelloRefused("bad_signature", "the signature was not made with the enrolled key") from None
        if found.locked:
            raise HelloRefused("locked", f"agent {hello.agent!r} is locked")
