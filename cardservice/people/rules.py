# SPDX-License-Identifier: EUPL-1.2
"""Who the directory says there is: people, groups, and who is effectively in which group.

Pure. Instants are integers: milliseconds since 1970-01-01T00:00:00Z.
"""

import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

MAX_DN_LENGTH = 4096
OUTSIDE: Final = "outside"
"""In the place of a directory's name: people and groups that the service keeps itself. No directory is called so."""
NO_KNOWN_END_MS: Final = 2**62
"""When a lock-out ends of which nobody knows when it ends: while the directory says so."""
_HEX_PAIR = 2


class MalformedDn(Exception):
    """The text is not a distinguished name (RFC 4514)."""


@dataclass(frozen=True, slots=True)
class DirectoryPerson:
    """One person as the directory shows them.

    `stable_id` is the directory's own immutable id (entryUUID, objectGUID, nsUniqueId) as a lower-case UUID text,
    never the login. `dn` is normalised (`normalise_dn`). `valid_from_ms`/`valid_until_ms` bound the account: from
    inclusive, until exclusive, None where the directory sets no bound. `locked_until_ms` is when the directory's
    lock after wrong passwords ends, which anybody can cause: None where there is none, `NO_KNOWN_END_MS` where it does
    not say until when. `upn` is the name somebody signs in to Windows with, `sid` the
    security identifier as text (S-1-5-...); all texts are None where the directory has none.
    """

    stable_id: str
    dn: str
    name: str
    enabled: bool
    locked_until_ms: int | None = None
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    login: str | None = None
    mail: str | None = None
    personnel_number: str | None = None
    upn: str | None = None
    sid: str | None = None
    department: str | None = None
    cost_centre: str | None = None


@dataclass(frozen=True, slots=True)
class Sponsored(DirectoryPerson):
    """Somebody whom the service keeps itself; `sponsor` answers for them, as the directory shows that person now."""

    sponsor: DirectoryPerson | None = None


@dataclass(frozen=True, slots=True)
class DirectoryGroup:
    """One group; `member_dns` are normalised and may name people, groups or nothing at all."""

    stable_id: str
    dn: str
    name: str
    member_dns: frozenset[str]


DirectoryEntry = DirectoryPerson | DirectoryGroup


def normalise_dn(dn: str) -> str:
    """Return `dn` in one comparable form: types and values lower-cased, spaces folded, escapes resolved (RFC 4514).

    Two spellings of one name give one text: a key for comparison, not a DN to send to a server.

    Raises:
        MalformedDn: not a distinguished name, or longer than 4,096 characters.
    """
    if len(dn) > MAX_DN_LENGTH:
        raise MalformedDn(f"a DN of {len(dn)} characters; at most {MAX_DN_LENGTH} are read")
    return ",".join(
        "+".join(sorted(_normalise_assertion(assertion) for assertion in _split(rdn, "+"))) for rdn in _split(dn, ",")
    )


def _split(text: str, separator: str) -> list[str]:
    """Split at unescaped separators."""
    parts: list[str] = []
    current: list[str] = []
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == separator:
            parts.append("".join(current))
            current = []
            continue
        current.append(character)
    if escaped:
        raise MalformedDn("a DN ends with a backslash")
    parts.append("".join(current))
    return parts


def _normalise_assertion(assertion: str) -> str:
    kind, equals, value = assertion.partition("=")
    if not equals or not kind.strip():
        raise MalformedDn("a part of a DN has no attribute type (expected type=value)")
    unescaped = _unescape(value)
    if "\0" in unescaped:
        raise MalformedDn("a DN holds the character NUL")
    folded = " ".join(unicodedata.normalize("NFKC", unescaped).lower().split())
    # Not casefold(): to a directory Weiß and Weiss are two people.
    # Re-escape what separates, so that a value holding a comma never equals two parts.
    for special in ("\\", ",", "+", "="):
        folded = folded.replace(special, f"\\{ord(special):02x}")
    return f"{kind.strip().lower()}={folded}"


def _unescape(value: str) -> str:
    raw = bytearray()
    position = 0
    while position < len(value):
        character = value[position]
        if character != "\\":
            raw += character.encode("utf-8", "surrogatepass")
            position += 1
            continue
        pair = value[position + 1 : position + 1 + _HEX_PAIR]
        if len(pair) == _HEX_PAIR and all(digit in "0123456789abcdefABCDEF" for digit in pair):
            raw.append(int(pair, 16))
            position += 1 + _HEX_PAIR
        else:
            raw += value[position + 1 : position + 2].encode("utf-8", "surrogatepass")
            position += 2
    return raw.decode("utf-8", "replace")


class Memberships:
    """Who is in which group, nested groups resolved, from the groups' `member` values alone; kept up to date.

    `memberOf` is not used: OpenLDAP's overlay changes it without telling anybody. `stay` lets somebody count in
    groups that do not name them.
    """

    def __init__(self, groups: Iterable[DirectoryGroup] = ()) -> None:
        self._parents: dict[str, set[str]] = {}
        self._groups: dict[str, DirectoryGroup] = {}
        self._group_at: dict[str, str] = {}
        self._stays_in: dict[str, frozenset[str]] = {}
        self._staying: dict[str, set[str]] = {}
        for group in groups:
            self.replace(group)

    def current(self, stable_id: str) -> DirectoryGroup | None:
        """Return a group as it is known now, None if it is not."""
        return self._groups.get(stable_id)

    def replace(self, group: DirectoryGroup) -> set[str]:
        """Take over `group` as it is now; return the DNs of everyone whose membership may have changed."""
        before = self._groups.get(group.stable_id)
        if before == group:
            return set()
        touched = set(group.member_dns) if before is None else set(group.member_dns ^ before.member_dns)
        if before is None or before.dn != group.dn:
            touched |= group.member_dns | self._staying.get(group.stable_id, set())
        affected = self._leaves_below(touched)
        self._unlink(group.stable_id)
        self._groups[group.stable_id] = group
        self._group_at[group.dn] = group.stable_id
        for member in group.member_dns:
            self._parents.setdefault(member, set()).add(group.stable_id)
        return affected | self._leaves_below(touched)

    def remove(self, stable_id: str) -> set[str]:
        """Forget a group; return the DNs of everyone whose membership may have changed."""
        group = self._groups.get(stable_id)
        if group is None:
            return set()
        affected = self._leaves_below(group.member_dns | self._staying.get(stable_id, set()))
        self._unlink(stable_id)
        return affected

    def stay(self, dn: str, groups: frozenset[str]) -> None:
        """Let `dn` count as a member of these groups (stable ids) although they do not name it, and of no others."""
        before = self._stays_in.pop(dn, frozenset())
        for stable_id in before - groups:
            self._staying[stable_id].discard(dn)
            if not self._staying[stable_id]:
                del self._staying[stable_id]
        for stable_id in groups:
            self._staying.setdefault(stable_id, set()).add(dn)
        if groups:
            self._stays_in[dn] = groups

    def forget_members(self, dns: AbstractSet[str]) -> list[DirectoryGroup]:
        """Drop `dns` from every group, since their owners were deleted or renamed; return the groups as they are now.

        The server's own clean-up (refint) sends no event, and a person created anew under the same name must not
        inherit what the old one had. All at once: thousands may be in one group.
        """
        changed = []
        for stable_id in {one for dn in dns for one in self._parents.get(dn, ())}:
            group = self._groups[stable_id]
            smaller = DirectoryGroup(group.stable_id, group.dn, group.name, group.member_dns - dns)
            self.replace(smaller)
            changed.append(smaller)
        for dn in dns & self._stays_in.keys():
            self.stay(dn, frozenset())
        return changed

    def naming(self, dn: str) -> AbstractSet[str]:
        """Return the stable ids of the groups that name `dn` themselves."""
        return self._parents.get(dn, frozenset())

    def of(self, dn: str) -> frozenset[str]:
        """Return the stable ids of all groups that hold `dn` directly or through other groups; cycles end."""
        found = {stable_id for stable_id in self._stays_in.get(dn, ()) if stable_id in self._groups}
        waiting = [dn, *(self._groups[stable_id].dn for stable_id in found)]
        while waiting:
            for stable_id in self._parents.get(waiting.pop(), ()):
                if stable_id not in found:
                    found.add(stable_id)
                    waiting.append(self._groups[stable_id].dn)
        return frozenset(found)

    def _leaves_below(self, dns: AbstractSet[str]) -> set[str]:
        """Return who is in `dns` or in any group below them and is no group."""
        seen: set[str] = set()
        waiting = list(dns)
        while waiting:
            dn = waiting.pop()
            if dn not in seen:
                seen.add(dn)
                group_id = self._group_at.get(dn)
                if group_id is not None:
                    waiting.extend(self._groups[group_id].member_dns)
                    waiting.extend(self._staying.get(group_id, ()))
        return {dn for dn in seen if dn not in self._group_at}

    def _unlink(self, stable_id: str) -> None:
        group = self._groups.pop(stable_id, None)
        if group is None:
            return
        if self._group_at.get(group.dn) == stable_id:
            del self._group_at[group.dn]
        for member in group.member_dns:
            parents = self._parents[member]
            parents.discard(stable_id)
            if not parents:
                del self._parents[member]


@dataclass(frozen=True, slots=True)
class RemovalGuard:
    """How many people may vanish or be disabled in one step before an administrator must confirm it."""

    floor: int = 20
    share: float = 0.02

    def allows(self, losing: int, total: int) -> bool:
        """Tell whether `losing` of `total` people at once is believable."""
        return losing <= max(self.floor, int(total * self.share))
