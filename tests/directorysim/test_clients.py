# SPDX-License-Identifier: EUPL-1.2
"""Clients written by others: OpenLDAP's own tools, and ldap3."""

from collections.abc import Callable

import ldap3
import pytest

from directorysim import ThreadedServer
from tests.directorysim.client import ADMIN, PEOPLE, READER, SUFFIX, port_of
from tests.directorysim.conftest import Lines, Tools

U1 = f"uid=u1,{PEOPLE}"


@pytest.mark.slapd
def test_ldapwhoami_over_all_transports(server: ThreadedServer, tools: Tools) -> None:
    """In the clear, with StartTLS enforced, and over ldaps, with the certificate checked."""
    assert tools.run("ldapwhoami", "reader").stdout.strip() == f"dn:{READER}"
    assert tools.run("ldapwhoami", "reader", "-ZZ").stdout.strip() == f"dn:{READER}"
    secure = Tools(server.ldaps_url, tools.ca_file)
    assert secure.run("ldapwhoami", "admin").stdout.strip() == f"dn:{ADMIN}"
    assert Tools(server.ldaps_url, "/dev/null").run("ldapwhoami", "admin").returncode != 0


@pytest.mark.slapd
def test_ldapsearch(tools: Tools) -> None:
    """Filters, attribute choice and limits of ldapsearch are understood."""
    found = tools.run(
        "ldapsearch", "reader", "-LLL", "-b", SUFFIX, "(&(objectClass=person)(mail=u*@CORP.example)(!(uid=u2)))", "cn"
    )
    assert found.stdout.count("dn: uid=") == 4
    assert "cn: User 1\n" in found.stdout
    assert "mail" not in found.stdout
    limited = tools.run("ldapsearch", "reader", "-LLL", "-z", "2", "-b", SUFFIX, "1.1")
    assert (limited.returncode, limited.stdout.count("dn: ")) == (4, 2)
    refused = tools.run("ldapsearch", "reader", "-LLL", "-E", "!1.2.3.4", "-b", SUFFIX)
    assert refused.returncode == 12


@pytest.mark.slapd
def test_ldapsearch_in_pages(tools: Tools) -> None:
    """Paged results come page by page, all of them once."""
    found = tools.run("ldapsearch", "reader", "-b", PEOPLE, "-E", "pr=2/noprompt", "(uid=*)", "uid")
    assert found.stdout.count("\nuid: ") == 5
    assert found.stdout.count("pagedresults: cookie=") == 3


@pytest.mark.slapd
def test_the_writing_tools(tools: Tools) -> None:
    """Entries are added, changed, compared, renamed, moved and deleted, in this order."""
    entry = f"dn: uid=new,{PEOPLE}\nobjectClass: inetOrgPerson\nuid: new\ncn:: SsO8cmdlbg==\nsn: New\n"
    assert tools.run("ldapadd", "admin", ldif=entry).returncode == 0
    assert tools.run("ldapadd", "admin", ldif=entry).returncode == 68
    change = f"dn: uid=new,{PEOPLE}\nchangetype: modify\nadd: mail\nmail: new@corp.example\n-\nreplace: sn\nsn: Newer\n"
    assert tools.run("ldapmodify", "admin", ldif=change).returncode == 0
    assert tools.run("ldapmodify", "reader", ldif=change).returncode == 50
    assert tools.run("ldapcompare", "reader", f"uid=new,{PEOPLE}", "cn:JÜRGEN").returncode == 6
    assert tools.run("ldapmodrdn", "admin", "-r", "-s", SUFFIX, f"uid=new,{PEOPLE}", "uid=newer").returncode == 0
    found = tools.run("ldapsearch", "reader", "-LLL", "-b", SUFFIX, "(mail=new@corp.example)", "uid", "sn")
    assert sorted(found.stdout.split("\n")) == ["", "", f"dn: uid=newer,{SUFFIX}", "sn: Newer", "uid: newer"]
    assert tools.run("ldapdelete", "admin", f"uid=newer,{SUFFIX}").returncode == 0
    assert tools.run("ldapdelete", "admin", f"uid=newer,{SUFFIX}").returncode == 32


@pytest.mark.slapd
def test_refresh_only_with_ldapsearch(server: ThreadedServer, tools: Tools) -> None:
    """OpenLDAP's client reads the refresh, resumes with the cookie and understands what is gone."""
    first = tools.run("ldapsearch", "reader", "-b", SUFFIX, "-E", "!sync=ro", "(uid=*)", "uid")
    cookie = f"rid=000,csn={server.context_csn}"
    assert first.stdout.count(" added\n") == 5
    assert f"# SyncDone control refreshDeletes=1\n# cookie: {cookie}\n" in first.stdout
    tools.run("ldapdelete", "admin", U1)
    tools.run("ldapmodify", "admin", ldif=f"dn: uid=u2,{PEOPLE}\nchangetype: modify\nreplace: sn\nsn: x\n")
    second = tools.run("ldapsearch", "reader", "-b", SUFFIX, "-E", f"!sync=ro/{cookie}", "(uid=*)", "uid")
    assert "# following UUIDs no longer match the search\n" in second.stdout
    assert second.stdout.count(" added\n") == 1
    server.forget_session_log()
    third = tools.run("ldapsearch", "reader", "-b", SUFFIX, "-E", f"!sync=ro/{cookie}", "(uid=*)", "uid")
    assert "# SyncDone control refreshDeletes=0\n" in third.stdout
    assert third.stdout.count(" added\n") == 1
    refused = tools.run("ldapsearch", "reader", "-b", SUFFIX, "-a", "always", "-E", "!sync=ro")
    assert "illegal value for derefAliases" in refused.stdout


@pytest.mark.slapd
def test_refresh_and_persist_with_ldapsearch(tools: Tools, watch: Callable[..., Lines]) -> None:
    """OpenLDAP's client follows a change, a delete and a rename as they happen."""
    lines = watch("-E", "!sync=rp", "(uid=*)", "sn")
    refresh = lines.until("refresh done, switching to persist stage")
    assert sum(line.endswith(" added") for line in refresh) == 5
    tools.run("ldapmodify", "admin", ldif=f"dn: {U1}\nchangetype: modify\nreplace: sn\nsn: Changed\n")
    assert any(line.endswith(" modified") for line in lines.until("sn: Changed"))
    tools.run("ldapdelete", "admin", U1)
    assert f"dn: {U1}" in lines.until(" deleted")
    tools.run("ldapmodrdn", "admin", "-r", f"uid=u2,{PEOPLE}", "uid=u2x")
    assert f"dn: uid=u2x,{PEOPLE}" in lines.until(" modified")


@pytest.fixture
def connection(server: ThreadedServer) -> ldap3.Connection:
    """An ldap3 connection of the administrator."""
    target = ldap3.Server("127.0.0.1", port=port_of(server.ldap_url), get_info=ldap3.ALL)
    return ldap3.Connection(target, ADMIN, "adminpw", auto_bind=True, raise_exceptions=False)


def test_ldap3_reads_the_root_dse(connection: ldap3.Connection) -> None:
    """ldap3 finds the naming context, the controls and the vendor."""
    information = connection.server.info
    assert information.naming_contexts == [SUFFIX]
    assert information.vendor_name == ["directorysim"]
    assert "1.3.6.1.4.1.4203.1.9.1.1" in [item[0] for item in information.supported_controls]
    connection.unbind()


def test_ldap3_searches_and_writes(connection: ldap3.Connection) -> None:
    """Bind, search, modify, add, rename, compare and delete through ldap3."""
    assert connection.search(SUFFIX, "(&(objectClass=person)(uid=u1))", attributes=["cn", "mail", "entryUUID"])
    assert connection.entries[0].cn.value == "User 1"
    assert connection.modify(U1, {"mail": [(ldap3.MODIFY_ADD, ["second@corp.example"])]})
    assert connection.compare(U1, "mail", "SECOND@corp.example")
    assert connection.add(f"uid=x,{PEOPLE}", ["inetOrgPerson"], {"cn": "x", "sn": "x"})
    assert connection.modify_dn(f"uid=x,{PEOPLE}", "uid=y", new_superior=SUFFIX)
    assert connection.delete(f"uid=y,{SUFFIX}")
    assert not connection.delete(f"uid=y,{SUFFIX}")
    assert connection.result["description"] == "noSuchObject"
    pages = connection.extend.standard.paged_search(SUFFIX, "(uid=*)", paged_size=2, generator=False)
    assert len(pages) == 5
    assert connection.extend.standard.who_am_i() == f"dn:{ADMIN}"
    connection.unbind()


def test_ldap3_is_refused_with_a_wrong_password(server: ThreadedServer) -> None:
    """A wrong password is invalidCredentials for ldap3, too."""
    target = ldap3.Server("127.0.0.1", port=port_of(server.ldap_url), get_info=ldap3.NONE)
    connection = ldap3.Connection(target, READER, "wrong")
    assert not connection.bind()
    assert connection.result["description"] == "invalidCredentials"
    connection.unbind()
