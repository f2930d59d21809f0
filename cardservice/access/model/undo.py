# SPDX-License-Identifier: EUPL-1.2
"""A grant or block that was removed, as text that a page holds until somebody wants it back. It names no login."""

import json
import secrets
from dataclasses import replace

from cardservice.access.rules import Use
from cardservice.access.setup_parts import RuleSetup


def offer_of(rule: RuleSetup) -> str:
    """Return everything a grant says, for `rule_of_offer`."""
    content = {
        # Two that say the same are two: each can be had back.
        "once": secrets.token_hex(8),
        "effect": rule.effect,
        "group": rule.group,
        "subject_id": rule.subject_id,
        "point": rule.point,
        "zone": rule.zone,
        "use": None if rule.use is None else rule.use.value,
        "schedule": rule.schedule,
        "valid_from_ms": rule.valid_from_ms,
        "valid_until_ms": rule.valid_until_ms,
    }
    return json.dumps({name: value for name, value in content.items() if value is not None}, separators=(",", ":"))


def rule_of_offer(offer: str) -> RuleSetup:
    """Return the grant of an offer whose seal was checked. A person is meant by their stable id."""
    content = json.loads(offer)
    content.pop("once")
    use = content.pop("use", None)
    rule = RuleSetup(**content, use=None if use is None else Use(use))
    return rule if rule.group is not None else replace(rule, login="")
