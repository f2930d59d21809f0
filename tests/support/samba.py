# SPDX-License-Identifier: EUPL-1.2
"""The rig's Active Directory domain controller, with an administrator who signs in through ldap3 as the tests do."""

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import ldap3
from support.ldap_admin import signed_in

import rig.samba
from integrations.ldap import LdapSettings
from integrations.ldap.mapping_attributes import ACTIVE_DIRECTORY
from integrations.ldap.settings import Timing
from rig.samba import ADMIN, ADMIN_PASSWORD, READER, READER_PASSWORD, STRANGER, SUFFIX

__all__ = [
    "DISABLED",
    "ENABLED",
    "READER_PASSWORD",
    "STRANGER",
    "SUFFIX",
    "Samba",
    "Tree",
    "person_values",
    "settings_for",
    "shared_domain",
    "template_of_the_run",
]

ENABLED = "544"  # a normal account that needs no password
DISABLED = "546"
_TREE_DELETE = "1.2.840.113556.1.4.805"
Values = Mapping[str, str | Sequence[str]]


class Samba(rig.samba.Samba):
    """One domain controller; `start` may follow `stop` or `kill` any number of times."""

    def admin(self) -> AbstractContextManager[ldap3.Connection]:
        """A bound connection that may write everything; failed operations raise."""
        return signed_in(self.url, ADMIN, ADMIN_PASSWORD)


class Tree:
    """A branch of its own of a running domain, so that many tests can share one domain controller.

    It has people below ou=people and groups below ou=groups, and looks like a directory of its own to a source.
    """

    bind_dn = READER
    password = READER_PASSWORD

    def __init__(self, server: Samba, name: str) -> None:
        self.server = server
        self.suffix = f"ou={name},{SUFFIX}"
        self.ca_file: Path = server.ca_file
        self.pause = server.pause
        self.resume = server.resume
        self.admin = server.admin

    @property
    def url(self) -> str:
        """The ldaps URL."""
        return self.server.url

    def person_dn(self, login: str) -> str:
        """Where a person is."""
        return f"CN={login},OU=people,{self.suffix}"

    def group_dn(self, name: str) -> str:
        """Where a group is."""
        return f"CN={name},OU=groups,{self.suffix}"

    def plant(self) -> None:
        """Make the branch: three people, a group, and a group that holds the first."""
        with self.admin() as admin:
            for dn in (self.suffix, f"ou=people,{self.suffix}", f"ou=groups,{self.suffix}"):
                admin.add(dn, "organizationalUnit")
            for login, name in (("anna", "Anna Arndt"), ("bert", "Bert Berg"), ("cora", "Cora Conrad")):
                more = {"mail": f"{login}@stadt.example", "employeeNumber": f"P-{login}"}
                admin.add(self.person_dn(login), "user", person_values(login, name, **more))
            self.add_group(admin, "inner", self.person_dn("anna"), self.person_dn("bert"))
            self.add_group(admin, "outer", self.group_dn("inner"))

    def add_group(self, admin: ldap3.Connection, name: str, *members: str) -> None:
        """Make a security group."""
        values: dict[str, str | list[str]] = {"sAMAccountName": name}
        if members:
            values["member"] = list(members)
        admin.add(self.group_dn(name), "group", values)

    def fell(self) -> None:
        """Delete the branch with everything below it; people first, since a primary group cannot go before them."""
        with self.admin() as admin:
            for dn in (f"ou=people,{self.suffix}", self.suffix):
                admin.delete(dn, controls=[(_TREE_DELETE, True, None)])


def person_values(login: str, name: str | None = None, **more: str) -> Values:
    """What a person needs; a login is unique in the whole domain."""
    return {"sAMAccountName": login, "userAccountControl": ENABLED, "displayName": name or login, **more}


def settings_for(tree: Tree, **changes: Any) -> LdapSettings:
    """Return how the service is told to read a branch, with changes by name."""
    values: dict[str, Any] = {
        "servers": (tree.url,),
        "bind_dn": tree.bind_dn,
        "password": lambda: tree.password,
        "people_base": f"ou=people,{tree.suffix}",
        "groups_base": f"ou=groups,{tree.suffix}",
        "ca_file": tree.ca_file,
        "people_filter": ACTIVE_DIRECTORY.people_filter,
        "groups_filter": ACTIVE_DIRECTORY.groups_filter,
        "mapping": ACTIVE_DIRECTORY.mapping,
        "timing": Timing(beat_s=0.1, dead_s=1.0),
    }
    return LdapSettings(**{**values, **changes})


def template_of_the_run(base: Path) -> Path:
    """Return a domain made once for all processes of a test run; `base` is pytest's folder of this process."""
    # With several processes every one has a folder below that of the run.
    run = base.parent if base.name.startswith("popen-") else base
    template = run / "samba-template"
    with (run / "samba-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (template / "made").exists():
            rig.samba.provision(template)
            (template / "made").touch()
    return template


@contextmanager
def shared_domain(template: Path, directory: Path) -> Iterator[Samba]:
    """A running domain controller for many tests, each of which plants a `Tree` of its own."""
    server = Samba(directory, template)
    server.start()
    try:
        yield server
    finally:
        server.stop()
