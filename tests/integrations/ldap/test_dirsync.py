# SPDX-License-Identifier: EUPL-1.2
"""What a real Active Directory domain controller (Samba) shows mode `dirsync`: who comes, goes, moves and is let in."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from typing import Any

import ldap3
import pytest
from contracts.directory_source import RecordingSink, following, replace
from support.samba import (
    DISABLED,
    STRANGER,
    Samba,
    Tree,
    person_values,
    settings_for,
    shared_domain,
    template_of_the_run,
)
from support.waiting import wait_until

from cardservice.people.ports import DirectoryChange
from cardservice.people.rules import DirectoryGroup, Memberships
from integrations.ldap import LdapSettings, LdapSource, dirsync_comparison
from integrations.ldap.connection import open_channel
from integrations.ldap.dirsync import DIRSYNC, check_rights
from integrations.ldap.dirsync_dialogue import Dialogue
from integrations.ldap.dirsync_listing import Listing, Place
from integrations.ldap.messages import Entry
from integrations.ldap.settings import Timing

pytestmark = pytest.mark.samba

QUICK = Timing(beat_s=0.1, dead_s=1.0)


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    base = tmp_path_factory.getbasetemp()
    with shared_domain(template_of_the_run(base), base / "dc-dirsync") as server:
        yield server


@pytest.fixture
def tree(domain: Samba) -> Iterator[Tree]:
    if not domain.runs:
        domain.start()
    branch = Tree(domain, "city")
    branch.plant()
    yield branch
    if not domain.runs:
        domain.start()
    branch.fell()


@dataclass
class BelievingSink(RecordingSink):
    """A copy that resolves memberships as the service does: what counts is who may enter in the end."""

    memberships: Memberships = field(default_factory=Memberships)

    def apply(self, change: DirectoryChange) -> None:
        for stable_id in change.removed & self.entries.keys():
            self._give_up(stable_id)
            self.memberships.remove(stable_id)
        for entry in change.upserts:
            if entry.stable_id in self.entries and self.entries[entry.stable_id].dn != entry.dn:
                self._give_up(entry.stable_id)
        for entry in change.upserts:
            if isinstance(entry, DirectoryGroup):
                self.memberships.replace(entry)
        super().apply(change)

    def _give_up(self, stable_id: str) -> None:
        if not isinstance(self.entries[stable_id], DirectoryGroup):
            self.memberships.forget_members({self.entries[stable_id].dn})

    def groups_of(self, login: str) -> set[str]:
        person = self.person(login)
        return {self.entries[one].name for one in self.memberships.of(person.dn)} if person else set()


def follow(settings: LdapSettings, sink: RecordingSink) -> Any:
    return following(LdapSource(settings, DIRSYNC), sink)


def test_disabling_arrives_by_notification_long_before_the_next_poll(tree: Tree) -> None:
    """With a poll every 20 s, only the notification can have told."""
    sink = RecordingSink()
    with follow(settings_for(tree, timing=with_changes(QUICK, beat_s=20.0)), sink), tree.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        sink.wait_for(lambda: sink.states[-1].connected)
        replace(admin, tree.person_dn("anna"), userAccountControl=DISABLED)
        sink.wait_for(lambda: not sink.person("anna").enabled, limit_s=5.0)


def test_expiry_is_an_instant_and_zero_means_never(tree: Tree) -> None:
    sink = RecordingSink()
    with follow(settings_for(tree), sink), tree.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        assert sink.person("anna").valid_until_ms is None
        in_2030 = (1_893_456_000 + 11_644_473_600) * 10_000_000
        replace(admin, tree.person_dn("anna"), accountExpires=str(in_2030))
        sink.wait_for(lambda: sink.person("anna").valid_until_ms == 1_893_456_000_000)
        replace(admin, tree.person_dn("anna"), accountExpires="0")
        sink.wait_for(lambda: sink.person("anna").valid_until_ms is None)
        assert sink.person("anna").enabled


def test_the_primary_group_counts_and_moves(tree: Tree) -> None:
    """The group does not name whose primary group it is; the copy must."""
    sink = BelievingSink()
    with follow(settings_for(tree), sink), tree.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        assert sink.groups_of("cora") == set()
        tree.add_group(admin, "staff", tree.person_dn("cora"))
        sink.wait_for(lambda: sink.groups_of("cora") == {"staff"})
        group = _rid(admin, tree.group_dn("staff"))
        replace(admin, tree.person_dn("cora"), primaryGroupID=group)
        admin.add(tree.person_dn("dora"), "user", person_values("dora"))
        admin.modify(tree.group_dn("staff"), {"member": [(ldap3.MODIFY_ADD, [tree.person_dn("dora")])]})
        replace(admin, tree.person_dn("dora"), primaryGroupID=group)
        sink.wait_for(lambda: sink.person("dora"))
        sink.wait_current()
        assert sink.groups_of("cora") == sink.groups_of("dora") == {"staff"}
        admin.modify_dn(tree.person_dn("cora"), "cn=corinna")
        sink.wait_for(lambda: "corinna" in sink.person("cora").dn)
        sink.wait_current()
        assert sink.groups_of("cora") == {"staff"}
        # The server makes an ordinary member of whoever changes the primary group.
        replace(admin, tree.person_dn("dora"), primaryGroupID="513")
        admin.modify(tree.group_dn("staff"), {"member": [(ldap3.MODIFY_DELETE, [tree.person_dn("dora")])]})
        sink.wait_for(lambda: sink.groups_of("dora") == set())
        assert sink.groups_of("cora") == {"staff"}
    resumed = BelievingSink()
    with follow(settings_for(tree), resumed):
        resumed.wait_for(lambda: resumed.proofs)
    assert resumed.groups_of("cora") == {"staff"}


def test_the_primary_group_counts_after_the_source_was_away(tree: Tree) -> None:
    """A source that continues from its cookie knows no primary groups before it needs them."""
    sink = BelievingSink()
    with tree.admin() as admin:
        tree.add_group(admin, "staff", tree.person_dn("cora"))
        replace(admin, tree.person_dn("cora"), primaryGroupID=_rid(admin, tree.group_dn("staff")))
        with follow(settings_for(tree), sink):
            sink.wait_for(lambda: sink.groups_of("cora") == {"staff"})
        with follow(settings_for(tree), sink):
            sink.wait_current()
            admin.modify(tree.group_dn("staff"), {"member": [(ldap3.MODIFY_ADD, [tree.person_dn("bert")])]})
            sink.wait_for(lambda: "staff" in sink.groups_of("bert"))
    assert sink.groups_of("cora") == {"staff"}
    assert [change.complete for change in sink.changes].count(True) == 1


def _rid(admin: ldap3.Connection, dn: str) -> str:
    admin.search(dn, "(objectClass=*)", ldap3.BASE, attributes=["objectSid"])
    return str(int.from_bytes(admin.response[0]["raw_attributes"]["objectSid"][0][-4:], "little"))


def test_a_person_made_anew_under_the_same_name_inherits_nothing(tree: Tree) -> None:
    sink = BelievingSink()
    with follow(settings_for(tree), sink), tree.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        assert sink.groups_of("anna") == {"inner", "outer"}
        old_id = sink.person("anna").stable_id
        admin.delete(tree.person_dn("anna"))
        admin.add(tree.person_dn("anna"), "user", person_values("anna"))
        sink.wait_for(lambda: sink.person("anna") and sink.person("anna").stable_id != old_id)
        sink.wait_current()
        assert sink.groups_of("anna") == set()
        # Nor from the group's members as they are shown when it changes.
        admin.modify(tree.group_dn("inner"), {"member": [(ldap3.MODIFY_ADD, [tree.person_dn("cora")])]})
        sink.wait_for(lambda: "inner" in sink.groups_of("cora"))
        assert sink.groups_of("anna") == set()


def test_renamed_people_and_groups_keep_what_they_had(tree: Tree) -> None:
    """The server changes the names in groups without telling anybody."""
    sink = BelievingSink()
    with follow(settings_for(tree), sink), tree.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        admin.modify_dn(tree.person_dn("anna"), "cn=Müller\\, Änne")
        admin.modify_dn(tree.group_dn("inner"), "cn=core")
        sink.wait_for(lambda: sink.group("core") and "müller" in sink.person("anna").dn)
        sink.wait_current()
        assert sink.groups_of("anna") == sink.groups_of("bert") == {"core", "outer"}


def test_everybody_below_a_renamed_container_moves_with_it(tree: Tree) -> None:
    """Only the container is told; a namesake below a new container of the old name gets nothing."""
    sink = BelievingSink()
    offices = f"OU=offices,OU=people,{tree.suffix}"
    with tree.admin() as admin:
        admin.add(offices, "organizationalUnit")
        admin.modify_dn(tree.person_dn("anna"), "cn=anna", new_superior=offices)
        with follow(settings_for(tree), sink):
            sink.wait_for(lambda: sink.groups_of("anna") == {"inner", "outer"})
            old_dn = sink.person("anna").dn
            admin.modify_dn(offices, "ou=bureaus")
            sink.wait_for(lambda: "bureaus" in sink.person("anna").dn)
            admin.add(offices, "organizationalUnit")
            admin.add(f"CN=anna,{offices}", "user", person_values("annika"))
            sink.wait_for(lambda: sink.person("annika"))
            sink.wait_current()
            assert sink.person("annika").dn == old_dn
            assert sink.groups_of("annika") == set()
            assert sink.groups_of("anna") == {"inner", "outer"}
            admin.modify_dn(f"OU=bureaus,OU=people,{tree.suffix}", "ou=bureaus", new_superior=tree.suffix)
            sink.wait_for(lambda: sink.person("anna") is None)


def test_whoever_moves_in_brings_their_memberships(tree: Tree) -> None:
    """Alone, or with the container they are in."""
    sink = BelievingSink()
    with tree.admin() as admin:
        admin.add(f"ou=office,{tree.suffix}", "organizationalUnit")
        admin.modify_dn(tree.person_dn("anna"), "cn=anna", new_superior=tree.suffix)
        admin.modify_dn(tree.person_dn("bert"), "cn=bert", new_superior=f"ou=office,{tree.suffix}")
        with follow(settings_for(tree), sink):
            sink.wait_for(lambda: sink.proofs)
            assert (sink.person("anna"), sink.person("bert")) == (None, None)
            admin.modify_dn(f"cn=anna,{tree.suffix}", "cn=anna", new_superior=f"ou=people,{tree.suffix}")
            sink.wait_for(lambda: sink.groups_of("anna") == {"inner", "outer"})
            admin.modify_dn(f"ou=office,{tree.suffix}", "ou=office", new_superior=f"ou=people,{tree.suffix}")
            sink.wait_for(lambda: sink.groups_of("bert") == {"inner", "outer"})


def test_many_changes_at_once_all_arrive(tree: Tree) -> None:
    sink = RecordingSink()
    logins = [f"many{number}" for number in range(45)]
    with follow(settings_for(tree), sink), tree.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        for login in logins:
            admin.add(tree.person_dn(login), "user", person_values(login))
        sink.wait_for(lambda: len(sink.entries) == 50)
        for login in logins:
            replace(admin, tree.person_dn(login), userAccountControl=DISABLED)
        sink.wait_for(lambda: not any(sink.person(login).enabled for login in logins))


def test_the_comparison_finds_what_is_not_told(tree: Tree) -> None:
    """An attribute that only a filter looks at is not followed; everything else goes on meanwhile."""
    sink = RecordingSink()
    narrow = "(&(objectCategory=person)(objectClass=user)(!(title=extern)))"
    timing = with_changes(QUICK, reconcile_s=0.5)
    with follow(settings_for(tree, people_filter=narrow, timing=timing), sink), tree.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        replace(admin, tree.person_dn("cora"), title="extern")
        sink.wait_for(lambda: sink.person("cora") is None)
        assert len(sink.entries) == 4
        replace(admin, tree.person_dn("bert"), userAccountControl=DISABLED)
        sink.wait_for(lambda: not sink.person("bert").enabled)
        assert sink.states[-1].trouble is None


def test_without_the_right_deletions_are_found_by_comparing_and_that_is_said(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dirsync_comparison, "BLIND_PERIOD_S", 0.5)
    sink = RecordingSink()
    with follow(settings_for(tree, bind_dn=STRANGER), sink), tree.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        assert "may not list deleted objects" in sink.states[-1].remark
        admin.delete(tree.person_dn("cora"))
        sink.wait_for(lambda: sink.person("cora") is None)
        replace(admin, tree.person_dn("bert"), userAccountControl=DISABLED)
        sink.wait_for(lambda: not sink.person("bert").enabled)
    assert sink.states[-1].connected


def test_the_check_says_which_right_is_missing(tree: Tree) -> None:
    for account, words in ((tree.bind_dn, []), (STRANGER, ["may not list deleted objects"])):
        settings = settings_for(tree, bind_dn=account)
        channel = open_channel(settings, settings.ordered_servers()[0])
        sentences = check_rights(channel, settings)
        channel.close()
        assert len(sentences) == len(words)
        assert all(word in sentence for word, sentence in zip(words, sentences, strict=True))


def test_the_whole_domain_as_base_brings_references_to_nowhere(tree: Tree) -> None:
    """Answers about the whole domain refer to other parts; they are neither followed nor entries."""
    sink = RecordingSink()
    whole = tree.suffix.partition(",")[2]
    with follow(settings_for(tree, people_base=whole, groups_base=whole), sink):
        sink.wait_for(lambda: sink.proofs)
    assert sink.person("anna").enabled
    assert not sink.person("Guest").enabled
    assert sink.group("Domain Users").member_dns >= {sink.person("anna").dn, sink.person("Administrator").dn}


def test_small_pages_and_parts_of_groups_make_the_same_entries(tree: Tree) -> None:
    """A domain controller cuts at 1,000 entries and 1,500 members; here it is asked to cut at two."""
    settings = settings_for(tree)
    found: dict[str, set[bytes]] = {}

    pages: list[int] = []

    def take(entries: list[Entry]) -> None:
        pages.append(len(entries))
        found.update({entry.dn.lower(): set(entry.attributes.get("member", ())) for entry in entries})

    with tree.admin() as admin:
        for number in range(7):
            admin.add(tree.person_dn(f"more{number}"), "user", person_values(f"more{number}"))
        tree.add_group(admin, "large", *(tree.person_dn(f"more{number}") for number in range(7)))
    channel = open_channel(settings, settings.ordered_servers()[0])
    listing = Listing(settings, tree.url, page_entries=2, range_values=2)
    dialogue = Dialogue(channel, listing.pages(Place(tree.suffix, settings.search_filter()), take))
    wait_until(lambda: dialogue.step(time.monotonic()) or dialogue.ended)
    channel.close()
    assert len(found) == 13
    assert max(pages) == 2
    members = {tree.person_dn(f"more{number}").lower().encode() for number in range(7)}
    assert {member.lower() for member in found[tree.group_dn("large").lower()]} == members


def test_a_killed_server_is_noticed_and_followed_again(tree: Tree) -> None:
    """What was deleted before we are back arrives by the cookie, without reading everything."""
    sink = RecordingSink()
    with follow(settings_for(tree), sink):
        sink.wait_for(lambda: sink.proofs)
        killed_s = time.monotonic()
        tree.server.kill()
        sink.wait_for(lambda: not sink.states[-1].connected)
        assert time.monotonic() - killed_s < 1.0
        tree.server.start()
        sink.wait_current()
    with tree.admin() as admin:
        admin.delete(tree.person_dn("cora"))
    with follow(settings_for(tree), sink):
        sink.wait_current()
    assert sink.person("cora") is None
    assert [change.complete for change in sink.changes].count(True) == 1


def test_a_hung_server_is_noticed_within_the_limit(tree: Tree) -> None:
    """And proves nothing meanwhile."""
    sink = RecordingSink()
    with follow(settings_for(tree, timing=with_changes(QUICK, dead_s=0.5, answer_s=1)), sink):
        sink.wait_for(lambda: sink.proofs)
        tree.pause()
        paused_s = time.monotonic()
        sink.wait_for(lambda: not sink.states[-1].connected)
        took_s = time.monotonic() - paused_s
        proved_ns = sink.proofs[-1].sent_at_monotonic_ns
        tree.resume()
        assert 0.4 < took_s < 2.0
        assert proved_ns < paused_s * 1e9
        sink.wait_current()


def test_another_domain_controller_is_read_whole(tree: Tree) -> None:
    sink = RecordingSink()
    with follow(settings_for(tree), sink):
        sink.wait_for(lambda: sink.proofs)
    fingerprint, identity, usn, cookie = sink.stored_cookie.split("|")
    sink.stored_cookie = "|".join((fingerprint, identity[::-1], usn, cookie))
    with follow(settings_for(tree), sink):
        sink.wait_current()
        assert "Another domain controller" in sink.states[-1].remark
    assert len(sink.entries) == 5
    assert [change.complete for change in sink.changes].count(True) == 2


def test_a_server_restored_from_a_backup_is_read_whole_and_that_is_said(tree: Tree) -> None:
    """It has made fewer changes than the copy has seen; continuing would overlook the next ones."""
    sink = RecordingSink()
    tree.server.stop()
    backup = tree.server.backup()
    tree.server.start()
    with tree.admin() as admin:
        admin.add(tree.person_dn("dora"), "user", person_values("dora"))
    with follow(settings_for(tree), sink):
        sink.wait_for(lambda: sink.person("dora") and sink.proofs)
    tree.server.stop()
    tree.server.restore(backup)
    tree.server.start()
    with follow(settings_for(tree), sink):
        sink.wait_current()
        assert "older than this copy" in sink.states[-1].remark
    assert sink.person("dora") is None
    assert len(sink.entries) == 5
