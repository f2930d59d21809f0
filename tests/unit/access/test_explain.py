# SPDX-License-Identifier: EUPL-1.2
"""Explaining: each step says what it found, in the order the questions are asked, in two languages."""

import string
from dataclasses import replace

import pytest

from cardservice.access.explain.facts import (
    Asked,
    BlockOrGrant,
    CardFacts,
    Demand,
    GroupFacts,
    HolderFacts,
    LockdownFacts,
    PointFacts,
    Times,
)
from cardservice.access.explain.rules import Finding, Question, Said, Step, explain, group_paths, reason_of
from cardservice.access.explain.sentences import QUESTIONS, TEMPLATES, Writer
from cardservice.access.rules import NEVER_MS, CompiledPeriod, Level, Reason, Use

HOUR_MS = 3_600_000
NOON_MS = 1_773_662_400_000  # 2026-03-16 12:00 UTC, 13:00 in Berlin
ALWAYS = Times(None, (-NEVER_MS,))
OFFICE, STAFF, GUARDS = 7, 8, 9
ANNA = HolderFacts(
    row=11,
    name="Anna Schmidt",
    login="schmidt",
    present=True,
    enabled=True,
    from_ms=None,
    until_ms=None,
    locked_until_ms=None,
    paths={OFFICE: ("Bauamt",), STAFF: ("Bauamt", "Rathaus")},
)
CARD = CardFacts(
    reference="c-1",
    method="desfire",
    state="active",
    state_reason=None,
    state_refusal=None,
    suspended_until_ms=None,
    from_ms=None,
    until_ms=None,
    holder=ANNA,
)


def grant(group: int = STAFF, times: Times = ALWAYS, **values: object) -> BlockOrGrant:
    names = {OFFICE: "Bauamt", STAFF: "Rathaus", GUARDS: "Wache"}
    parts = {
        "effect": "grant",
        "person": None,
        "target_kind": "zone",
        "target": "Haus",
        "from_ms": None,
        "until_ms": None,
    }
    return BlockOrGrant(group=group, group_name=names.get(group), times=times, **(parts | values))


DOOR = PointFacts(
    code="door",
    name="Tür",
    use=Use.DOOR,
    time_zone="Europe/Berlin",
    zones=("Flur", "Haus"),
    point_class="Innentür",
    level=Level.CARD,
    people=1,
    second_within_ms=10_000,
    freshness_ms=HOUR_MS,
    stale_permits=False,
    stops_locked_out=False,
    live_check=False,
    demands=(),
    zone_levels=(),
    exception=None,
    escape_route=False,
    lockdowns=(),
    rules=(grant(),),
    compiled=CompiledPeriod(NOON_MS - 24 * HOUR_MS, NOON_MS + 24 * HOUR_MS),
)
ASKED = Asked("door", NOON_MS, 0, Level.CARD)


def step(question: Question, point: PointFacts = DOOR, card: CardFacts = CARD, asked: Asked = ASKED) -> Step:
    (found,) = [one for one in explain(point, card, asked) if one.question is question]
    return found


def said(found: Step) -> list[Said]:
    return [finding.said for finding in found.findings]


def in_words(found: Step, language: str = "en") -> list[str]:
    return [Writer(language, "Europe/Berlin").sentence(finding) for finding in found.findings]


def test_all_questions_are_answered_in_their_order() -> None:
    steps = explain(DOOR, CARD, ASKED)
    assert [one.question for one in steps] == list(Question)
    assert reason_of(steps) is Reason.GRANTED


def test_steps_after_the_first_refusal_are_told_too() -> None:
    """Whoever mends one thing learns at once of the next."""
    card = replace(CARD, state="suspended", state_refusal=Reason.CARD_SUSPENDED)
    steps = explain(replace(DOOR, rules=()), card, ASKED)
    assert [one.refusal for one in steps if one.refusal] == [Reason.CARD_SUSPENDED, Reason.NO_GRANT]
    assert reason_of(steps) is Reason.CARD_SUSPENDED


def test_a_suspension_says_until_when_and_afterwards_that_it_is_over() -> None:
    """The instant is the first at which the card is active."""
    card = replace(CARD, state="suspended", state_reason="long_absence", state_refusal=Reason.CARD_SUSPENDED)
    (line,) = in_words(step(Question.CARD, card=card))
    assert line == "The card is not in use: suspended (long_absence)."
    ending = replace(card, suspended_until_ms=NOON_MS + 1)
    found = step(Question.CARD, card=ending)
    assert (found.refusal, said(found)) == (Reason.CARD_SUSPENDED, [Said.CARD_SUSPENDED_UNTIL])
    assert in_words(found) == ["The card is suspended until 2026-03-16 13:00 (long_absence)."]
    found = step(Question.CARD, card=replace(card, suspended_until_ms=NOON_MS))
    assert (found.refusal, said(found)) == (None, [Said.CARD_ACTIVE_AGAIN])
    (line,) = in_words(found, "de")
    assert line == "Die Karte war bis 16.03.2026 13:00 vorübergehend gesperrt (long_absence) und ist wieder aktiv."


@pytest.mark.parametrize(
    ("until_ms", "findings"),
    [
        (None, [Said.NOT_LOCKED_OUT]),
        (NOON_MS, [Said.NOT_LOCKED_OUT]),
        (NOON_MS + 1, [Said.LOCKED_OUT_UNTIL]),
        (NEVER_MS, [Said.LOCKED_OUT]),
    ],
)
def test_a_lock_out_is_told_everywhere_and_refuses_where_it_counts(until_ms: int | None, findings: list[Said]) -> None:
    """Where it does not count, that is said."""
    card = replace(CARD, holder=replace(ANNA, locked_until_ms=until_ms))
    locked = findings != [Said.NOT_LOCKED_OUT]
    at_the_desk = step(Question.LOCK_OUT, replace(DOOR, use=Use.WORKSTATION, stops_locked_out=True), card)
    assert (at_the_desk.refusal, said(at_the_desk)) == (Reason.PERSON_LOCKED_OUT if locked else None, findings)
    at_the_door = step(Question.LOCK_OUT, DOOR, card)
    assert (at_the_door.refusal, said(at_the_door)) == (None, findings + [Said.LOCK_OUT_PASSES] * locked)


def test_a_lock_out_says_until_when() -> None:
    card = replace(CARD, holder=replace(ANNA, locked_until_ms=NOON_MS + HOUR_MS))
    assert in_words(step(Question.LOCK_OUT, card=card)) == [
        "The account is locked out after wrong passwords until 2026-03-16 14:00.",
        "At this use (door) that does not count.",
    ]


def test_who_changed_departments_is_told_where_they_still_count_and_until_when() -> None:
    """Those that end first come first; what they are in through the old department is not told again."""
    mover = replace(ANNA, paths={**ANNA.paths, GUARDS: ("Pforte",)}, staying={GUARDS: NOON_MS + 1, OFFICE: NOON_MS})
    found = step(Question.HOLDER, card=replace(CARD, holder=mover))
    assert said(found) == [Said.HOLDER_IN_ORDER, Said.STAYS_IN_GROUP, Said.STAYS_IN_GROUP]
    first = "Has left the department “Bauamt” for another one and still counts in it until 2026-03-16 13:00."
    assert in_words(found)[1] == first
    zweite = "Hat die Abteilung „Pforte“ gewechselt und zählt dort noch bis 16.03.2026 13:00."
    assert in_words(found, "de")[2] == zweite
    assert said(step(Question.HOLDER, card=replace(CARD, holder=replace(mover, enabled=False)))) == [
        Said.HOLDER_DISABLED
    ]


def test_what_cannot_be_asked_is_left_out() -> None:
    assert [one.question for one in explain(None, CARD, ASKED)] == [Question.POINT]
    assert [one.question for one in explain(DOOR, None, ASKED)][-1] is Question.CREDENTIAL
    assert [one.question for one in explain(DOOR, replace(CARD, holder=None), ASKED)][-1] is Question.HOLDER


def test_a_grant_names_group_way_target_and_hours() -> None:
    hours = Times("Dienstzeit", (NOON_MS - HOUR_MS, NOON_MS + HOUR_MS, NOON_MS + 20 * HOUR_MS))
    point = replace(DOOR, rules=(grant(times=hours), grant(GUARDS)))
    (line,) = in_words(step(Question.GRANT, point))
    who_where = "Grant to the group “Rathaus” (through “Bauamt”) in the zone “Haus”"
    assert line == f"{who_where}, schedule “Dienstzeit”: holds until 2026-03-16 14:00."
    late = replace(ASKED, at_ms=NOON_MS + 2 * HOUR_MS)
    found = step(Question.GRANT, point, asked=late)
    assert (found.refusal, said(found)) == (Reason.OUTSIDE_SCHEDULE, [Said.GRANT_LATER])
    (line,) = in_words(found, "de")
    who_where = "Freigabe der Gruppe „Rathaus“ (über „Bauamt“) im Bereich „Haus“"
    assert line == f"{who_where}, Zeitplan „Dienstzeit“: gilt jetzt nicht, wieder ab 17.03.2026 09:00."


def test_a_grant_for_the_person_and_one_that_never_comes() -> None:
    own = grant(None, person=11, target_kind="use", target="door", until_ms=NOON_MS)
    over = replace(own, times=Times(None, (-NEVER_MS, NOON_MS)))
    found = step(Question.GRANT, replace(DOOR, rules=(over,)))
    assert (found.refusal, said(found)) == (Reason.OUTSIDE_SCHEDULE, [Said.GRANT_OVER])
    assert in_words(found)[0].startswith("Grant to the person themselves at every door, at any time, until 2026-03-16")
    found = step(Question.GRANT, replace(DOOR, rules=(replace(own, times=Times("Nie", ())),)))
    assert found.refusal is Reason.NO_GRANT
    assert step(Question.GRANT, replace(DOOR, rules=(grant(None, person=12),))).findings == (Finding(Said.NO_GRANT),)


def test_a_block_beats_the_grant_and_is_told_with_it() -> None:
    point = replace(DOOR, rules=(grant(), grant(OFFICE, effect="block")))
    assert (step(Question.BLOCK, point).refusal, step(Question.GRANT, point).refusal) == (Reason.BLOCKED, None)
    assert step(Question.BLOCK).findings == (Finding(Said.NO_BLOCK),)


def test_lockdowns_name_zone_and_who_passes() -> None:
    """One group may pass; two lockdowns with different groups let nobody pass; an escape route is never locked down."""
    staff = LockdownFacts("Haus", NOON_MS - HOUR_MS, STAFF, "Rathaus")
    nobody = LockdownFacts("Flur", NOON_MS, None, None)
    locked = replace(DOOR, lockdowns=(staff,))
    assert said(step(Question.LOCKDOWN, locked)) == [Said.LOCKDOWN_PASSING]
    assert "“Bauamt”" in in_words(step(Question.LOCKDOWN, locked))[0]
    both = step(Question.LOCKDOWN, replace(locked, lockdowns=(staff, nobody)))
    assert both.refusal is Reason.LOCKED_DOWN
    assert said(both) == [Said.LOCKDOWN_PASSING, Said.LOCKDOWN, Said.LOCKDOWNS_DIFFER]
    assert "nobody may pass" in in_words(both)[1]
    assert step(Question.LOCKDOWN, replace(locked, escape_route=True, lockdowns=(nobody,))).refusal is None
    assert said(step(Question.LOCKDOWN, replace(locked, use=Use.PRINTER))) == [Said.NO_LOCKDOWN]


def test_a_level_says_who_demands_it() -> None:
    night = Demand(Times("Nacht", (NOON_MS,)), Level.CARD_PIN, 2)
    point = replace(DOOR, demands=(night,), zone_levels=(("Tresor", Level.CARD_PIN),), exception=(NOON_MS + 1, "Umbau"))
    found = step(Question.LEVEL, point)
    assert found.refusal is Reason.LEVEL_TOO_LOW
    told = [Said.CLASS_LEVEL_REPLACED, Said.DEMAND_HOLDS, Said.ZONE_LEVEL, Said.EXCEPTION_HOLDS, Said.PROVED]
    assert said(found) == told
    assert in_words(found)[-1] == "Proved is the genuine card, needed is card and PIN."
    excepted = replace(point, demands=())
    assert step(Question.LEVEL, excepted).refusal is None
    ended = step(Question.LEVEL, excepted, asked=replace(ASKED, at_ms=NOON_MS + 1))
    assert (ended.refusal, said(ended)[-2]) == (Reason.LEVEL_TOO_LOW, Said.EXCEPTION_ENDED)


@pytest.mark.parametrize(
    ("first", "refusal", "finding"),
    [
        (0, Reason.SECOND_PERSON_NEEDED, Said.FIRST_OF_TWO),
        (11, Reason.SAME_PERSON_TWICE, Said.SAME_PERSON),
        (12, None, Said.SECOND_OF_TWO),
    ],
)
def test_two_people(first: int, refusal: Reason | None, finding: Said) -> None:
    found = step(Question.PEOPLE, replace(DOOR, people=2), asked=replace(ASKED, first=first))
    assert (found.refusal, said(found)) == (refusal, [finding])


@pytest.mark.parametrize(
    ("age_ms", "permits", "refusal", "findings"),
    [
        (HOUR_MS, False, None, [Said.COPY_FRESH]),
        (HOUR_MS + 1, False, Reason.DIRECTORY_STALE, [Said.COPY_STALE]),
        (HOUR_MS + 1, True, None, [Said.COPY_STALE, Said.STALE_PERMITTED]),
        (NEVER_MS, False, Reason.DIRECTORY_STALE, [Said.COPY_NEVER_PROVED]),
    ],
)
def test_freshness(age_ms: int, permits: bool, refusal: Reason | None, findings: list[Said]) -> None:
    found = step(Question.FRESHNESS, replace(DOOR, stale_permits=permits), asked=replace(ASKED, age_ms=age_ms))
    assert (found.refusal, said(found)) == (refusal, findings)


def test_a_live_check_is_announced() -> None:
    assert said(step(Question.FRESHNESS, replace(DOOR, live_check=True))) == [Said.COPY_FRESH, Said.ASKED_LIVE]


def test_every_bound_of_time_is_told_and_the_binding_one_answers() -> None:
    """A time that has not begun is answered before one that has ended; of several the latest or earliest."""
    holder = replace(ANNA, from_ms=NOON_MS + 5, until_ms=NOON_MS - 9)
    found = step(Question.TIME, card=replace(CARD, from_ms=NOON_MS + 4, until_ms=NOON_MS - 8, holder=holder))
    assert found.refusal is Reason.PERSON_NOT_YET_VALID
    assert said(found) == [Said.BEGINS_LATER, Said.BEGINS_LATER, Said.ENDED, Said.ENDED]
    ended = replace(CARD, until_ms=NOON_MS - 8, holder=replace(ANNA, until_ms=NOON_MS - 9))
    assert step(Question.TIME, card=ended).refusal is Reason.PERSON_EXPIRED
    in_time = replace(CARD, from_ms=NOON_MS, until_ms=NOON_MS + 1)
    assert (step(Question.TIME, card=in_time).refusal, said(step(Question.TIME, card=in_time))) == (
        None,
        [Said.BEGAN, Said.ENDS_LATER],
    )


def test_ways_to_a_group_are_the_shortest_and_circles_end() -> None:
    groups = [
        GroupFacts(1, "cn=a", "A", frozenset({"uid=x", "cn=c"})),
        GroupFacts(2, "cn=b", "B", frozenset({"cn=a"})),
        GroupFacts(3, "cn=c", "C", frozenset({"cn=b", "uid=x"})),
        GroupFacts(4, "cn=d", "D", frozenset({"uid=y"})),
    ]
    assert group_paths("uid=x", groups) == {1: ("A",), 3: ("C",), 2: ("A", "B")}


def test_every_question_and_finding_has_words_in_both_languages() -> None:
    """And both languages tell the same facts."""
    assert set(TEMPLATES) == set(Said)
    assert set(QUESTIONS) == set(Question)
    for german, english in TEMPLATES.values():
        fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (german, english)]
        assert fields[0] == fields[1]
        assert german[-1] == english[-1] == "."


def test_a_name_cannot_write_to_the_terminal_or_into_the_sentence() -> None:
    holder = replace(ANNA, name="\x1b[2J{point}\nroot", login=None, paths={STAFF: ("\x07", "Rathaus")})
    (line,) = in_words(step(Question.HOLDER, card=replace(CARD, holder=holder)))
    assert line == "�[2J{point}�root, in 1 groups."
    (line,) = in_words(step(Question.GRANT, card=replace(CARD, holder=holder)))
    assert "(through “�”)" in line
