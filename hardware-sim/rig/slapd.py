# SPDX-License-Identifier: EUPL-1.2
"""A real OpenLDAP server in a temporary directory: started, stopped, killed and paused by a test or a measurement.

Needs Debian's packages slapd and ldap-utils. Nothing outside the given directory is touched; the server listens on
127.0.0.1 only, on ports the kernel chose.
"""

import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rig.errors import SlapdFailedError
from rig.program import Program, Server, accepts, free_port, installed
from rig.tls_files import CertificateWish, make_tls_files

SLAPD = Path("/usr/sbin/slapd")
SLAPADD = Path("/usr/sbin/slapadd")
SLAPCAT = Path("/usr/sbin/slapcat")
START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0

SUFFIX = "dc=corp,dc=example"
ADMIN_DN = f"cn=admin,{SUFFIX}"
ADMIN_PASSWORD = "adminpw"  # noqa: S105  # only ever valid on a temporary server
READER_DN = f"cn=doors,{SUFFIX}"
READER_PASSWORD = "doorspw"  # noqa: S105  # as above

Entry = tuple[str, Mapping[str, str | list[str]]]


@dataclass(frozen=True, slots=True)
class SlapdOptions:
    """How the server differs from a well configured one."""

    unlimited: bool = True
    session_log: bool = True
    certificate: CertificateWish = field(default_factory=CertificateWish)
    tls_from: Path | None = None
    first_rule: str = ""


def base_entries() -> list[Entry]:
    """The suffix, the branches people and groups, and the account the service reads with."""
    return [
        (SUFFIX, {"objectClass": ["dcObject", "organization"], "dc": "corp", "o": "Corp"}),
        (f"ou=people,{SUFFIX}", {"objectClass": "organizationalUnit", "ou": "people"}),
        (f"ou=groups,{SUFFIX}", {"objectClass": "organizationalUnit", "ou": "groups"}),
        (
            READER_DN,
            {
                "objectClass": ["organizationalRole", "simpleSecurityObject"],
                "cn": "doors",
                "userPassword": READER_PASSWORD,
            },
        ),
    ]


def person(uid: str, name: str | None = None, **more: str) -> Entry:
    """One inetOrgPerson under ou=people."""
    name = name or uid.replace(".", " ").title()
    attributes: dict[str, str | list[str]] = {
        "objectClass": "inetOrgPerson",
        "uid": uid,
        "cn": name,
        "sn": name.rpartition(" ")[2],
        "mail": f"{uid}@stadt.example",
        **more,
    }
    return f"uid={uid},ou=people,{SUFFIX}", attributes


def group(cn: str, members: Iterable[str]) -> Entry:
    """One groupOfNames under ou=groups."""
    return f"cn={cn},ou=groups,{SUFFIX}", {"objectClass": "groupOfNames", "cn": cn, "member": list(members)}


def to_ldif(entries: Iterable[Entry]) -> str:
    """Return plain LDIF (values must be ASCII without leading specials)."""
    lines: list[str] = []
    for dn, attributes in entries:
        lines.append(f"dn: {dn}")
        for kind, values in attributes.items():
            lines += [f"{kind}: {value}" for value in ([values] if isinstance(values, str) else values)]
        lines.append("")
    return "\n".join(lines)


class Slapd(Server):
    """One slapd process with its own database."""

    suffix = SUFFIX
    bind_dn = READER_DN
    password = READER_PASSWORD

    def __init__(self, directory: Path, entries: Iterable[Entry] = (), options: SlapdOptions | None = None) -> None:
        """Write configuration, certificate and the first entries; nothing runs yet.

        Raises:
            SlapdFailedError: it is not installed.
        """
        installed(SLAPD.name, "apt-get install slapd ldap-utils", SlapdFailedError)
        self.directory = directory
        self.options = options or SlapdOptions()
        self._plain_port = free_port()
        self._tls_port = free_port()
        # What it listens to is said at every start.
        self._program = Program("slapd", (), directory / "slapd.log", SlapdFailedError, stop_limit_s=STOP_LIMIT_S)
        for part in ("db", "run"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        self._config = directory / "slapd.conf"
        if self.options.tls_from is None:
            make_tls_files(directory / "tls", self.options.certificate)
        self.configure(self.options)
        self.load([*base_entries(), *entries])

    def configure(self, options: SlapdOptions) -> None:
        """Write the configuration anew; a running server takes it at its next start."""
        self.options = options
        self._config.write_text(self._config_text())

    @property
    def _tls(self) -> Path:
        return self.options.tls_from or self.directory / "tls"

    @property
    def ca_file(self) -> Path:
        """The authority that signed the server's certificate."""
        return self._tls / "ca.pem"

    @staticmethod
    def base_entries() -> list[Entry]:
        """What every database begins with."""
        return base_entries()

    @property
    def tls_port(self) -> int:
        """Where ldaps is spoken."""
        return self._tls_port

    @property
    def url(self) -> str:
        """The ldaps URL."""
        return f"ldaps://127.0.0.1:{self._tls_port}"

    @property
    def plain_url(self) -> str:
        """The ldap URL, where StartTLS is offered."""
        return f"ldap://127.0.0.1:{self._plain_port}"

    def load(self, entries: Iterable[Entry]) -> None:
        """Write entries with slapadd; the server must not run."""
        ldif = self.directory / "load.ldif"
        ldif.write_text(to_ldif(entries))
        self._slapadd("-w", "-l", ldif)

    def _slapadd(self, *arguments: str | Path) -> None:
        subprocess.run(  # noqa: S603  # Debian's own program on our own file
            [SLAPADD, "-q", "-f", self._config, *arguments], check=True, capture_output=True, timeout=60
        )

    def backup(self) -> Path:
        """Write everything into a file as an administrator does, while the server runs; return the file."""
        file = self.directory / f"backup-{time.monotonic_ns()}.ldif"
        subprocess.run(  # noqa: S603  # as above
            [SLAPCAT, "-f", self._config, "-l", file], check=True, capture_output=True, timeout=60
        )
        return file

    def restore(self, backup: Path) -> None:
        """Replace everything by a backup, ids and change numbers included; the server must not run."""
        self.clear()
        self._slapadd("-l", backup)

    def clear(self) -> None:
        """Throw everything away, the suffix included; the server must not run."""
        for file in (self.directory / "db").iterdir():
            file.unlink()

    def start(self, *, maintenance: bool = False) -> Self:
        """Start and wait until a connection is accepted; for `maintenance` on the plain port only, where no TLS is.

        Raises:
            SlapdFailedError: it ended, or accepts none.
        """
        ports = {self._plain_port: self.plain_url}
        if not maintenance:
            ports[self._tls_port] = self.url
        self._program.command = [str(SLAPD), "-d", "0", "-f", str(self._config), "-h", " ".join(ports.values())]
        self._program.start()
        self._program.wait_ready(lambda: all(map(accepts, ports)), START_LIMIT_S)
        return self

    def _config_text(self) -> str:
        here = self.directory
        modules = ("back_mdb", "memberof", "refint", "syncprov", "ppolicy")
        lines = [f"include /etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "inetorgperson", "nis")]
        lines += ["modulepath /usr/lib/ldap", *(f"moduleload {module}" for module in modules)]
        lines += [
            f"pidfile {here}/run/slapd.pid",
            f"TLSCACertificateFile {self._tls}/ca.pem",
            f"TLSCertificateFile {self._tls}/cert.pem",
            f"TLSCertificateKeyFile {self._tls}/key.pem",
            "TLSProtocolMin 3.3",
            "disallow bind_anon",
            *filter(None, [self.options.first_rule]),
            "access to attrs=userPassword by self write by anonymous auth by * none",
            f'access to * by dn.exact="{READER_DN}" read by users read by * none',
            "database mdb",
            f'suffix "{SUFFIX}"',
            f'rootdn "{ADMIN_DN}"',
            f"rootpw {ADMIN_PASSWORD}",
        ]
        if self.options.unlimited:
            lines.append(f'limits dn.exact="{READER_DN}" size=unlimited time=unlimited')
        lines += [
            f"directory {here}/db",
            "maxsize 268435456",
            "dbnosync",
            *(f"index {kinds} eq" for kinds in ("objectClass", "entryUUID,entryCSN", "uid,cn", "member,memberOf")),
            "overlay memberof",
            "overlay refint",
            "refint_attributes member",
            f"refint_nothing {ADMIN_DN}",
            "overlay ppolicy",
            "overlay syncprov",
            "syncprov-checkpoint 100 10",
        ]
        if self.options.session_log:
            lines.append("syncprov-sessionlog 10000")
        return "\n".join(lines) + "\n"
