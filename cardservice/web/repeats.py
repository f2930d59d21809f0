# SPDX-License-Identifier: EUPL-1.2
"""Whose key an `Idempotency-Key` is: keys of a person and of an account of the same name are different ones."""

from typing import Any

from cardservice.web.gate import Actor
from cardservice.web.once import Asked


def asked_by(actor: Actor, key: str, operation: str, content: Any) -> Asked:
    """Return what an actor asks for under a key of theirs."""
    caller = f"account:{actor.name}" if actor.person is None else f"person:{actor.person}"
    return Asked(caller, key, operation, content)
