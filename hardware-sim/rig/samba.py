# SPDX-License-Identifier: EUPL-1.2
"""A real Active Directory domain controller (Samba) in a temporary directory, for tests and measurements.

Needs root and the packages of `scripts/debian-packages.sh samba`. Nothing outside the given directories is touched.
The ports of LDAP are fixed in Samba, so every server gets a loopback address of its own: several can run at once.
Making a domain takes seconds, copying one takes milliseconds: `provision` makes a template, `Samba` runs a copy of it.
"""

import json
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from rig.errors import SambaFailedError
from rig.program import Program, Server, accepts, find_program, installed
from rig.tls_files import CertificateWish, make_tls_files

START_LIMIT_S = 30.0
STOP_LIMIT_S = 20.0
PROVISION_LIMIT_S = 180.0
PACKAGE: Final = "scripts/debian-packages.sh samba"

REALM = "corp.example"
SUFFIX = "dc=corp,dc=example"
ADMIN = f"administrator@{REALM}"
READER = f"doors@{REALM}"
STRANGER = f"stranger@{REALM}"
ADMIN_PASSWORD = "Adm1n-only-here."  # noqa: S105  # only ever valid on a temporary server
READER_PASSWORD = "D00rs-only-here."  # noqa: S105  # as above

_LDAP_PORT: Final = 389
_LDAPS_PORT: Final = 636
_TRIES: Final = 50
# Run by Debian's own interpreter, which has Samba's modules: two accounts, and the right to see deletions for one.
_ACCOUNTS = """
import json, sys
import samba.param, samba.auth
from samba.samdb import SamDB
from samba.ndr import ndr_pack, ndr_unpack
from samba.dcerpc import security
import ldb
wish = json.load(sys.stdin)
lp = samba.param.LoadParm()
lp.load(wish["config"])
samdb = SamDB(wish["database"], session_info=samba.auth.system_session(lp), lp=lp)
for name in wish["accounts"]:
    samdb.newuser(name, wish["password"])
sid = security.dom_sid(samdb.schema_format_value("objectSid", samdb.search(
    expression="(sAMAccountName=%s)" % wish["sees_deletions"], attrs=["objectSid"])[0]["objectSid"][0]).decode())
deleted = "CN=Deleted Objects," + str(samdb.domain_dn())
shown = ["show_deleted:1", "sd_flags:1:4"]
found = samdb.search(deleted, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=shown)[0]
descriptor = ndr_unpack(security.descriptor, found["nTSecurityDescriptor"][0])
ace = security.ace()
ace.type = security.SEC_ACE_TYPE_ACCESS_ALLOWED
ace.access_mask = security.SEC_ADS_LIST | security.SEC_ADS_READ_PROP
ace.trustee = sid
descriptor.dacl_add(ace)
change = ldb.Message(found.dn)
change["sd"] = ldb.MessageElement(ndr_pack(descriptor), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
samdb.modify(change, shown)
"""


def provision(directory: Path) -> Path:
    """Make the domain corp.example with the accounts doors and stranger in `directory` and return it; nothing runs.

    Both may read; doors may list CN=Deleted Objects too, which is what telling deletions takes.

    Raises:
        SambaFailedError: one of its programs is missing or failed.
    """
    tool = installed("samba-tool", PACKAGE, SambaFailedError)
    directory.mkdir(parents=True, exist_ok=True)
    options = ("--dns-backend=NONE", "--server-role=dc", "--host-name=dc1", "--host-ip=127.0.0.5")
    loopback_only = ("--option=interfaces=127.0.0.5/8", "--option=bind interfaces only=yes")
    names = (f"--realm={REALM.upper()}", "--domain=CORP", f"--adminpass={ADMIN_PASSWORD}", f"--targetdir={directory}")
    _run([tool, "domain", "provision", *names, *options, *loopback_only])
    _write_config(directory, "127.0.0.5")
    wish = {
        "config": str(directory / "etc" / "smb.conf"),
        "database": str(directory / "private" / "sam.ldb"),
        "accounts": ["doors", "stranger"],
        "password": READER_PASSWORD,
        "sees_deletions": "doors",
    }
    _run([find_program("python3") or "/usr/bin/python3", "-c", _ACCOUNTS], json.dumps(wish))
    return directory


def _run(command: list[str], text: str = "") -> None:
    done = subprocess.run(  # noqa: S603  # Debian's own programs on our own files
        command, input=text, capture_output=True, text=True, timeout=PROVISION_LIMIT_S, check=False
    )
    if done.returncode != 0:
        raise SambaFailedError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout)[-500:]}")


def _write_config(here: Path, address: str) -> None:
    lines = [
        "[global]",
        "netbios name = DC1",
        f"realm = {REALM.upper()}",
        "workgroup = CORP",
        "server role = active directory domain controller",
        "server services = ldap, drepl",
        "dcerpc endpoint servers =",
        f"interfaces = {address}/8",
        "bind interfaces only = yes",
        f"private dir = {here}/private",
        f"state directory = {here}/state",
        f"cache directory = {here}/cache",
        f"lock directory = {here}/lock",
        f"pid directory = {here}/run",
        f"ncalrpc dir = {here}/run/ncalrpc",
        f"winbindd socket directory = {here}/run/winbindd",
        f"ntp signd socket directory = {here}/run/ntp",
        f"log file = {here}/log.samba",
        "tls enabled = yes",
        f"tls cafile = {here}/tls/ca.pem",
        f"tls certfile = {here}/tls/cert.pem",
        f"tls keyfile = {here}/tls/key.pem",
        "tls verify peer = no_check",
    ]
    for part in ("cache", "lock", "run"):
        (here / part).mkdir(exist_ok=True)
    (here / "etc" / "smb.conf").write_text("\n".join(lines) + "\n")


def free_address() -> str:
    """Return a loopback address on whose LDAP ports nobody listens now.

    Raises:
        SambaFailedError: none was found, or the ports need root.
    """
    reason = ""
    for _ in range(_TRIES):
        address = f"127.{64 + secrets.randbelow(63)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
        try:
            for port in (_LDAP_PORT, _LDAPS_PORT):
                with socket.socket() as probe:
                    probe.bind((address, port))
        except OSError as error:
            reason = error.strerror or "not free"
            continue
        return address
    raise SambaFailedError(f"no loopback address has free LDAP ports: {reason}")


@dataclass
class Samba(Server):
    """One domain controller with a copy of `template`."""

    directory: Path
    template: Path
    address: str = field(default_factory=free_address)
    suffix: str = SUFFIX
    bind_dn: str = READER
    password: str = READER_PASSWORD

    def __post_init__(self) -> None:
        """Copy the domain and certify the server; nothing runs yet.

        Raises:
            SambaFailedError: Samba is not installed.
        """
        command = [installed("samba", PACKAGE, SambaFailedError), "-i", "-M", "single", "--no-process-group"]
        command += ["-s", str(self.directory / "etc" / "smb.conf")]
        log = self.directory / "samba.out"
        self._program = Program("samba", command, log, SambaFailedError, stop_limit_s=STOP_LIMIT_S)
        self._copy(self.template)
        make_tls_files(self._tls, CertificateWish(ip=self.address))
        (self._tls / "key.pem").chmod(0o600)  # Samba refuses a key that others may read

    def restore(self, template: Path | None = None) -> None:
        """Go back to what `template` or a backup holds, the certificate excepted; the server must not run."""
        kept = self.directory.with_name(f"{self.directory.name}-tls")
        self._tls.rename(kept)
        self._copy(template or self.template)
        shutil.rmtree(self._tls, ignore_errors=True)
        kept.rename(self._tls)

    def _copy(self, template: Path) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        _copy_files(template, self.directory)
        _write_config(self.directory, self.address)

    @property
    def _tls(self) -> Path:
        return self.directory / "tls"

    @property
    def ca_file(self) -> Path:
        """The authority that signed the server's certificate."""
        return self.directory / "tls" / "ca.pem"

    @property
    def url(self) -> str:
        """The ldaps URL."""
        return f"ldaps://{self.address}:{_LDAPS_PORT}"

    def start(self) -> Self:
        """Start and wait until LDAP answers.

        Raises:
            SambaFailedError: it ended, or does not answer.
        """
        self._program.start()
        self._program.wait_ready(lambda: accepts(_LDAPS_PORT, self.address), START_LIMIT_S)
        return self

    def backup(self) -> Path:
        """Copy the database of a server that does not run; return the copy, which is a template."""
        copy = self.directory.with_name(f"{self.directory.name}-backup-{time.monotonic_ns()}")
        _copy_files(self.directory, copy)
        return copy


def _copy_files(source: Path, target: Path) -> None:
    """Copy a folder without what a server that ran there has left: sockets cannot be copied."""

    def sockets(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if Path(folder, name).is_socket()}

    shutil.copytree(source, target, ignore=sockets)
