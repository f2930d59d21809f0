# SPDX-License-Identifier: EUPL-1.2
"""The service's settings: one TOML file, overridden by environment variables (`CARDSERVICE_DIRECTORY__BIND_DN=...`).

Secrets are never settings: a setting names the file that holds one. The example file in `docs/` is generated from here.
"""

import os
import stat
import tomllib
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableVariable

from cardservice.errors import SettingsError
from cardservice.keeping import RetentionSection
from cardservice.pki_settings import PkiSection

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


def _some_address(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}; allowed are addresses and networks, such as 192.0.2.7 and 192.0.2.0/28") from None
    if network.prefixlen == 0:
        raise ValueError("this is everybody; name the proxies, or the network that nobody else is in")
    return text


ProxyAddress = Annotated[str, AfterValidator(_some_address)]


class ServiceSection(_Section):
    """Where the service listens."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8443, ge=0, le=65_535, description="TCP port to listen on.")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; none: plain HTTP, on loopback only.")
    tls_key: Path | None = Field(None, description="PEM key of the certificate, readable by the service alone.")
    trusted_proxies: tuple[ProxyAddress, ...] = Field(
        (),
        max_length=32,
        description="Addresses or networks of proxies before the service, which say who asked (X-Forwarded-For) and "
        "whether by TLS (X-Forwarded-Proto).",
    )


class ApiSection(_Section):
    """Certificates that systems may prove their accounts with, besides keys or in their place."""

    client_ca_file: Path | None = Field(
        None, description="PEM certificates of the authorities whose certificates systems may show; none: keys alone."
    )
    client_certificates: Literal["optional", "required"] = Field(
        "optional", description="required: every system shows one that is bound to its account, whatever else it has."
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
    masters: Literal["sealed", "pkcs11"] = Field(
        "sealed", description="Where the masters of the cards lie: in the sealed file, or in a PKCS#11 token."
    )
    pkcs11_module: Path | None = Field(None, description="The token's library, an absolute path.")
    pkcs11_token: str | None = Field(None, description="The token's label.", max_length=32)
    pin_file: Path = Field(
        Path("/run/credentials/cardservice.service/token"), description="File with the token's user PIN."
    )
    close_needs_approval: bool = Field(
        True, description="Whether closing a generation of keys needs a second person, on the page of approvals."
    )


class PivSection(_Section):
    """Which PIV cards are believed at points that accept PIV card authentication."""

    trusted_ca_files: tuple[Path, ...] = Field(
        (), description="PEM certificates of the CAs that issue 9E certificates."
    )


# An attribute's name or number (RFC 4512, section 2.5); it ends up in searches.
Attribute = Annotated[str, Field(pattern=r"^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)$", max_length=100)]


class MappingSection(_Section):
    """Attributes that are called otherwise here than usual for the kind of server; none: as usual."""

    login: Attribute | None = Field(None, description="What people sign in with.")
    name: Attribute | None = Field(None, description="What people are called; who has none of it, as usual.")
    mail: Attribute | None = Field(None, description="Their mail address.")
    personnel_number: Attribute | None = Field(None, description="The number payroll knows them by.")
    department: Attribute | None = Field(None, description="Their department.")
    cost_centre: Attribute | None = Field(None, description="Their cost centre; there is no usual attribute.")
    photo: Attribute | None = Field(None, description="Their photo, JPEG or PNG; read when it is needed, never kept.")
    upn: Attribute | None = Field(None, description="The name they sign in to Windows with.")
    sid: Attribute | None = Field(None, description="Their Windows security identifier, binary or as text.")
    valid_from: Attribute | None = Field(None, description="From when the account holds, as generalizedTime.")
    valid_until: Attribute | None = Field(None, description="Until when the account holds, as generalizedTime.")

    disabled_attribute: Attribute | None = Field(
        None, description="Attribute that disables a person, besides what is usual."
    )
    disabled_values: tuple[str, ...] = Field((), description="Values of it that mean: disabled.")
    enabled_values: tuple[str, ...] = Field(
        (), description="Values of it that mean: enabled; every other one disables. None: all but the disabled ones do."
    )


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
    lock_out_s: int | None = Field(
        None,
        ge=1,
        le=31_536_000,
        description="How long it locks accounts out after wrong passwords, where it does not say so; none: not known.",
    )
    mover_groups: str | None = Field(
        None,
        description="At or below which DN groups are departments; who changes from one to another counts in both for a "
        "while. None: they never do.",
    )
    mover_overlap_days: int | None = Field(None, ge=1, le=90, description="For how many days.")
    mapping: MappingSection = MappingSection()


class AccessSection(_Section):
    """What holds at every point."""

    lock_out_stops: tuple[Literal["door", "workstation", "timeclock", "printer", "canteen"], ...] = Field(
        ("workstation",),
        description="At points of which uses a lock-out after wrong passwords in the directory refuses; anybody can "
        "cause one.",
    )


class OrganisationSection(_Section):
    """The organisation this installation belongs to."""

    code: str = Field("city", pattern=r"^[a-z0-9-]{1,40}$", description="Short name.")
    name: str = Field("Stadtverwaltung", max_length=200, description="Full name.")
    data_protection: str | None = Field(
        None, max_length=200, description="How to reach the data protection officer; shown at /privacy."
    )
    accessibility: str | None = Field(
        None, max_length=200, description="Where barriers are reported to, an e-mail address; shown at /accessibility."
    )
    accessibility_authority: str | None = Field(
        None, max_length=200, description="The enforcement body for accessibility; shown at /accessibility."
    )


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
    uses: tuple[
        Literal[
            "door",
            "canteen",
            "payroll",
            "directory",
            "access",
            "review",
            "tap",
            "people",
            "cards",
            "model",
            "live",
        ],
        ...,
    ] = Field(
        description="What it may use; payroll: fill wallets; directory: decide on holds; access: ask who may pass; "
        "review: have grants confirmed or ended; tap: report cards that were held to a reader without an agent; "
        "people: look people up; cards: suspend and revoke them; model: change zones, points, schedules and grants; "
        "live: watch what happens now."
    )
    points: tuple[str, ...] = Field((), description="Codes of the points it may use; none: every point of its uses.")
    attested_points: tuple[str, ...] = Field(
        (),
        description="Where what it reports counts as reader_attested, because its reader reads the number from the "
        "card and checks its key; elsewhere it counts as uid.",
    )


class RoleSection(_Section):
    """Who is what at the service's pages, by a group of the directory."""

    # Everybody who can sign in is an employee.
    role: Literal[
        "helpdesk",
        "issuer",
        "approver",
        "facility",
        "canteen",
        "timekeeping",
        "auditor",
        "staff_council",
        "data_protection",
        "administrator",
    ] = Field(description="What members of the group are.")
    group: str = Field(
        min_length=1,
        max_length=200,
        description="The group, by its name or as directory:stable-id; members of groups in it count.",
    )
    organisations: tuple[str, ...] = Field((), description="Codes of the organisations it is about; none: all.")
    zones: tuple[str, ...] = Field((), description="Codes of the zones it is about, with all inside them; none: all.")
    units: tuple[str, ...] = Field((), description="Departments it is about; none: all.")


class OidcSection(_Section):
    """A provider that people may sign in at besides (OpenID Connect). Without an issuer there is none."""

    issuer: str | None = Field(
        None, max_length=500, description="Its address, exactly as it names itself; https, or http on loopback."
    )
    client_id: str = Field("", max_length=200, description="What this service is called there.")
    secret_file: Path | None = Field(None, description="File with the secret it gave for that.")
    own_url: str = Field(
        "",
        max_length=500,
        description="The service's own address as browsers see it; register it there with /login/oidc/back.",
    )
    claim: str = Field(
        "preferred_username", pattern=r"^[A-Za-z0-9_:./-]{1,100}$", description="The claim that names the person."
    )
    claim_is: Literal["login", "stable_id"] = Field(
        "login", description="What that is in the directory: the login, or the stable id."
    )
    ca_file: Path | None = Field(
        None, description="PEM certificates that its certificate must lead to; none: those of the system."
    )


class SignInSection(_Section):
    """Signing in to the service's pages."""

    idle_s: int = Field(1_800, ge=60, le=86_400, description="How long a session lasts that nobody uses.")
    longest_s: int = Field(36_000, ge=300, le=86_400, description="How long a session lasts altogether.")
    confirmed_s: int = Field(
        300, ge=30, le=3_600, description="How long after the password was typed changes are allowed."
    )
    wrong_passwords: int = Field(
        3,
        ge=1,
        le=100,
        description="How many wrong passwords for one name are tried at the directory within wrong_within_s. With "
        "wrong_passwords_known_device less than what locks an account there.",
    )
    wrong_passwords_known_device: int = Field(
        1, ge=1, le=100, description="The same on devices where that name signed in before, besides."
    )
    wrong_passwords_address: int = Field(60, ge=1, le=100_000, description="The same from one address, for all names.")
    wrong_within_s: int = Field(
        600,
        ge=10,
        le=86_400,
        description="How long a wrong password counts; at least as long as it does in the directory.",
    )
    behind_tls_proxy: bool = Field(
        False, description="A proxy speaks TLS for the service: browsers are told to come by TLS alone (HSTS)."
    )
    oidc: OidcSection = OidcSection()


class WebhooksSection(_Section):
    """Where events may be sent; to whom, 'cardservice webhooks' says."""

    allowed_networks: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="Networks of receivers that are not public addresses, for example 10.20.0.0/16; none: public ones "
        "alone.",
    )
    plain_http: bool = Field(False, description="Allow http:// to receivers in these networks; else https:// alone.")
    ca_file: Path | None = Field(
        None, description="PEM certificates that receivers' certificates must lead to; none: those of the system."
    )

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks


class OutsidersSection(_Section):
    """People whom no directory names, each with somebody of a directory who answers for them."""

    max_days: int = Field(365, ge=1, le=3_650, description="How long somebody is kept without being extended, at most.")
    erase_days: int = Field(
        90, ge=1, le=3_650, description="How many days after the end name, mail and company are erased."
    )


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
    api: ApiSection = ApiSection()
    database: DatabaseSection = DatabaseSection()
    keys: KeysSection = KeysSection()
    piv: PivSection = PivSection()
    pki: PkiSection = PkiSection()
    directory: DirectorySection = DirectorySection()
    directories: tuple[DirectorySection, ...] = Field(
        (),
        max_length=16,
        description="Several directories, each as [[directories]] with what [directory] has and a name of its own.",
    )
    organisation: OrganisationSection = OrganisationSection()
    access: AccessSection = AccessSection()
    printing: PrintingSection = PrintingSection()
    callers: tuple[CallerSection, ...] = Field(
        (), max_length=200, description="Systems that call the API, each as [[callers]] with name, token_file, uses."
    )
    sign_in: SignInSection = SignInSection()
    roles: tuple[RoleSection, ...] = Field(
        (),
        max_length=500,
        description="Roles of people, each as [[roles]] with role and group, and organisations, zones, units.",
    )
    webhooks: WebhooksSection = WebhooksSection()
    outsiders: OutsidersSection = OutsidersSection()
    retention: RetentionSection = RetentionSection()
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
