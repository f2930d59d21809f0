# SPDX-License-Identifier: EUPL-1.2
"""Receipts: the centre's own mark on a decision, which the agent hands back with what came of it.

So the centre recognises its decisions without keeping them, over restarts too, and an agent cannot invent a tap.
"""

import hashlib
import hmac
import json

from cardservice.agents.messages import EventId, TapEvent


def make_receipt(secret: bytes, event: EventId, *, point: str, decision: str, permit: bool) -> str:
    """Return the HMAC-SHA-256 (RFC 2104, first 16 bytes, hexadecimal) over one decision about one event."""
    content = json.dumps([event.agent, event.epoch, event.sequence, point, decision, permit]).encode()
    return hmac.new(secret, b"cardservice receipt v1\0" + content, hashlib.sha256).hexdigest()[:32]


def carries_receipt(uploaded: TapEvent, secret: bytes) -> bool:
    """Tell whether `uploaded` hands back the receipt of exactly the decision it names."""
    if uploaded.receipt is None or uploaded.decision is None or uploaded.permit is None:
        return False
    expected = make_receipt(
        secret, uploaded.event, point=uploaded.point, decision=uploaded.decision, permit=uploaded.permit
    )
    return hmac.compare_digest(uploaded.receipt, expected)
