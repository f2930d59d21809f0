# SPDX-License-Identifier: EUPL-1.2
"""Asking the directory itself before a permit, at points that want more than the copy of it."""

from typing import Final, Protocol

import structlog

from cardservice.access.rules import Reason
from cardservice.errors import CardServiceError
from cardservice.people.rules import DirectoryPerson, Sponsored

_log: Final = structlog.get_logger()


class PeopleNow(Protocol):
    """Where somebody is asked about."""

    async def person(self, row: int) -> DirectoryPerson | None:
        """Return the person with this row number as their directory shows them now, None if it shows nobody.

        Raises:
            CardServiceError: there is no answer.
        """
        ...


async def objection(people: PeopleNow | None, person: int, at_ms: int, *, lock_out_counts: bool) -> Reason | None:
    """Return why the directory's own answer forbids a permit, None if it does not; no answer forbids it.

    `lock_out_counts`: whoever is locked out after wrong passwords is refused at this point.
    """
    if people is None:
        return Reason.DIRECTORY_SILENT
    try:
        found = await people.person(person)
    except CardServiceError as error:
        _log.error("tap.directory_silent", error=str(error))
        return Reason.DIRECTORY_SILENT
    if found is None:
        return Reason.PERSON_LEFT
    if isinstance(found, Sponsored) and not _answers(found.sponsor, at_ms):
        return Reason.NO_SPONSOR
    return _objection(found, at_ms, lock_out_counts=lock_out_counts)


def _answers(sponsor: DirectoryPerson | None, at_ms: int) -> bool:
    # Anybody can have a sponsor locked out: that takes nothing from whom they answer for.
    return sponsor is not None and _objection(sponsor, at_ms, lock_out_counts=False) is None


def _objection(person: DirectoryPerson, at_ms: int, *, lock_out_counts: bool) -> Reason | None:
    if not person.enabled:
        return Reason.PERSON_DISABLED
    if person.valid_from_ms is not None and at_ms < person.valid_from_ms:
        return Reason.PERSON_NOT_YET_VALID
    if person.valid_until_ms is not None and at_ms >= person.valid_until_ms:
        return Reason.PERSON_EXPIRED
    locked = lock_out_counts and person.locked_until_ms is not None and at_ms < person.locked_until_ms
    return Reason.PERSON_LOCKED_OUT if locked else None
