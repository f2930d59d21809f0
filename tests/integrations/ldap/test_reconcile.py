# SPDX-License-Identifier: EUPL-1.2
"""The comparison of everything: heals silent changes, yields to the live search, takes no failure for a removal."""

from dataclasses import replace

import pytest
from contracts.directory_source import RecordingSink

from cardservice.people.rules import DirectoryPerson
from integrations.ldap import LdapSettings, reconcile
from integrations.ldap.delivery import Delivery
from integrations.ldap.errors import ConnectionLost, LdapTrouble
from integrations.ldap.messages import Done, Entry, Message
from integrations.ldap.reconcile import Reconcile, ReconcileClock

SETTINGS = LdapSettings(("ldaps://x",), "cn=doors", lambda: "x", "ou=people,dc=x", "ou=groups,dc=x", max_entries=50)
IDS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(10)]


def person(number: int) -> DirectoryPerson:
    dn = f"uid={number},ou=people,dc=x"
    return DirectoryPerson(IDS[number], dn, dn, enabled=True, login=str(number))


def shown(number: int, base: str = "ou=people,dc=x", *, with_id: bool = True) -> Entry:
    values = {"objectclass": [b"inetOrgPerson"], "uid": [str(number).encode()]}
    if with_id:
        values["entryuuid"] = [IDS[number].encode()]
    return Entry(1, f"uid={number},{base}", values)


class Comparison:
    """A comparison over a copy that holds 0, 1 and 2; the server's messages come from the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[Message | LdapTrouble] = []
        self.closed = 0
        self.sink = RecordingSink(entries={IDS[number]: person(number) for number in range(3)})
        self.delivery = Delivery(self.sink, cookie="f|c")
        self.clock = ReconcileClock(600.0, 0.0)
        monkeypatch.setattr(reconcile, "Dial", lambda *_: self)
        server = SETTINGS.ordered_servers()[0]
        self.reconcile = Reconcile(SETTINGS, server, self.delivery, self.clock)
        for _ in range(2):  # due: dial, then ask
            self.reconcile.step(10.0)

    def wait(self, _limit_s: float) -> bool:
        return True

    def take(self) -> "Comparison":
        return self

    def search(self, _request: bytes) -> int:
        return 1

    def receive(self, _at_most: int) -> list[Message]:
        messages, self.waiting = self.waiting, []
        for message in messages:
            if isinstance(message, LdapTrouble):
                raise message
        return [message for message in messages if not isinstance(message, LdapTrouble)]

    def close(self) -> None:
        self.closed += 1

    def hears(self, *messages: Message | LdapTrouble, at_s: float = 11.0) -> bool:
        self.waiting += messages
        return self.reconcile.step(at_s)

    @property
    def numbers(self) -> list[int]:
        return sorted(IDS.index(stable_id) for stable_id in self.sink.entries)


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> Comparison:
    return Comparison(monkeypatch)


def test_who_is_not_named_is_removed_at_the_end(comparison: Comparison) -> None:
    assert comparison.hears(shown(0), shown(5))
    assert 1 in comparison.numbers
    assert not comparison.hears(Done(1, 0))
    assert comparison.numbers == [0, 5]
    last = comparison.sink.changes[-1]
    assert (last.complete, last.removed, last.cookie) == (True, {IDS[1], IDS[2]}, "f|c")
    assert comparison.closed == 1
    assert not comparison.clock.due(600.0)


def test_what_the_live_search_showed_meanwhile_is_newer(comparison: Comparison) -> None:
    comparison.delivery.upsert(replace(person(1), enabled=False), "", 10.5)
    comparison.delivery.upsert(person(7), "", 10.5)
    comparison.delivery.remove({IDS[2]}, "", 10.5)
    comparison.hears(shown(0), shown(1), shown(2), Done(1, 0))
    assert comparison.numbers == [0, 1, 7]
    assert comparison.sink.entries[IDS[1]].enabled is False


def test_who_moved_out_of_the_base_is_removed(comparison: Comparison) -> None:
    comparison.hears(shown(0), shown(1), shown(2, base="ou=left,dc=x"), Done(1, 0))
    assert comparison.numbers == [0, 1]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([shown(0), Done(1, 4)], "size limit"),
        ([Done(1, 0)], "nobody at all"),
        ([shown(0), shown(1, with_id=False), Done(1, 0)], "without entryuuid"),
        ([ConnectionLost("ldaps://x closed the connection.")], "closed the connection"),
    ],
)
def test_a_failure_removes_nobody_and_is_tried_again(
    comparison: Comparison, messages: list[Message | LdapTrouble], words: str
) -> None:
    assert not comparison.hears(*messages)
    assert comparison.numbers == [0, 1, 2]
    assert words in (comparison.reconcile.trouble or "")
    assert [comparison.clock.due(now_s) for now_s in (70.0, 71.0)] == [False, True]


def test_a_silent_server_is_given_up(comparison: Comparison) -> None:
    assert comparison.hears(at_s=12.0)
    assert comparison.hears(at_s=22.0)
    assert not comparison.hears(at_s=22.1)
    assert "stopped answering" in (comparison.reconcile.trouble or "")
