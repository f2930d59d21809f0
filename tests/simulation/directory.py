# SPDX-License-Identifier: EUPL-1.2
"""The corporate directory of a world, and what follows it for the centre.

The follower does what integrations/ldap does, in virtual time: it reads everything or what changed, hears of each
change a moment later, and proves five times a second that it has missed nothing. The proofs of an idle night are
made up when somebody asks for the age of the copy: they would have come, and nothing else happened.
"""

from collections.abc import Callable
from dataclasses import dataclass

from simulation.chance import Dice
from simulation.loop import Process, VirtualLoop
from simulation.machine import START_MS
from simulation.town import GROUPS, PEOPLE, a_group, a_person
from simulation.trace import Trace

from cardservice.people.ports import DirectoryChange, DirectorySink, Proof, SourceState
from cardservice.people.rules import DirectoryEntry

BEAT_US = 200_000
SERVER = "ldaps://directory.example"


@dataclass(frozen=True, slots=True)
class Told:
    """From when until when a follower heard of everything; `until_us` is None while it does."""

    from_us: int
    until_us: int | None


class Directory:
    """People and groups as they are, and every change with its number; silent or deaf while `reachable` is False."""

    def __init__(self, loop: VirtualLoop, dice: Dice, trace: Trace) -> None:
        self.loop = loop
        self.dice = dice
        self.trace = trace
        self.reachable = True
        self.entries: dict[str, DirectoryEntry] = {}
        self._changed: list[tuple[int, str]] = []
        self.members = {name: set(members) for name, members in GROUPS.items()}
        self.enabled = dict.fromkeys(PEOPLE, True)
        # What people are called, and who has left and was followed by another person of the same name.
        self._names = {login: login for login in PEOPLE}
        self._namesakes: set[str] = set()
        self.followers: list[Follower] = []
        for login in PEOPLE:
            self._set(f"id-{login}", self._person(login))
        for name in GROUPS:
            self._set(f"id-{name}", self._group(name))
        self._changed.clear()

    @property
    def cookie(self) -> str:
        """The number of the newest change."""
        return str(len(self._changed))

    def set_enabled(self, login: str, *, enabled: bool) -> None:
        """Disable or enable somebody."""
        self.enabled[login] = enabled
        self._change(f"id-{login}", self._person(login))

    def remove(self, login: str) -> None:
        """Take somebody out, and out of all groups."""
        self._take_out(login, f"id-{login}")

    def add(self, login: str, groups: tuple[str, ...]) -> None:
        """Put somebody back, into these groups, in the place of any namesake."""
        if login in self._namesakes:
            self._namesakes.remove(login)
            self._take_out(login, f"id-{login}-2")
        self.enabled[login] = True
        self._change(f"id-{login}", self._person(login))
        for name in groups:
            self.set_member(name, login, member=True)

    def replace(self, login: str) -> None:
        """Let somebody go, and another person of the same name come into the same groups."""
        groups = [name for name in sorted(self.members) if login in self.members[name]]
        self.remove(login)
        self._namesakes.add(login)
        self._change(f"id-{login}-2", a_person(login, called=self._names[login], number="-2"))
        for name in groups:
            self.set_member(name, login, member=True)

    def rename(self, login: str) -> None:
        """Give somebody another name; the groups follow."""
        self._names[login] = login if self._names[login] != login else f"{login}-neu"
        self._change(f"id-{login}", self._person(login))
        for name in sorted(self.members):
            if login in self.members[name]:
                self._change(f"id-{name}", self._group(name))

    def set_member(self, group: str, login: str, *, member: bool) -> None:
        """Put somebody into a group, or take them out."""
        if (login in self.members[group]) != member:
            (self.members[group].add if member else self.members[group].discard)(login)
            self._change(f"id-{group}", self._group(group))

    def is_there(self, login: str) -> bool:
        """Whether the directory names somebody."""
        return f"id-{login}" in self.entries

    def since(self, cookie: str | None) -> DirectoryChange:
        """Return what changed since `cookie`, everything for None."""
        if cookie is None:
            return DirectoryChange(tuple(self.entries.values()), cookie=self.cookie, complete=True)
        names = sorted({name for _, name in self._changed[int(cookie) :]})
        return DirectoryChange(
            upserts=tuple(self.entries[name] for name in names if name in self.entries),
            removed=frozenset(name for name in names if name not in self.entries),
            cookie=self.cookie,
        )

    def set_reachable(self, *, reachable: bool) -> None:
        """Let the directory answer, or not."""
        if reachable == self.reachable:
            return
        self.trace.note("directory", "answers" if reachable else "silent")
        for follower in self.followers:
            follower.prove()
        self.reachable = reachable
        for follower in self.followers:
            follower.reachability_changed()

    def _group(self, name: str) -> DirectoryEntry:
        return a_group(name, tuple(self._names.get(member, member) for member in sorted(self.members[name])))

    def _person(self, login: str) -> DirectoryEntry:
        return a_person(login, called=self._names[login], enabled=self.enabled[login])

    def _take_out(self, login: str, name: str) -> None:
        self._change(name, None)
        for group in sorted(self.members):
            self.set_member(group, login, member=False)

    def _set(self, name: str, entry: DirectoryEntry | None) -> None:
        if entry is None:
            self.entries.pop(name, None)
        else:
            self.entries[name] = entry
        self._changed.append((self.loop.now_us, name))

    def _change(self, name: str, entry: DirectoryEntry | None) -> None:
        self._set(name, entry)
        self.trace.note("directory", f"change {self.cookie} {name} {_shown(entry)}")
        for follower in self.followers:
            follower.heard()


def _shown(entry: DirectoryEntry | None) -> str:
    if entry is None:
        return "gone"
    return str(getattr(entry, "enabled", "")) or " ".join(sorted(getattr(entry, "member_dns", ())))


class Follower:
    """Keeps one centre's copy current. `told` says when it heard of everything, for the oracle."""

    def __init__(self, directory: Directory, process: Process, told: list[Told]) -> None:
        self._directory = directory
        self._process = process
        self._told = told
        self._sink: DirectorySink | None = None
        self._following = False
        self._session = 0
        self._asked_us = 0
        self._proved_us = -1
        # When the oldest change that is still on its way was made.
        self._on_its_way_since_us: int | None = None

    def start(self, sink: DirectorySink) -> None:
        """Begin to follow; in the centre's process."""
        self._sink = sink
        self._directory.followers.append(self)
        self._connect()

    def end(self) -> None:
        """The centre died. Its last proof is on disk, up to five seconds old."""
        if self._following:
            now_us = self._directory.loop.now_us
            self._prove_at((now_us - self._directory.dice.randint(20_000, 5_000_000)) // BEAT_US * BEAT_US)
            self._break(now_us)
        if self in self._directory.followers:
            self._directory.followers.remove(self)

    def reachability_changed(self) -> None:
        """The directory fell silent or answers again; in the world's context."""
        if self._directory.reachable:
            self._connect()
        elif self._following:
            self._break(self._directory.loop.now_us)
            self._tell_state(trouble="no answer")

    def heard(self) -> None:
        """The directory changed: the news arrives a moment later."""
        if not self._following:
            return
        if self._on_its_way_since_us is None:
            self._on_its_way_since_us = self._directory.loop.now_us
            self._later(self._directory.dice.uniform(0.005, 0.08), self._apply_news)

    def prove(self) -> None:
        """Make up for the proofs that came since the last one."""
        if not self._following or self._sink is None:
            return
        latest_us = self._directory.loop.now_us - 20_000
        if self._on_its_way_since_us is not None:
            latest_us = min(latest_us, self._on_its_way_since_us - 1)
        self._prove_at(latest_us // BEAT_US * BEAT_US)

    def _prove_at(self, at_us: int) -> None:
        if self._sink is None or at_us <= self._proved_us or at_us < self._asked_us:
            return
        self._proved_us = at_us
        self._sink.proved(Proof(SERVER, "syncrepl", self._directory.cookie, at_us * 1_000, START_MS + at_us // 1_000))

    def _connect(self) -> None:
        self._session += 1
        self._later(self._directory.dice.uniform(0.05, 0.6), self._ask)

    def _ask(self) -> None:
        """Ask for everything, or for what changed; the answer is as of the moment the directory gives it."""
        if self._directory.reachable:
            self._asked_us = self._directory.loop.now_us
            self._later(self._directory.dice.uniform(0.01, 0.2), self._refresh)

    def _refresh(self) -> None:
        if self._sink is None or not self._directory.reachable or self._following:
            return
        cookie = None if self._directory.dice.happens(0.3) else self._sink.cookie()
        change = self._directory.since(cookie)
        if cookie is None:
            gone = self._sink.known_dns().keys() - self._directory.entries.keys()
            change = DirectoryChange(change.upserts, frozenset(gone), change.cookie, complete=True)
        self._sink.apply(change)
        self._following = True
        self._directory.trace.note("follower", f"refreshed {cookie} to {change.cookie}")
        self._told.append(Told(self._directory.loop.now_us, None))
        self._tell_state()
        self._prove_at(self._asked_us)

    def _apply_news(self) -> None:
        if self._sink is None or not self._following:
            return
        self._on_its_way_since_us = None
        self._sink.apply(self._directory.since(self._sink.cookie()))

    def _break(self, at_us: int) -> None:
        self._following = False
        self._on_its_way_since_us = None
        self._told[-1] = Told(self._told[-1].from_us, at_us)

    def _tell_state(self, trouble: str | None = None) -> None:
        if self._sink is not None:
            now_ms = START_MS + self._directory.loop.now_us // 1_000
            self._sink.state(SourceState(trouble is None, SERVER, "syncrepl", now_ms, trouble))

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        session = self._session

        def act() -> None:
            if session == self._session:
                action()

        self._directory.loop.call_later(delay_s, act, context=self._process.context())
