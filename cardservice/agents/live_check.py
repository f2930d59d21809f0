# SPDX-License-Identifier: EUPL-1.2
"""Asking the directory itself before a permit, at points that want more than the copy of it."""

from typing import Final, Protocol

import structlog

from cardservice.access.rules import Reason
from cardservice.errors import CardServiceError
from cardservice.people.rules import DirectoryPerson

_log: Final = structlog.get_logger()


class PeopleNow(Protocol):
    """Where somebody is asked about."""

    async def person(self, row: int) -> DirectoryPerson | None:
        """Return the person with this row number as their directory shows them now, None if it shows nobody.

        Raises:
            CardServiceError: there is no answer.
        """
        ...


async def objection(people: PeopleNow | None, person: int, at_ms: int) -> Reason | None:
    """Return why the directory's own answer forbids a permit, None if it does not; no answer forbids it."""
    if people is None:
        return Reason.DIRECTORY_SILENT
    try:
        found = await people.person(person)
    except CardServiceError as error:
        _log.error("tap.directory_silent", error=str(error))
        return Reason.DIRECTORY_SILENT
    return Reason.PERSON_LEFT if found is None else _objection(found, at_ms)


def _objection(person: DirectoryPerson, at_ms: int) -> Reason | None:
    if not person.enabled:
        return Reason.PERSON_DISABLED
    if person.valid_from_ms is not None and at_ms < person.valid_from_ms:
        return Reason.PERSON_NOT_YET_VALID
    if person.valid_until_ms is not None and at_ms >= person.valid_until_ms:
        return Reason.PERSON_EXPIRED
    return None
