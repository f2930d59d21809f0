# SPDX-License-Identifier: EUPL-1.2
"""A small town whose grants are reviewed."""

import json

import sqlalchemy as sa
from service import chains
from service.directory import group, open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice import changes
from cardservice.access import setup
from cardservice.access import store as access
from cardservice.access.record import STREAM
from cardservice.access.review.record import by_itself
from cardservice.access.review.rules import DAY_MS, Verdict, Wanted
from cardservice.access.review.service import Answer, NewReview, Reviews, Who
from cardservice.access.review.views import ItemView
from cardservice.access.rules import Level, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.cards import service as cards
from cardservice.database import Databases, write
from cardservice.journal.service import Journal
from cardservice.journal.store import journal_entry

ADMIN = Who("the desk")
KEEP, END, RENEW = Answer(Verdict.KEEP), Answer(Verdict.END), Answer(Verdict.RENEW, reason="needed")
LOGINS = ("anna", "boris", "carla")


class World:
    """A town with a house with a cellar; each of three people passes one door by a grant of their own kind.

    The office (Anna) passes the cellar's door, the works (Boris) whatever is in the house, Carla the gate, herself.
    Carla is of the keepers, who answer for the house; the works answer for the cellar.
    """

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.databases, self.clock = databases, clock
        people = [someone(login) for login in LOGINS]
        groups = [group("office", "anna"), group("works", "boris"), group("keepers", "carla")]
        tell(open_copy(databases.state, clock), *people, *groups)
        zones = [("town", None), ("house", "town"), ("cellar", "house")]
        self.apply(
            zones=[setup.ZoneSetup(code, code, parent) for code, parent in zones],
            point_classes=[setup.PointClassSetup("plain", "Plain")],
            points=[
                setup.PointSetup(code, code, zone, "plain")
                for code, zone in (("gate", "town"), ("hall", "house"), ("vault", "cellar"))
            ],
            rules=[
                setup.RuleSetup(group="office", point="vault"),
                setup.RuleSetup(group="works", zone="house"),
                setup.RuleSetup(login="carla", point="gate"),
                setup.RuleSetup(login="carla", use=setup.Use.PRINTER, effect="block"),
            ],
        )
        numbers = row_numbers(databases.state)
        cards.register(databases.state, [cards.NewCard(1, numbers[one], (one.encode(),)) for one in LOGINS])
        self.city = City(databases.state, clock)
        self.city.build()
        self.reviews = self.desk(databases)
        self.deadline_ms = clock.now_ms() + 30 * DAY_MS

    def desk(self, databases: Databases) -> Reviews:
        self.journal = Journal(chains.secret)
        return Reviews(
            databases.state, self.clock, by_itself(databases.record, self.journal, self.clock), self.city.catch_up
        )

    def apply(self, **parts: object) -> None:
        setup.apply(self.databases.state, 1, setup.AccessSetup(**parts))

    def begin(self, code: str = "spring", **scope: str) -> dict[str, ItemView]:
        self.reviews.begin(NewReview(code, "Spring", self.deadline_ms, **scope), ADMIN)
        return self.items(code)

    def items(self, code: str = "spring", **wanted: object) -> dict[str, ItemView]:
        """Return the items by whom their grants are for."""
        found = self.reviews.items(Wanted(code, **wanted))
        return {item.group or item.login or f"deleted {item.item}": item for item in found}

    def states(self, code: str = "spring") -> dict[str, str]:
        return {name: item.state.value for name, item in self.items(code).items()}

    def say(self, subject: str, answer: Answer, who: Who = ADMIN, code: str = "spring") -> ItemView:
        return self.reviews.answer(code, self.items(code)[subject].item, answer, who)

    def own(self, name: str | None, **what: object) -> None:
        """Have a group, or nobody, own a zone or a grant."""
        self.reviews.set_owner(ADMIN, name, **what)

    def ends(self) -> dict[int, int | None]:
        """Return where each rule ends."""
        rule = access.access_rule.c
        with self.databases.state.connect() as connection:
            rows = connection.execute(sa.select(rule.id, rule.valid_until_ms).order_by(rule.id))
            return {row.id: row.valid_until_ms for row in rows}

    def passing(self, at_ms: int | None = None) -> dict[str, bool]:
        """Catch up, then have each of the three tap at their door at an instant."""
        self.city.catch_up()
        found = {}
        for login, point in zip(LOGINS, ("vault", "hall", "gate"), strict=True):
            tap = Tap(point, login.encode(), Level.CARD)
            decision = decide(self.city.snapshot, tap, self.clock.now_ms() if at_ms is None else at_ms, 0)
            assert decision.reason in {Reason.GRANTED, Reason.NO_GRANT, Reason.OUTSIDE_SCHEDULE}
            found[login] = decision.permit
        return found

    def set_end(self, subject: str, end_ms: int | None, code: str = "spring") -> None:
        """Have a grant end elsewhere, beside the review."""
        rule = access.access_rule
        with write(self.databases.state) as connection:
            mine = rule.c.id == self.items(code)[subject].grant
            connection.execute(sa.update(rule).where(mine).values(valid_until_ms=end_ms))
            changes.append(connection, "access", [0])

    def lines(self) -> list[dict[str, object]]:
        with self.databases.record.connect() as connection:
            rows = connection.execute(sa.select(journal_entry).order_by(journal_entry.c.sequence)).all()
        return [json.loads(row.payload) for row in rows if row.stream == STREAM]
