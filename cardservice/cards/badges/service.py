# SPDX-License-Identifier: EUPL-1.2
"""Badges of cards: what stands on them is read anew each time, photos from the directory itself. Everything blocks."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice.cards.badges.pdf import MAX_ON_SHEETS, Badge, card_pdf, sheets_pdf
from cardservice.cards.badges.portrait import portrait
from cardservice.cards.encoding.store import badge_of
from cardservice.cards.life.rules import PROFILES
from cardservice.cards.register import CardRegister
from cardservice.cards.rules import ENDED
from cardservice.cards.store import card
from cardservice.database import read
from cardservice.errors import Conflict, NotFound, Overloaded
from cardservice.people.ports import PhotoDirectory
from cardservice.people.store import organisation, person
from cardservice.web.reach import Reach

# For one photo, and for all of one sheet: what is late is left out.
PHOTO_S: Final = 2.0
PHOTOS_S: Final = 30.0
# PDFs made at once; each may hold two hundred photos.
AT_ONCE: Final = 2
_CITY: Final = ZoneInfo("Europe/Berlin")
_log = structlog.get_logger()


class BadgeRefused(Conflict):
    """No badge is made for this card."""

    code = "badge_refused"


class Printed(NamedTuple):
    """A PDF, and whose badges it shows (row numbers)."""

    pdf: bytes
    people: tuple[int, ...]


class BadgeOffice:
    """The state store, the register, and the directories that have photos, by their names."""

    def __init__(self, state: Engine, register: CardRegister, photos: Mapping[str, PhotoDirectory]) -> None:
        self.state = state
        self._register = register
        self._photos = photos
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def one(self, reference: str, reaches: tuple[Reach, ...], holder: int | None = None) -> Printed:
        """Return the badge of one card, front and back; `holder` (a row number) is whose it has to be, None: anybody's.

        Raises:
            NotFound: no card within reach is called so, or it is somebody else's.
            BadgeRefused: it is nobody's, or over.
            Overloaded: others are being made.
        """
        with self._one_of_few():
            badge, number = self._badge(reference, reaches, time.monotonic() + PHOTO_S)
            if holder not in {None, number}:
                raise NotFound(f"there is no card {reference} of person {holder}")
            return Printed(card_pdf(badge), (number,))

    def sheets(self, references: Sequence[str], reaches: tuple[Reach, ...]) -> Printed:
        """Return the fronts of up to `MAX_ON_SHEETS` cards on pages to cut; those that are over are left out.

        Raises:
            NotFound: one of them is not within reach.
            BadgeRefused: none of them has a badge, or there are too many.
            Overloaded: others are being made.
        """
        if len(references) > MAX_ON_SHEETS:
            raise BadgeRefused(f"at most {MAX_ON_SHEETS} badges at once")
        with self._one_of_few():
            until_s = time.monotonic() + PHOTOS_S
            made = [one for one in (self._badge_or_none(name, reaches, until_s) for name in references) if one]
            if not made:
                raise BadgeRefused("none of these cards has a badge: they are nobody's, or over")
            return Printed(sheets_pdf([badge for badge, _ in made]), tuple(number for _, number in made))

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        if not self._room.acquire(blocking=False):
            raise Overloaded("other badges are being made; please try again in a moment")
        try:
            yield
        finally:
            self._room.release()

    def _badge_or_none(self, reference: str, reaches: tuple[Reach, ...], until_s: float) -> tuple[Badge, int] | None:
        try:
            return self._badge(reference, reaches, until_s)
        except BadgeRefused:
            return None

    def _badge(self, reference: str, reaches: tuple[Reach, ...], until_s: float) -> tuple[Badge, int]:
        line = self._register.one(reference, reaches).line
        if line.person is None or line.state in ENDED:
            raise BadgeRefused(f"card {reference} is {line.state}, or nobody's: badges are for cards that are not over")
        with read(self.state) as connection:
            holder = connection.execute(_HOLDER.where(person.c.id == line.person)).one()
            code = _code_of(connection, reference)
        profile = PROFILES.get(line.profile or "")
        badge = Badge(
            name=holder.name,
            organisation=holder.organisation,
            number=reference[:8],
            layout="standard" if profile is None else profile.badge,
            until=None if line.valid_until_ms is None else _day(line.valid_until_ms),
            code=code,
            photo=self._photo(holder.directory, holder.stable_id, until_s),
        )
        return badge, line.person

    def _photo(self, directory: str, stable_id: str, until_s: float) -> bytes | None:
        """Return somebody's photo; a badge without one is better than none, whatever is wrong with it."""
        known, left_s = self._photos.get(directory), until_s - time.monotonic()
        if known is None or left_s <= 0:
            return None
        try:
            found = known.photo(stable_id, min(PHOTO_S, left_s))
        except Exception as error:  # noqa: BLE001  # the port raises errors of its own
            _log.warning("badge.photo_missing", directory=directory, error=type(error).__name__)
            return None
        return None if found is None else portrait(found.data)


_HOLDER: Final = sa.select(
    person.c.name, person.c.directory, person.c.stable_id, organisation.c.name.label("organisation")
).join(organisation, person.c.organisation_id == organisation.c.id)


def _code_of(connection: Connection, reference: str) -> bytes | None:
    number = connection.execute(sa.select(card.c.id).where(card.c.reference == reference)).scalar_one()
    found = badge_of(connection, number)
    return None if found is None else bytes(found.number)


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(_CITY):%d.%m.%Y}"
