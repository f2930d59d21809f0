# SPDX-License-Identifier: EUPL-1.2
"""Primary groups of Active Directory: a person is in theirs although the group does not name them."""

from collections.abc import Iterable


class PrimaryGroups:
    """Who has which primary group, by stable id of the person and security identifier of the group.

    `loaded` tells whether everybody is known; before that, `members` is not whole.
    """

    def __init__(self) -> None:
        self.loaded = False
        self._group_of: dict[str, bytes] = {}
        self._members: dict[bytes, set[str]] = {}

    def note(self, person_id: str, group_sid: bytes | None) -> bool:
        """Take over a person's primary group, None for none; tell whether it is another one than was known."""
        before = self._group_of.get(person_id)
        if before == group_sid:
            return False
        self.forget([person_id])
        if group_sid is not None:
            self._group_of[person_id] = group_sid
            self._members.setdefault(group_sid, set()).add(person_id)
        return True

    def forget(self, person_ids: Iterable[str]) -> None:
        """Forget people who are gone."""
        for person_id in person_ids:
            group_sid = self._group_of.pop(person_id, None)
            if group_sid is None:
                continue
            members = self._members[group_sid]
            members.discard(person_id)
            if not members:
                del self._members[group_sid]

    def members(self, group_sid: bytes | None) -> frozenset[str]:
        """Return the stable ids of everyone whose primary group this is."""
        return frozenset(self._members.get(group_sid, ())) if group_sid is not None else frozenset()
