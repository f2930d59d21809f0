# SPDX-License-Identifier: EUPL-1.2
"""Cards pulled in mid conversation, at many readers at once, and their next try."""

from collections.abc import Mapping
from dataclasses import dataclass

from faults.readers_city import Place, ReaderCity
from support.waiting import wait_until


@dataclass(frozen=True)
class Pull:
    """Pulled in which command (0 is the first), carried out or not, and put back before anybody could notice or not."""

    index: int
    executed: bool
    hasty: bool


def pull_and_try_again(
    city: ReaderCity, jobs: Mapping[Place, Pull], cards: Mapping[Place, str]
) -> list[tuple[Place, Pull]]:
    """At every place at once: the card is pulled; it comes back and opens. Return where it opened although pulled."""
    before, began = city.last_good(jobs), city.feed.now()
    for place, pull in jobs.items():
        city.control.insert_pulled(cards[place], place.reader, pull.index + 1, executed=pull.executed)
    hasty = [place for place, pull in jobs.items() if pull.hasty]
    for place in hasty:
        wait_until(lambda place=place: cards[place] not in city.in_readers(), every_s=0.005)
        city.control.insert(cards[place], place.reader)
    first = {place: city.feed.outcome(place.point, began) for place in jobs}
    for place, seen in first.items():
        assert (seen.outcome, seen.reason, seen.permit) == ("card_gone", "card_gone", False), (place, jobs[place])
    patient = [place for place in jobs if place not in hasty]
    good = city.last_good(jobs)
    assert {place: good[place] for place in patient} == {place: before[place] for place in patient}
    for place in patient:
        city.control.insert(cards[place], place.reader)
    for place, seen in first.items():
        again = city.feed.outcome(place.point, seen.position + 1)
        assert (again.outcome, again.reason, again.released) == ("acted", "granted", True), (place, jobs[place])
        city.feed.locked_again(place.point, began)
        city.control.eject(place.reader)
    good = city.last_good(jobs)
    assert all(good[place] > before[place] for place in jobs)
    city.same_in_health(jobs)
    return [(place, jobs[place]) for place, seen in first.items() if seen.released]
