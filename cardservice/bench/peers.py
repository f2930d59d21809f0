# SPDX-License-Identifier: EUPL-1.2
"""Other engines, asked the same questions: Cedar (cedarpy) and Casbin's FastEnforcer; the optional extra `bench`.

Both get the kindest form they have: everything parsed before the clock starts, one generic policy, no parsing per tap.
"""

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cardservice.access.rules import CardRecord, Level, PointRecord, Restriction, Tap
from cardservice.access.snapshot import Snapshot

_CEDAR_POLICY = """
permit (principal, action == Action::"open", resource)
when {
    principal in resource.groups &&
    context.now >= principal.from && context.now < principal.until &&
    context.level >= resource.level && context.people >= resource.people
};
forbid (principal, action == Action::"open", resource) when { principal in resource.blocked };
"""
_CASBIN_MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
"""
_NO_RESTRICTION: Final = Restriction(frozenset(), 1, clock_known=True)
_PACKAGES: Final = {"cedarpy": "cedarpy", "pycasbin": "casbin"}
Ask = Callable[[Tap], bool]


@dataclass(frozen=True, slots=True)
class Peer:
    """One engine, ready to be asked; `asked` bounds how many taps it is timed with, since it is slower."""

    name: str
    ask: Ask
    asked: int


def installed_peers() -> tuple[str, ...]:
    """Return the peers' packages that are installed here."""
    return tuple(package for package, module in _PACKAGES.items() if importlib.util.find_spec(module) is not None)


def peers(snapshot: Snapshot, now_ms: int) -> list[Peer]:
    """Return the installed peers, loaded with what `snapshot` holds."""
    found = []
    if "cedarpy" in installed_peers():
        found.append(Peer("cedar", _cedar(snapshot, now_ms), 4_000))
    if "pycasbin" in installed_peers():
        found.append(Peer("casbin_fast", _casbin(snapshot, now_ms), 2_000))
    return found


def _window(record: CardRecord) -> tuple[int, int]:
    if record.window is None:
        raise AssertionError("every card of the benchmark has a validity")
    return record.window.from_ms, record.window.until_ms


def _cedar(snapshot: Snapshot, now_ms: int) -> Ask:
    import cedarpy

    cards = [
        {
            "uid": {"type": "Card", "id": key.hex()},
            "attrs": {"from": _window(record)[0], "until": _window(record)[1]},
            "parents": [_cedar_group(group) for group in record.subjects],
        }
        for key, record in snapshot.items()
    ]
    points = [_cedar_point(point, now_ms) for point in snapshot.points.values()]
    entities = cedarpy.Entities.from_json_str(json.dumps(cards + points))
    policies = cedarpy.PolicySet.from_str(_CEDAR_POLICY)
    request: dict[str, Any] = {
        "action": 'Action::"open"',
        "context": {"now": now_ms, "level": int(Level.CARD), "people": 1},
    }

    def ask(tap: Tap) -> bool:
        asked = request | {
            "principal": {"type": "Card", "id": tap.credential.hex()},
            "resource": {"type": "Point", "id": tap.point},
        }
        return bool(cedarpy.is_authorized(asked, policies, entities).allowed)

    return ask


def _cedar_point(point: PointRecord, now_ms: int) -> dict[str, Any]:
    moment = point.turn_to(now_ms)
    restriction = moment.restriction or _NO_RESTRICTION
    attributes = {
        "groups": [{"__entity": _cedar_group(group)} for group in sorted(moment.granted)],
        "blocked": [{"__entity": _cedar_group(group)} for group in sorted(restriction.blocked)],
        "level": moment.level,
        "people": restriction.people,
    }
    return {"uid": {"type": "Point", "id": point.code}, "attrs": attributes, "parents": []}


def _cedar_group(group: int) -> dict[str, str]:
    return {"type": "Group", "id": str(group)}


def _casbin(snapshot: Snapshot, now_ms: int) -> Ask:
    import casbin
    from casbin.model.model_fast import FastModel

    by_point = [2, 1]
    model = FastModel(by_point)
    model.load_model_from_text(_CASBIN_MODEL)
    enforcer = casbin.FastEnforcer(model, cache_key_order=by_point)
    # Straight into its own stores: its bulk methods take time quadratic in what is there.
    for rule in _casbin_policies(snapshot.points.values(), now_ms):
        enforcer.model["p"]["p"].policy.append(rule)
    enforcer.build_role_links()
    roles = enforcer.get_role_manager()
    for key, record in snapshot.items():
        for group in record.subjects:
            roles.add_link(key.hex(), f"group-{group}")
    return lambda tap: bool(enforcer.enforce(tap.credential.hex(), tap.point, "open"))


def _casbin_policies(points: Iterable[PointRecord], now_ms: int) -> Iterator[Sequence[str]]:
    """Yield who may do what now; where more is demanded than the taps have, nobody: it knows no levels."""
    for point in points:
        moment = point.turn_to(now_ms)
        restriction = moment.restriction or _NO_RESTRICTION
        if restriction.blocked:
            raise AssertionError("nothing is blocked at noon: FastEnforcer's plain model has no refusals")
        if moment.level <= Level.CARD and restriction.people == 1:
            yield from ([f"group-{group}", point.code, "open"] for group in sorted(moment.granted))
