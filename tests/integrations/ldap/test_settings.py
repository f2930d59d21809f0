# SPDX-License-Identifier: EUPL-1.2
"""Settings refuse what cannot work, in plain words, and never show the password."""

from dataclasses import replace
from pathlib import Path

import pytest

from cardservice.people.rules import DirectoryGroup, DirectoryPerson
from integrations.ldap import AttributeMapping, LdapSettings, SettingsRefused
from integrations.ldap.settings import Server, is_loopback

SETTINGS = LdapSettings(
    servers=("ldaps://one.example", "ldap://[::1]:3890/"),
    bind_dn="cn=doors,dc=corp",
    password=lambda: "do-not-show",
    people_base="ou=People, dc=Corp, dc=example",
    groups_base="ou=groups,dc=corp,dc=example",
    ca_file=Path("/etc/ca.pem"),
)


def test_servers_are_read_in_order() -> None:
    assert SETTINGS.ordered_servers() == (
        Server("ldaps://one.example", "one.example", 636, tls=True),
        Server("ldap://[::1]:3890", "::1", 3890, tls=False),
    )


@pytest.mark.parametrize(
    "url", ["one.example", "http://one.example", "ldaps://", "ldaps://one/dc=x", "ldaps://one:99999", "ldapi://%2Frun"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(SettingsRefused):
        replace(SETTINGS, servers=(url,)).ordered_servers()


def test_a_password_in_a_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsRefused) as caught:
        replace(SETTINGS, servers=("ldaps://doors:geheim@one.example",)).ordered_servers()
    assert "geheim" not in str(caught.value)


def test_no_server_and_no_account_are_refused() -> None:
    with pytest.raises(SettingsRefused, match="No directory server"):
        replace(SETTINGS, servers=()).ordered_servers()
    with pytest.raises(SettingsRefused, match="anonymous"):
        replace(SETTINGS, bind_dn="").ordered_servers()


def test_the_search_base_is_what_both_have_in_common() -> None:
    assert SETTINGS.search_base() == "dc=corp,dc=example"
    with pytest.raises(SettingsRefused, match="no part in common"):
        replace(SETTINGS, groups_base="o=other").search_base()
    with pytest.raises(SettingsRefused, match="is not a DN"):
        replace(SETTINGS, groups_base="other").search_base()


def test_each_kind_must_lie_below_its_own_base() -> None:
    person = DirectoryPerson("i", "uid=a,ou=people,dc=corp,dc=example", "A", enabled=True)
    assert SETTINGS.holds(person)
    assert not SETTINGS.holds(replace(person, dn="uid=a,ou=groups,dc=corp,dc=example"))
    assert not SETTINGS.holds(replace(person, dn="uid=a,xou=people,dc=corp,dc=example"))
    assert SETTINGS.holds(DirectoryGroup("i", "cn=a,ou=x,ou=groups,dc=corp,dc=example", "A", frozenset()))


def test_the_fingerprint_follows_what_the_copy_depends_on() -> None:
    same = replace(SETTINGS, password=lambda: "another", ca_file=None)
    others = [
        replace(SETTINGS, people_filter="(uid=*)"),
        replace(SETTINGS, groups_base="dc=corp,dc=example"),
        replace(SETTINGS, servers=("ldaps://other",)),
        replace(SETTINGS, mapping=AttributeMapping(login="cn")),
    ]
    assert same.fingerprint() == SETTINGS.fingerprint()
    assert len({settings.fingerprint() for settings in [SETTINGS, *others]}) == 5


def test_the_password_is_not_shown() -> None:
    assert "do-not-show" not in repr(SETTINGS)


def test_only_literal_loopback_addresses_are_this_machine() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "10.0.0.1")] == [True, True, False, False]
