# SPDX-License-Identifier: EUPL-1.2
"""`docs/directory.md` followed to the letter: what it prints is applied to the real servers, and the service connects.

What is printed for Windows cannot be tried here; the page says so.
"""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import ldap3
import pytest
from contracts.directory_source import first_entries
from support.directory_page import PASSWORD, Administrator, block, blocks, connected_by_the_page, looked_at
from support.ds389 import Ds389
from support.samba import Samba, person_values, template_of_the_run
from support.slapd import ADMIN_PASSWORD, SLAPD, SUFFIX, Slapd

FIRST = "First: a password, and a certificate"
OPENLDAP = "OpenLDAP, step by step"
AD = "Active Directory, step by step"
DS389 = "389 Directory Server and FreeIPA, step by step"
SLAPTEST = "/usr/sbin/slaptest"
# What the page calls the city, and what the test's servers hold.
NAMES = {"dc=stadt,dc=example": SUFFIX, "DC=stadt,DC=example": "DC=corp,DC=example", "@stadt.example": "@corp.example"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the administrator and the service have their files."""
    (tmp_path / "service").mkdir()
    return tmp_path


def certified(folder: Path, host: str) -> Administrator:
    """Make authority, certificate and password as the page says, for a server at the address `host`."""
    names = {**NAMES, "/etc/cardservice/": f"{folder}/", "DNS:ldap1.stadt.example": f"IP:{host}"}
    administrator = Administrator(folder, names)
    password, authority, server = (text for text in blocks(FIRST))
    for text in (password, authority, server):
        administrator.types(text)
    assert (folder / "directory.secret").stat().st_mode & 0o777 == 0o600
    assert len((folder / "directory.secret").read_text()) > 40
    return administrator


def settings_of(administrator: Administrator, title: str, *servers: str) -> str:
    """Return the block of settings of a section, with the servers' real addresses."""
    listed = ", ".join(f'"{server}"' for server in servers)
    text = re.sub(r"^servers = .*$", f"servers = [{listed}]", block(title, "[directory]"), flags=re.MULTILINE)
    return administrator.adapted(text)


class BareSlapd(Slapd):
    """OpenLDAP as Debian installs it: configured in cn=config, which root may change; nobody reads people."""

    def _config_text(self) -> str:
        left_out = ("overlay", "syncprov", "moduleload syncprov", "refint", "limits", "access", "index", "TLS")
        lines = [line for line in super()._config_text().splitlines() if not line.startswith(left_out)]
        root = '"gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth"'
        lines[lines.index("database mdb") : lines.index("database mdb")] = [
            "database config",
            f"access to * by dn.exact={root} manage by * none",
        ]
        lines += ["access to attrs=userPassword by self write by anonymous auth by * none", "access to * by * none"]
        return "\n".join(lines) + "\n"

    @property
    def ldapi_url(self) -> str:
        """Where root signs in by being root."""
        return f"ldapi://{str(self.directory / 'ldapi').replace('/', '%2F')}"

    def convert(self) -> None:
        """Turn the file into cn=config."""
        (self.directory / "slapd.d").mkdir()
        subprocess.run(
            [SLAPTEST, "-f", self._config, "-F", self.directory / "slapd.d"],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def start(self, *, maintenance: bool = False) -> Self:
        urls = [self.plain_url, self.ldapi_url] + ([] if maintenance else [self.url])
        self._program.command = [str(SLAPD), "-d", "0", "-F", str(self.directory / "slapd.d"), "-h", " ".join(urls)]
        self._program.start()
        self._program.wait_ready(self._lets_root_in, 20)
        return self

    def _lets_root_in(self) -> bool:
        """Whether it accepts connections there; the file is there a moment earlier."""
        with socket.socket(socket.AF_UNIX) as door:
            return door.connect_ex(str(self.directory / "ldapi")) == 0


@pytest.mark.slapd
class TestOpenLdap:
    """OpenLDAP."""

    @pytest.fixture
    def slapd(self, folder: Path) -> Iterator[BareSlapd]:
        server = BareSlapd(folder / "slapd", first_entries(SUFFIX))
        server.convert()
        yield server
        server.stop()

    def test_a_server_in_cn_config_is_connected(self, folder: Path, slapd: BareSlapd) -> None:
        """Certificate, account, overlay, rights and limits as LDIF, then the settings: nothing is missing."""
        administrator = certified(folder, "127.0.0.1")
        slapd.start(maintenance=True)
        hashed = administrator.types("slappasswd -T /etc/cardservice/directory.secret").strip()
        administrator.names |= {"/etc/ldap/tls": str(folder), "SECRET": hashed}
        as_root = f"ldapmodify -Q -Y EXTERNAL -H {slapd.ldapi_url}"
        administrator.feeds(as_root, block(OPENLDAP, "dn: cn=config"))
        data = f"ldapmodify -x -w {ADMIN_PASSWORD} -H {slapd.plain_url} -D cn=admin,{SUFFIX}"
        administrator.feeds(data, block(OPENLDAP, "dn: cn=cardservice"))
        administrator.feeds(as_root, block(OPENLDAP, "dn: cn=module"))
        slapd.stop()
        slapd.start()
        settings = settings_of(administrator, OPENLDAP, slapd.url)
        connected_by_the_page(folder / "service", settings, mode="syncrepl", login="anna")
        self._reads_no_password(administrator, slapd)

    @staticmethod
    def _reads_no_password(administrator: Administrator, slapd: BareSlapd) -> None:
        shown = administrator.types(
            f"ldapsearch -x -LLL -H {slapd.plain_url} -D cn=cardservice,{SUFFIX} -y /etc/cardservice/directory.secret"
            f" -b {SUFFIX} '(objectClass=*)' userPassword"
        )
        assert f"cn=cardservice,{SUFFIX}" in shown
        assert "userPassword" not in shown

    def test_the_lines_for_slapd_conf_say_the_same(self, folder: Path) -> None:
        """The rules stand before others and are enough for the account."""
        administrator = certified(folder, "127.0.0.1")
        lines = administrator.adapted(block(OPENLDAP, "access to attrs=userPassword"))

        class Configured(Slapd):
            def _config_text(self) -> str:
                left_out = ("overlay syncprov", "syncprov", "limits", "access", "index")
                kept = [line for line in super()._config_text().splitlines() if not line.startswith(left_out)]
                return "\n".join([*kept, lines, "access to attrs=userPassword by anonymous auth by * none"]) + "\n"

        server = Configured(folder / "slapd", first_entries(SUFFIX))
        hashed = administrator.types("slappasswd -T /etc/cardservice/directory.secret").strip()
        administrator.names |= {"SECRET": hashed}
        server.start()
        try:
            data = f"ldapmodify -x -w {ADMIN_PASSWORD} -H {server.plain_url} -D cn=admin,{SUFFIX}"
            administrator.feeds(data, block(OPENLDAP, "dn: cn=cardservice"))
            shutil.copy(server.ca_file, folder / "directory-ca.pem")
            findings = looked_at(folder / "service", settings_of(administrator, OPENLDAP, server.url), mode="syncrepl")
        finally:
            server.stop()
        assert "3 people (0 disabled) and 2 groups" in findings


@pytest.mark.samba
class TestActiveDirectory:
    """A Samba domain controller."""

    def test_a_controller_is_connected(self, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Account, both rights and certificate as printed for Samba; deletions are seen, so that nothing is missing."""
        server = Samba(folder / "dc", template_of_the_run(tmp_path_factory.getbasetemp()))
        administrator = certified(folder, server.address)
        (folder / "directory.secret").write_text(PASSWORD)
        administrator.environment = {"SMB_CONF_PATH": str(folder / "dc" / "etc" / "smb.conf")}
        self._certify(administrator, server)
        for first in ("samba-tool user create", "samba-tool dsacl", "/usr/bin/python3"):
            administrator.types(block(AD, first), answers=f"{PASSWORD}\n{PASSWORD}\n")
        server.start()
        try:
            with server.admin() as admin:
                for unit in ("Stadt", "Gruppen"):
                    admin.add(f"OU={unit},{SUFFIX}", "organizationalUnit")
                admin.add(f"CN=anna,OU=Stadt,{SUFFIX}", "user", person_values("anna"))
                values = {"sAMAccountName": "inner", "member": [f"CN=anna,OU=Stadt,{SUFFIX}"]}
                admin.add(f"CN=inner,OU=Gruppen,{SUFFIX}", "group", values)
            settings = settings_of(administrator, AD, server.url)
            connected_by_the_page(folder / "service", settings, mode="dirsync", login="anna")
        finally:
            server.stop()

    @staticmethod
    def _certify(administrator: Administrator, server: Samba) -> None:
        lines = block(AD, "tls enabled = yes").replace("/etc/samba/tls", str(administrator.folder))
        config = server.directory / "etc" / "smb.conf"
        others = [line for line in config.read_text().splitlines() if not line.startswith("tls ")]
        config.write_text("\n".join([*others, lines]))


@pytest.mark.ds389
class TestDs389:
    """389 Directory Server."""

    @pytest.fixture
    def server(self) -> Iterator[Ds389]:
        """As it is installed: neither plug-in, a limit to searches, nobody reads people."""
        server = Ds389()
        config = server.directory / "config" / "dse.ldif"
        text = config.read_text().replace("nsslapd-sizelimit: -1", "nsslapd-sizelimit: 3")
        for plugin in ("Content Synchronization", "Retro Changelog Plugin"):
            head, own, rest = text.partition(f"dn: cn={plugin},cn=plugins,cn=config\n")
            entry, end, others = rest.partition("\n\n")
            entry = re.sub(r"(?im)^nsslapd-attribute: .*\n?", "", entry)
            entry = re.sub(r"(?im)^(nsslapd-pluginEnabled): on$", r"\1: off", entry)
            text = head + own + entry.rstrip("\n") + end + others
        config.write_text(text)
        try:
            yield server.start()
        finally:
            server.close()

    def test_a_server_is_connected(self, folder: Path, server: Ds389) -> None:
        """Account, rights, limits, both plug-ins as LDIF; the server's own limit is too low."""
        administrator = certified(folder, "127.0.0.1")
        shutil.copy(server.ca_file, folder / "directory-ca.pem")
        administrator.names |= {"SECRET": (folder / "directory.secret").read_text()}
        with server.admin() as admin:
            admin.add(SUFFIX, attributes={"objectClass": ["top", "domain"], "dc": "corp"})
            for dn in (f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"):
                admin.add(dn, "organizationalUnit")
            for dn, values in first_entries(SUFFIX):
                admin.add(dn, attributes=dict(values))
            admin.modify(f"uid=bert,ou=people,{SUFFIX}", {"nsAccountLock": [(ldap3.MODIFY_REPLACE, ["true"])]})
        program = f'ldapmodify -x -H {server.plain_url} -D "cn=Directory Manager" -w {ADMIN_PASSWORD}'
        for first in ("dn: cn=cardservice", "dn: dc=stadt", "dn: cn=Content Synchronization"):
            administrator.feeds(program, block(DS389, first))
        server.stop()
        server.start()
        settings = settings_of(administrator, DS389, server.url)
        findings = connected_by_the_page(folder / "service", settings, mode="content-sync", login="anna")
        assert "3 people (1 disabled) and 2 groups" in findings

    def test_the_certificate_gets_into_the_store(self, folder: Path, server: Ds389) -> None:
        """Key, certificate and authority, in a store with a password as the installer makes it; and TLS by LDIF."""
        administrator = certified(folder, "127.0.0.1")
        store = folder / "slapd-stadt"
        store.mkdir()
        (store / "pwdfile.txt").write_text("store-only\n")
        administrator.names |= {"/etc/dirsrv/slapd-stadt": str(store)}
        administrator.types(f"certutil -N -d {store} -f {store}/pwdfile.txt")
        commands = block(DS389, "openssl pkcs12").splitlines()
        for command in commands:
            # Both programs ask for the password of the file between them, one on the terminal alone.
            administrator.types(
                command.replace("-export", "-export -passout pass:x").replace("pk12util", "pk12util -W x")
            )
        assert "Server-Cert" in administrator.types(f"certutil -K -d {store} -f {store}/pwdfile.txt")
        administrator.types(f"certutil -V -u V -n Server-Cert -d {store} -f {store}/pwdfile.txt")
        administrator.names |= {"636": server.url.rpartition(":")[2]}
        program = f'ldapmodify -x -H {server.plain_url} -D "cn=Directory Manager" -w {ADMIN_PASSWORD}'
        administrator.feeds(program, block(DS389, "dn: cn=config"))


def test_every_block_of_the_page_is_tried() -> None:
    """What is added to the page to be typed is added here too; commands of Windows are not typed."""
    begins = {FIRST: ["umask", "openssl req -x509", "openssl req -newkey"]}
    begins[OPENLDAP] = ["dn: cn=config", "dn: cn=cardservice", "dn: cn=module", "access to attrs", "[directory]"]
    windows = ["openssl pkcs12", "Import-Pfx", "New-ADUser", 'dsacls "DC', 'dsacls "CN=Deleted']
    tried = ["tls enabled", "samba-tool user create", "samba-tool dsacl", "/usr/bin/python3", "[directory]"]
    begins[AD] = [*windows, *tried]
    begins[DS389] = ["openssl pkcs12", "dn: cn=config", "dn: cn=cardservice", "dn: dc=stadt"]
    begins[DS389] += ["dn: cn=Content", "[directory]"]
    for title, firsts in begins.items():
        found = blocks(title)
        assert len(found) == len(firsts), found
        assert all(any(text.startswith(first) for first in firsts) for text in found)
