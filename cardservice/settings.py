# SPDX-License-Identifier: EUPL-1.2
"""The service's settings: one TOML file, overridden by environment variables (`CARDSERVICE_DIRECTORY__BIND_DN=...`).

Secrets are never settings: a setting names the file that holds one. The example file in `docs/` is generated from here.
"""

import os
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableVariable

from cardservice.errors import SettingsError

ENVIRONMENT_PREFIX = "CARDSERVICE_"
MAX_SECRET_BYTES = 4_096


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object, info: ValidationInfo) -> object:
        """Read an empty text as "not set" where that is possible: TOML has no word for it."""
        optional = info.field_name is not None and cls.model_fields[info.field_name].default is None
        return None if optional and value == "" else value


class ServiceSection(_Section):
    """Where the service listens."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8443, ge=0, le=65_535, description="TCP port to listen on.")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; none: plain HTTP, on loopback only.")
    tls_key: Path | None = Field(None, description="PEM key of the certificate, readable by the service alone.")
    live_token_file: Path | None = Field(
        None, description="File with the token that may watch /api/v1/live; none: nobody may."
    )


class DatabaseSection(_Section):
    """Where the two stores are."""

    url: str = Field(
        "sqlite:////var/lib/cardservice",
        description="sqlite:///DIRECTORY (two files are kept in it) or postgresql://USER@HOST/DATABASE.",
    )


class KeysSection(_Section):
    """The sealed key store."""

    store: Path = Field(Path("/var/lib/cardservice/keys.json"), description="The sealed file, mode 0600.")
    passphrase_file: Path = Field(
        Path("/run/credentials/cardservice.service/keys"), description="File with its passphrase."
    )


class PivSection(_Section):
    """Which PIV cards are believed at points that accept PIV card authentication."""

    trusted_ca_files: tuple[Path, ...] = Field(
        (), description="PEM certificates of the CAs that issue 9E certificates."
    )


class MappingSection(_Section):
    """Attributes that are called otherwise here than usual for the kind of server; none: as usual."""

    login: str | None = Field(None, description="What people sign in with.")
    personnel_number: str | None = Field(None, description="The number payroll knows them by.")
    department: str | None = Field(None, description="Their department.")
    cost_centre: str | None = Field(None, description="Their cost centre; there is no usual attribute.")
    valid_from: str | None = Field(None, description="From when the account holds, as generalizedTime.")
    valid_until: str | None = Field(None, description="Until when the account holds, as generalizedTime.")

    disabled_attribute: str | None = Field(None, description="Attribute that disables a person, besides what is usual.")
    disabled_values: tuple[str, ...] = Field((), description="Values of it that mean: disabled.")


class DirectorySection(_Section):
    """The corporate directory."""

    name: str = Field("city", pattern=r"^[a-z0-9-]{1,40}$", description="What this directory is called here.")
    servers: tuple[str, ...] = Field((), max_length=8, description="ldaps:// or ldap:// URLs, tried in this order.")
    bind_dn: str = Field("", description="The account the service reads with.")
    password_file: Path | None = Field(None, description="File with its password.")
    ca_file: Path | None = Field(None, description="PEM certificates that the servers' certificates must lead to.")
    people_base: str = Field("", description="Where people are.")
    groups_base: str = Field("", description="Where groups are.")
    kind: Literal["openldap", "active-directory", "389"] = Field(
        "openldap", description="What kind of server: how people and groups are found, and what is called how."
    )
    mode: Literal["auto", "syncrepl", "content-sync", "dirsync", "polling"] = Field(
        "auto", description="How it is followed; auto: by what the server offers."
    )
    person_filter: str | None = Field(None, description="Which entries are people; none: as usual for the kind.")
    group_filter: str | None = Field(None, description="Which entries are groups; none: as usual for the kind.")
    beat_s: float = Field(0.2, ge=0.05, le=60, description="How often the copy is proved current.")
    dead_s: float = Field(2.0, ge=0.3, le=60, description="How long a server may be silent before it counts as dead.")
    reconcile_s: float = Field(600, ge=10, le=86_400, description="How often everything is read anew.")
    list_s: float = Field(5.0, ge=1, le=3_600, description="The same in mode polling, which notices deletions by it.")
    plain_ldap_on_loopback: bool = Field(
        False, description="Allow ldap:// without TLS to 127.0.0.1; for demonstrations and tests only."
    )
    mapping: MappingSection = MappingSection()


class OrganisationSection(_Section):
    """The organisation this installation belongs to."""

    code: str = Field("city", pattern=r"^[a-z0-9-]{1,40}$", description="Short name.")
    name: str = Field("Stadtverwaltung", max_length=200, description="Full name.")


class PrintingSection(_Section):
    """Follow-me printing on CUPS. Readers at printers do nothing while no socket is set."""

    socket: Path | None = Field(None, description="cupsd's socket, usually /run/cups/cups.sock; none: no printing.")
    queue: str = Field("followme", pattern=r"^[A-Za-z0-9_.-]{1,127}$", description="The queue documents wait in.")
    user: str | None = Field(None, description="Who the service is for cupsd; none: whoever it runs as.")
    realm: str | None = Field(None, description="Kerberos realm whose users own jobs as name@REALM.")
    accounts: dict[str, str] = Field(
        {}, max_length=10_000, description="Print account of each login for which the two differ."
    )


class CallerSection(_Section):
    """One system that calls the API."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$", description="What it is called in the record.")
    token_file: Path = Field(description="File with its token.")
    # What routes ask for, and nothing else: a right that opens nothing would look like one that does.
    uses: tuple[Literal["door", "canteen", "payroll", "directory", "access", "review"], ...] = Field(
        description="What it may use; payroll: fill wallets; directory: decide on holds; access: ask who may pass; "
        "review: have grants confirmed or ended."
    )
    points: tuple[str, ...] = Field((), description="Codes of the points it may use; none: every point of its uses.")


class LoggingSection(_Section):
    """What the service writes to standard error."""

    format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for people.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is written.")


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    demonstration: bool = Field(False, description="Accept the published demonstration keys. Never for real doors.")
    service: ServiceSection = ServiceSection()
    database: DatabaseSection = DatabaseSection()
    keys: KeysSection = KeysSection()
    piv: PivSection = PivSection()
    directory: DirectorySection = DirectorySection()
    directories: tuple[DirectorySection, ...] = Field(
        (),
        max_length=16,
        description="Several directories, each as [[directories]] with what [directory] has and a name of its own.",
    )
    organisation: OrganisationSection = OrganisationSection()
    printing: PrintingSection = PrintingSection()
    callers: tuple[CallerSection, ...] = Field(
        (), max_length=200, description="Systems that call the API, each as [[callers]] with name, token_file, uses."
    )
    logging: LoggingSection = LoggingSection()

    def all_directories(self) -> dict[str, DirectorySection]:
        """Return every directory by its key in the settings."""
        several = {f"directories[{number}]": section for number, section in enumerate(self.directories)}
        return several or {"directory": self.directory}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before file; arguments of the constructor before both."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


def load(path: Path | None) -> Settings:
    """Read the settings of the TOML file `path` (none: defaults) and the environment.

    Raises:
        SettingsError: file missing or not TOML, a key unknown, a value not allowed; one line for each.
    """
    if path is not None:
        _require_toml(path)
    _require_known_variables()

    class _FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return _FromFile()
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from None
    except UnreadableVariable as error:
        # Lists and sections in the environment are JSON; the library's message names the field, never the value.
        raise SettingsError(f"environment: {error}: lists and sections are written as JSON") from None


def _require_toml(path: Path) -> None:
    try:
        tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path}: not valid TOML: {error}") from error


def _require_known_variables() -> None:
    """Refuse a misspelt section in the environment, which would otherwise be passed over in silence."""
    prefix = ENVIRONMENT_PREFIX.lower()
    for variable in os.environ:
        name = variable.lower()
        section = name.removeprefix(prefix).partition("__")[0]
        # The settings file itself, the agent's settings, and the tests' own switch.
        others = (prefix + "config", prefix + "agent_", prefix + "require_")
        if name.startswith(others) or not name.startswith(prefix):
            continue
        if section not in Settings.model_fields:
            raise SettingsError(f"environment: {variable}: there is no such setting; {_allowed(('',))[2:]}")


def _explain(error: ValidationError, path: Path | None) -> str:
    where = str(path) if path is not None else "environment"
    lines = []
    for detail in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            lines.append(f"{where}: {key}: there is no such setting{_allowed(detail['loc'])}")
        else:
            lines.append(f"{where}: {key}: {detail['msg']}")
    return "\n".join(lines)


def _allowed(location: Sequence[int | str]) -> str:
    """Name the settings that exist where an unknown one was found."""
    model: Any = Settings
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None:
            return ""
        model = field.annotation
    return f"; allowed here: {', '.join(sorted(model.model_fields))}"


def contradictions(settings: Settings) -> list[str]:
    """Return what the settings say that cannot work, one sentence each; empty if all is well."""
    found = []
    service = settings.service
    if (service.tls_certificate is None) != (service.tls_key is None):
        found.append("service.tls_certificate and service.tls_key: set both or neither")
    if service.tls_certificate is None and service.host not in {"127.0.0.1", "::1", "localhost"}:
        found.append(f"service.host: without TLS the service listens on loopback only, not on {service.host}")
    found += _database_contradictions(settings.database.url)
    names = [caller.name for caller in settings.callers]
    found += [f"callers: {name} is named twice" for name in sorted({name for name in names if names.count(name) > 1})]
    found += _directory_contradictions(settings)
    files = {
        "service.tls_certificate": service.tls_certificate,
        "service.tls_key": service.tls_key,
        "service.live_token_file": service.live_token_file,
        "keys.store": settings.keys.store,
        "keys.passphrase_file": settings.keys.passphrase_file,
    }
    for key, section in settings.all_directories().items():
        files |= {f"{key}.password_file": section.password_file, f"{key}.ca_file": section.ca_file}
    files |= {f"piv.trusted_ca_files[{i}]": file for i, file in enumerate(settings.piv.trusted_ca_files)}
    files |= {f"callers[{i}].token_file": caller.token_file for i, caller in enumerate(settings.callers)}
    found += [f"{key}: {file}: there is no such file" for key, file in files.items() if file and not file.is_file()]
    return found


def _directory_contradictions(settings: Settings) -> list[str]:
    """Return what is missing of the directories, or said twice."""
    found = []
    if settings.directories and "directory" in settings.model_fields_set:
        found.append("directory and directories: both are set; move [directory] into the list, with its name")
    sections = settings.all_directories()
    names = [section.name for section in sections.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    found += [f"directories: {name} is named twice; each needs a name of its own" for name in twice]
    for key, section in sections.items():
        if not section.servers:
            found.append(f"{key}.servers: name at least one server, for example ldaps://ldap.example.org")
            continue
        found += [
            f"{key}.{needed}: must be set; anonymous reading is not supported"
            for needed in ("bind_dn", "people_base", "groups_base")
            if not getattr(section, needed)
        ]
        if section.password_file is None:
            found.append(f"{key}.password_file: must name the file that holds the password of {key}.bind_dn")
    return found


def _database_contradictions(url: str) -> list[str]:
    """Return what is unsafe about a PostgreSQL URL: a password in it, or a way over the network without checked TLS."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgresql"):
        return []
    query = parse_qs(parts.query)
    host = parts.hostname or next(iter(query.get("host", [])), "")
    found = []
    if parts.password or "password" in query:
        found.append("database.url: no password in settings; name a file with ?passfile=/path (libpq's .pgpass form)")
    local = not host or host.startswith("/") or host in {"localhost", "127.0.0.1", "::1"}
    if not local and query.get("sslmode") != ["verify-full"]:
        found.append(f"database.url: {host} is another machine: add ?sslmode=verify-full&sslrootcert=/path/to/ca.pem")
    return found


def read_secret(path: Path, key: str) -> bytes:
    """Return the first line of a secret's file, without its line end.

    Raises:
        SettingsError: unreadable, readable by everybody, or empty.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            secret = file.readline(MAX_SECRET_BYTES).strip()
    except OSError as error:
        raise SettingsError(f"{key}: {path}: {error.strerror}") from error
    if mode & 0o007:
        raise SettingsError(f"{key}: {path} has mode {mode:04o}; everybody may read it: chmod 600 {path}")
    if not secret:
        raise SettingsError(f"{key}: {path}: the file is empty")
    return secret


def read_secret_text(path: Path, key: str) -> str:
    """Return a secret that is text.

    Raises:
        SettingsError: as `read_secret`, or not UTF-8.
    """
    try:
        return read_secret(path, key).decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{key}: {path}: not UTF-8 text") from None


def example() -> str:
    """Return the documented example file: every setting with its meaning and default, commented out."""
    lines = ["# Settings of the one-card service. Every line shows the default; remove the '#' to change it."]
    lines += _describe(Settings, "")
    return "\n".join(lines) + "\n"


def _describe(model: type[BaseModel], prefix: str) -> list[str]:
    own: list[str] = []
    sections: list[str] = []
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            title = f"{prefix}{name}"
            heading = ["", f"# {(annotation.__doc__ or '').splitlines()[0]}", f"[{title}]"]
            sections += heading + _describe(annotation, f"{title}.")
        else:
            own += [f"# {field.description}", f"#{name} = {_toml(field.default)}"]
    return own + sections


def _toml(value: Any) -> str:
    if value is None:
        return '""  # not set'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str | Path) else str(value)
