# SPDX-License-Identifier: EUPL-1.2
"""Everything that happens to a directory, under taps that never stop: a real OpenLDAP server, the service as a process.

Each fault happens once (three times at full size) in one of five cities that run side by side; the tests below judge
what was seen. Somebody taps all the time: one whom the directory never disabled, one disabled long ago, one disabled
just before the fault, and one disabled during it; at a point that takes only a copy proved current in the last 2 s, at
one that takes a copy of 12 h, and at one that lets people in from an older copy too.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from faults.conftest import Scale, is_full
from faults.directory_campaign import WIRE, Campaign, Size
from faults.directory_city import ALWAYS, BOUND_S, GOES, JUST_GONE, LONG, LONG_GONE, OPEN, SHORT, Look, Tap
from faults.directory_faults import FAULTS, Observed, said

pytestmark = pytest.mark.slapd

# The budget of the points' class; what comes later is no answer.
TAP_BUDGET_S = 3.0
# "To the second": how much too early a point may call the copy too old, counted from outside.
EARLY_S = 1.0
NOTICED_WITHIN_S = 3.0

# Which city has which faults, in this order, so that all take about as long.
LANES = {
    "server": ("restarted", "killed", "hung", "older backup, written since"),
    WIRE: ("swallowed", "reset storm", "size limit"),
    "data": ("no people", "older backup"),
    "trust": ("foreign certificate", "sign-in refused"),
    "rights": ("people hidden",),
}
ONLY_FULL = {
    "server": ("killed after a write",),
    "data": ("no suffix",),
    "trust": ("misnamed certificate", "expired certificate"),
    "rights": ("password changed",),
}
if is_full():
    LANES = {name: (*lane, *ONLY_FULL.get(name, ())) for name, lane in LANES.items()}

NAMES = [name for lane in LANES.values() for name in lane]
every_fault = pytest.mark.parametrize("name", NAMES)
blind_fault = pytest.mark.parametrize("name", [name for name in NAMES if FAULTS[name].blind])
seeing_fault = pytest.mark.parametrize("name", [name for name in NAMES if FAULTS[name].says and not FAULTS[name].blind])
remarked_fault = pytest.mark.parametrize("name", [name for name in NAMES if FAULTS[name].remark])
Observations = Callable[[str], list[Observed]]


@pytest.fixture(scope="module")
def observed(
    scale: Scale, seed: int, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Observations]:
    """What was seen of a fault; those no test asks about do not happen."""
    wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    lanes = {city: [name for name in lane if name in wanted] for city, lane in LANES.items()}
    size = Size(people=scale.of(600, 10_000), rounds=scale.of(1, 3), limit_s=scale.of(400.0, 3_600.0))
    campaign = Campaign(tmp_path_factory.mktemp("directory"), lanes, size, seed)
    yield campaign.observed
    campaign.close()


@every_fault
def test_no_tap_waits_for_the_directory(name: str, observed: Observations, report: Callable[..., None]) -> None:
    """Every tap before, during and after the fault is answered within its budget."""
    found = observed(name)
    took_s = sorted(tap.answered_s - tap.sent_s for one in found for tap in one.taps)
    report(
        f"directory: {name}",
        taps=len(took_s),
        slowest_ms=round(took_s[-1] * 1_000),
        p99_ms=round(took_s[len(took_s) * 99 // 100] * 1_000),
        late=sum(took > TAP_BUDGET_S for took in took_s),
        people=found[0].people,
        rounds=len(found),
    )
    assert took_s[-1] <= TAP_BUDGET_S
    assert "overloaded" not in {tap.reason for one in found for tap in one.taps}


@every_fault
def test_nobody_disabled_is_let_in_past_the_points_bound(name: str, observed: Observations) -> None:
    """Who was disabled before stays out; who is disabled meanwhile is out where only a fresh copy counts, in 2 s."""
    for one in observed(name):
        gone = [tap for point in (SHORT, LONG) for tap in one.taps_of(LONG_GONE, JUST_GONE, at=point)]
        if one.fault.forgets_just_gone:
            # The directory itself has forgotten the disabling, and its word counts.
            gone = [tap for tap in gone if tap.card == LONG_GONE or tap.answered_s < one.began_s]
        assert {tap.reason for tap in gone} == {"person_disabled"}
        assert permitted(one.taps_of(GOES, at=SHORT, after_s=counted_from_s(one) + BOUND_S)) == []
        for point in (SHORT, LONG, OPEN):
            assert {tap.reason for tap in one.taps_of(GOES, at=point, after_s=one.healed_s)} == {"person_disabled"}


@blind_fault
def test_past_its_bound_a_point_lets_nobody_in(name: str, observed: Observations) -> None:
    """While nothing can be proved, nobody passes from 2 s on where that is the bound; elsewhere everybody does."""
    for one in observed(name):
        stale = one.taps_of(ALWAYS, GOES, at=SHORT, after_s=one.struck_s + BOUND_S, before_s=one.mending_s)
        assert {tap.reason for tap in stale} == {"directory_stale"}
        assert {tap.card for tap in stale} == {ALWAYS, GOES}
        for point in (LONG, OPEN):
            fresh = one.taps_of(ALWAYS, GOES, at=point, before_s=one.mending_s)
            assert {tap.reason for tap in fresh} == {"granted"}


@every_fault
def test_nobody_is_locked_out_inside_the_points_bound(name: str, observed: Observations) -> None:
    """Who is enabled passes wherever the copy is young enough for the point, before, during and after the fault."""
    for one in observed(name):
        for point in (LONG, OPEN):
            assert {tap.reason for tap in one.taps_of(ALWAYS, at=point)} == {"granted"}
        early_s = one.began_s + BOUND_S - EARLY_S
        assert {tap.reason for tap in one.taps_of(ALWAYS, at=SHORT, before_s=early_s)} == {"granted"}
        refused = [tap for tap in one.taps_of(ALWAYS, at=SHORT) if not tap.permit]
        assert {tap.reason for tap in refused} <= {"directory_stale"}
        assert [tap for tap in refused if youngest_s(one, tap) < BOUND_S] == []
        assert {tap.reason for tap in one.taps_of(ALWAYS, at=SHORT, after_s=one.healed_s)} == {"granted"}


@every_fault
def test_the_copy_is_current_again_by_itself(name: str, observed: Observations, report: Callable[..., None]) -> None:
    """Without a hand on the service, what was changed during the fault takes effect, and health is content again."""
    found = observed(name)
    effective_s = [max(0.0, first_refused_s(one) - max(one.disabled_s, one.mended_s)) for one in found]
    current_s = [first_look(one, one.mended_s, followed).at_s - one.mended_s for one in found]
    report(
        f"directory: after {name}",
        current_again_slowest_s=round(max(current_s), 1),
        disabling_effective_slowest_s=round(max(effective_s), 1),
    )
    assert max(current_s) < FAULTS[name].back_within_s
    for one in found:
        for look in one.looks_between(one.healed_s):
            assert (look.code, look.state["status"], look.state["degraded"]) == (200, "ready", [])
            assert (look.directory["trouble"], look.directory["people"]) == (None, one.people)
            assert (look.gauges["connected"], look.gauges["removals_held"]) == (1, 0)
            assert look.gauges["age_seconds"] < BOUND_S


@blind_fault
def test_health_names_the_fault_and_its_beginning(name: str, observed: Observations) -> None:
    """While a directory cannot be followed, health and metrics say which, since when, why, and how old the copy is."""
    for one in observed(name):
        noticed = first_look(one, one.began_s, lambda look: not followed(look))
        assert noticed.at_s - one.struck_s < NOTICED_WITHIN_S
        looks = one.looks_between(noticed.at_s, one.mending_s)
        since_ms = {look.directory["since_ms"] for look in looks}
        assert len(since_ms) == 1, "one fault, one beginning"
        assert noticed.at_ms - NOTICED_WITHIN_S * 1_000 < min(since_ms) <= noticed.at_ms
        for look in looks:
            assert (look.code, look.state["status"], look.directory["connected"]) == (200, "degraded", False)
            (sentence,) = look.state["degraded"]
            assert sentence.startswith(f"directory city: not followed since {instant(min(since_ms))}, taps are decided")
            assert sentence.endswith(look.directory["trouble"])
            assert (look.gauges["connected"], look.gauges["removals_held"]) == (0, 0)
            assert look.gauges["age_seconds"] >= look.at_s - one.struck_s - 0.5
        assert one.fault.says in looks[-1].directory["trouble"]
        assert looks[-1].directory["server"] in looks[-1].directory["trouble"]


@pytest.mark.parametrize("name", ["people hidden"])
def test_people_who_all_vanish_are_kept_and_told(name: str, observed: Observations) -> None:
    """A server that names groups but no people removes nobody and proves nothing; health counts whom it keeps."""
    for one in observed(name):
        kept = first_look(one, one.struck_s, lambda look: look.gauges["removals_held"] > 0)
        looks = one.looks_between(kept.at_s, one.mending_s)
        for look in looks:
            held, since_ms = look.directory["held_removals"], look.directory["held_since_ms"]
            assert look.directory["people"] == held == look.gauges["removals_held"] >= one.people - 1
            (sentence,) = look.state["degraded"]
            assert sentence.startswith(f"directory city: since {instant(since_ms)} it no longer names {held} people;")
        assert looks[-1].gauges["age_seconds"] > BOUND_S
        stale = one.taps_of(ALWAYS, at=SHORT, after_s=kept.at_s + BOUND_S, before_s=one.mending_s)
        assert {tap.reason for tap in stale} == {"directory_stale"}


@remarked_fault
def test_a_directory_that_fell_back_is_believed_and_remarked_on(name: str, observed: Observations) -> None:
    """What it says now counts, a forgotten disabling too; health says that it was read anew, until it is compared."""
    for one in observed(name):
        expected = "granted" if one.fault.forgets_just_gone else "person_disabled"
        assert {tap.reason for tap in one.taps_of(JUST_GONE, at=LONG, after_s=one.healed_s)} == {expected}
        remarks = [look.directory["remark"] or "" for look in one.looks_between(one.began_s)]
        told = [text for text in remarks if one.fault.remark in text]
        assert told
        assert all(text.endswith("Everything was read again.") for text in told)
        assert one.fault.remark not in remarks[-1]


@pytest.mark.parametrize("name", ["reset storm"])
def test_a_storm_of_resets_is_never_called_followed(name: str, observed: Observations) -> None:
    """Between two resets a proof may come through; whenever none does, health says so."""
    for one in observed(name):
        looks = one.looks_between(one.struck_s, one.mending_s)
        assert {followed(look) for look in looks} >= {False}
        for look in looks:
            assert followed(look) == (look.state["status"] == "ready")
            assert followed(look) or "directory city: not followed since" in said(look)
            assert look.gauges["age_seconds"] < 1.0 or not followed(look)


@seeing_fault
def test_a_trouble_of_a_directory_that_still_answers_is_told_too(name: str, observed: Observations) -> None:
    """A server that answers and is wrong, or will refuse the next connection, is told before it is felt."""
    for one in observed(name):
        told = next(look for look in one.looks_between(one.struck_s) if one.fault.says in said(look))
        for look in one.looks_between(told.at_s, one.mending_s):
            assert (look.code, look.state["status"], look.gauges["connected"]) == (200, "degraded", 1)
            (sentence,) = look.state["degraded"]
            since_ms = look.directory["held_since_ms"] or look.directory["since_ms"]
            assert one.struck_s - NOTICED_WITHIN_S < look.at_s - (look.at_ms - since_ms) / 1_000 <= told.at_s
            assert sentence.startswith(f"directory city: since {instant(since_ms)}")
            assert one.fault.says in sentence


def test_every_fault_has_a_city() -> None:
    """At full size nothing that is described goes without being tried."""
    planned = [name for lanes in (LANES, {} if is_full() else ONLY_FULL) for lane in lanes.values() for name in lane]
    assert sorted(planned) == sorted(FAULTS)


def permitted(taps: list[Tap]) -> list[Tap]:
    return [tap for tap in taps if tap.permit]


def followed(look: Look) -> bool:
    return look.gauges["connected"] == 1 and bool(look.directory["connected"])


def first_look(one: Observed, after_s: float, what: Callable[[Look], bool]) -> Look:
    """Return the first look of which `what` is true."""
    return next(look for look in one.looks_between(after_s) if what(look))


def counted_from_s(one: Observed) -> float:
    """Return from when the short bound counts for whoever was disabled during the fault.

    A server that hides people and says that nothing has changed is believed until everything is compared, which
    follows upon every reconnection; what it hid until then nobody can know.
    """
    if not one.fault.hides:
        return one.disabled_s
    return max(one.disabled_s, first_look(one, one.struck_s, lambda look: one.fault.says in said(look)).at_s)


def first_refused_s(one: Observed) -> float:
    """Return when the person disabled during the fault was refused as such for the first time."""
    return min(tap.answered_s for tap in one.taps_of(GOES, at=LONG, after_s=one.began_s) if not tap.permit)


def youngest_s(one: Observed, tap: Tap) -> float:
    """Return how old the copy was at most when the tap was answered, by the latest proof that was known before it."""
    proved_s = [look.at_s - look.gauges["age_seconds"] for look in one.looks if look.ended_s <= tap.sent_s]
    return tap.answered_s - max(proved_s)


def instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")
