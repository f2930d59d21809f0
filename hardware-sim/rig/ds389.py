# SPDX-License-Identifier: EUPL-1.2
"""A real 389 Directory Server in a temporary directory: started, stopped, killed and paused by a test or a measurement.

Needs Debian's package 389-ds-base. Debian's own installer wants systemd and every port of the machine; the server needs
neither: its configuration is written from the package's template. Content synchronisation, the retro changelog,
memberOf and referential integrity are on, as in FreeIPA. It listens on 127.0.0.1 only, on ports the kernel chose. Its
database is Berkeley DB: with LMDB, 389-ds 2.3.1 crashes now and then when its overlays write.
"""

import base64
import hashlib
import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from rig.errors import Ds389FailedError
from rig.program import Program, Server, accepts, free_port, installed
from rig.slapd import ADMIN_PASSWORD, READER_DN, READER_PASSWORD, SUFFIX
from rig.tls_files import make_tls_files

USER: Final = "dirsrv"
ROOT_DN: Final = "cn=Directory Manager"
START_LIMIT_S: Final = 40.0
STOP_LIMIT_S: Final = 20.0
PACKAGE: Final = "scripts/debian-packages.sh ds389"
_TEMPLATE: Final = Path("/usr/share/dirsrv/data/template-dse.ldif")
_SYSTEM: Final = Path("/etc/dirsrv")
_FOLDERS: Final = ("bak", "certs", "config", "db", "ldif", "lock", "log", "run", "tmp", "tls")
_PLUGINS: Final = (
    "Content Synchronization",
    "MemberOf Plugin",
    "Retro Changelog Plugin",
    "referential integrity postoperation",
)
_BACKEND: Final = f"""dn: cn=userRoot,cn=ldbm database,cn=plugins,cn=config
objectClass: top
objectClass: extensibleObject
objectClass: nsBackendInstance
cn: userRoot
nsslapd-suffix: {SUFFIX}

dn: cn="{SUFFIX}",cn=mapping tree,cn=config
objectClass: top
objectClass: extensibleObject
objectClass: nsMappingTree
cn: "{SUFFIX}"
nsslapd-state: backend
nsslapd-backend: userRoot
"""


class Ds389(Server):
    """One server with its own database; `close` removes its directory."""

    suffix = SUFFIX
    bind_dn = READER_DN
    password = READER_PASSWORD
    admin_dn = ROOT_DN
    admin_password = ADMIN_PASSWORD

    def __init__(self) -> None:
        """Write configuration and certificate; nothing runs yet.

        Raises:
            Ds389FailedError: a program of 389-ds is missing or failed.
        """
        program = installed("ns-slapd", PACKAGE, Ds389FailedError)
        # A path of its own: root's server gives up its rights, and a session's own folder is closed to others.
        self.directory = Path(tempfile.mkdtemp(prefix="ds389-"))
        self._plain_port = free_port()
        self._tls_port = free_port()
        command = [program, "-d", "0"]
        command += ["-D", str(self.directory / "config"), "-i", str(self.directory / "run" / "pid")]
        log = self.directory / "ns-slapd.log"
        self._program = Program("ns-slapd", command, log, Ds389FailedError, stop_limit_s=STOP_LIMIT_S)
        for name in _FOLDERS:
            (self.directory / name).mkdir()
        make_tls_files(self.directory / "tls")
        self._write_configuration()
        self._write_certificates()
        if os.geteuid() == 0:
            self._give_away()

    @property
    def ca_file(self) -> Path:
        """The authority that signed the server's certificate."""
        return self.directory / "tls" / "ca.pem"

    @property
    def url(self) -> str:
        """The ldaps URL."""
        return f"ldaps://127.0.0.1:{self._tls_port}"

    @property
    def plain_url(self) -> str:
        """The ldap URL."""
        return f"ldap://127.0.0.1:{self._plain_port}"

    def start(self) -> Self:
        """Start and wait until connections are accepted.

        Raises:
            Ds389FailedError: it ended, or accepts none.
        """
        self._program.start()
        ports = (self._plain_port, self._tls_port)
        self._program.wait_ready(lambda: all(map(accepts, ports)), START_LIMIT_S)
        return self

    def backup(self) -> Path:
        """Copy the database as it lies on the disk; the server must not run."""
        copy = self.directory / "bak" / secrets.token_hex(4)
        shutil.copytree(self.directory / "db", copy)
        return copy

    def restore(self, backup: Path) -> None:
        """Put a copy of the database back; the server must not run."""
        shutil.rmtree(self.directory / "db")
        shutil.copytree(backup, self.directory / "db")
        if os.geteuid() == 0:
            self._give_away()

    def close(self) -> None:
        """End it and remove its directory; nothing is worth an orderly end."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write_configuration(self) -> None:
        config = self.directory / "config"
        shutil.copytree(_SYSTEM / "schema", config / "schema")
        for name in ("slapd-collations.conf", "certmap.conf"):
            shutil.copy(_SYSTEM / "config" / name, config / name)
        values = self._template_values()
        try:
            template = _TEMPLATE.read_text("utf-8")
            text = re.sub(r"%(\w+)%", lambda match: values[match[1]], template)
        except (OSError, KeyError) as error:
            raise Ds389FailedError(f"the configuration template of 389-ds-base cannot be used: {error}") from None
        entries = text.strip().split("\n\n")
        settings = {
            "nsslapd-listenhost": "127.0.0.1",
            "nsslapd-securelistenhost": "127.0.0.1",
            "nsslapd-securePort": str(self._tls_port),
            "nsslapd-security": "on",
            "nsslapd-sizelimit": "-1",
        }
        entries = [_changed(entry, "cn=config", settings) for entry in entries]
        for plugin in _PLUGINS:
            name = f"cn={plugin},cn=plugins,cn=config"
            entries = [_changed(entry, name, {"nsslapd-pluginEnabled": "on"}) for entry in entries]
        # Names with umlauts are usual here.
        seven_bit = "cn=7-bit check,cn=plugins,cn=config"
        entries = [_changed(entry, seven_bit, {"nsslapd-pluginEnabled": "off"}) for entry in entries]
        retro = "cn=Retro Changelog Plugin,cn=plugins,cn=config"
        entries = [_changed(entry, retro, {"nsslapd-attribute": "nsuniqueid:targetUniqueId"}) for entry in entries]
        (config / "dse.ldif").write_text("\n\n".join([*entries, _BACKEND]), encoding="utf-8")

    def _template_values(self) -> dict[str, str]:
        here = self.directory
        folders = {"bak_dir": "bak", "cert_dir": "certs", "config_dir": "config", "db_dir": "db", "db_home_dir": "db"}
        folders |= {"ldif_dir": "ldif", "lock_dir": "lock", "log_dir": "log", "run_dir": "run", "tmp_dir": "tmp"}
        return {
            **{key: str(here / folder) for key, folder in folders.items()},
            "schema_dir": str(here / "config" / "schema"),
            "inst_dir": str(here),
            "fqdn": "127.0.0.1",
            "ds_port": str(self._plain_port),
            "ds_user": USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name,
            "ds_suffix": SUFFIX,
            "ds_passwd": _salted(ADMIN_PASSWORD),
            "rootdn": ROOT_DN,
            "ldapi_enabled": "off",
            "ldapi_autobind": "off",
            "ldapi": str(here / "run" / "ldapi"),
            "db_lib": "bdb",
        }

    def _write_certificates(self) -> None:
        """Put certificate and key where the server looks for them, in a database of Mozilla's NSS."""
        here, store = self.directory, self.directory / "certs"
        tls = here / "tls"
        bundle = tls / "server.p12"
        password = secrets.token_hex(8)
        _run("certutil", "-N", "-d", store, "--empty-password")
        key = serialization.load_pem_private_key((tls / "key.pem").read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((tls / "cert.pem").read_bytes())
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Ds389FailedError("the server's key is of another kind than it was made")
        encryption = serialization.BestAvailableEncryption(password.encode())
        bundle.write_bytes(pkcs12.serialize_key_and_certificates(b"Server-Cert", key, certificate, None, encryption))
        _run("pk12util", "-i", bundle, "-d", store, "-W", password, "-K", "")
        _run("certutil", "-A", "-d", store, "-n", "CA", "-t", "CT,,", "-a", "-i", tls / "ca.pem")

    def _give_away(self) -> None:
        owner = pwd.getpwnam(USER)
        for folder, _, files in os.walk(self.directory):
            for path in (folder, *(str(Path(folder) / name) for name in files)):
                os.chown(path, owner.pw_uid, owner.pw_gid)


def _changed(entry: str, dn: str, settings: dict[str, str]) -> str:
    """Return an LDIF entry with other values, if it is the one with this name."""
    first, *lines = entry.splitlines()
    if first.lower() != f"dn: {dn}".lower():
        return entry
    names = {name.lower() for name in settings}
    kept = [line for line in lines if line.partition(":")[0].lower() not in names]
    return "\n".join([first, *kept, *(f"{name}: {value}" for name, value in settings.items())])


def _salted(password: str) -> str:
    salt = secrets.token_bytes(8)
    digest = hashlib.sha512(password.encode() + salt).digest()
    return "{SSHA512}" + base64.b64encode(digest + salt).decode("ascii")


def _run(name: str, *arguments: str | Path) -> None:
    program = installed(name, PACKAGE, Ds389FailedError)
    done = subprocess.run(  # noqa: S603  # Debian's own programs on our own files
        [program, *map(str, arguments)], capture_output=True, check=False, timeout=60
    )
    if done.returncode != 0:
        raise Ds389FailedError(f"{name} failed: {done.stderr.decode('utf-8', 'replace')[-300:]}")
