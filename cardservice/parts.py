# SPDX-License-Identifier: EUPL-1.2
"""From the settings to the parts they describe; `app.py` puts the parts together."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509
from sqlalchemy.engine import Engine

from cardservice.cards.forbidden import why_check_value_forbidden, why_forbidden
from cardservice.cards.keys.keyfile import KeyFile
from cardservice.cards.pki.authorities import Authorities, AuthorityFile
from cardservice.cards.pki.ports import CaToken
from cardservice.cards.pki.rules import PkiRules
from cardservice.cards.pki.signer.client import SignerToken
from cardservice.cards.pki.signer.policy import Signer, SignerRules
from cardservice.cards.pki.signer.server import SigningProcess
from cardservice.cards.ports import TokenKeys
from cardservice.cards.proven import Known, trust_of
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.clock import Clock
from cardservice.console import needs
from cardservice.doors.openings import KEPT_REQUESTS_MS
from cardservice.errors import SettingsError
from cardservice.keeping import LIMITS
from cardservice.people.directory_desk import Finding
from cardservice.people.inspection import Inspection, Said, known_by_login
from cardservice.people.live import DirectorySilent
from cardservice.people.lookup import person_by_login, person_by_stable_id
from cardservice.people.movers.rules import DAY_MS, MoverRule
from cardservice.people.outsiders.rules import Bounds
from cardservice.people.passwords import Passwords
from cardservice.people.photo.rules import Photo
from cardservice.people.ports import DirectorySource, PhotoDirectory
from cardservice.people.rules import MalformedDn, normalise_dn
from cardservice.pki_settings import PkiSection
from cardservice.settings import (
    DirectorySection,
    KeysSection,
    MappingSection,
    OidcSection,
    OutsidersSection,
    PrintingSection,
    Settings,
    SignInSection,
    read_secret,
    read_secret_text,
)
from cardservice.web import i18n, login_devices, once
from cardservice.web.callers import Caller, digest
from cardservice.web.login_limits import LoginLimits
from cardservice.web.login_paths import OIDC_BACK
from cardservice.web.oidc import Client, Provider
from cardservice.web.oidc_pages import Attempts, OidcDesk
from cardservice.web.operations import Role
from cardservice.web.public import Contacts, Longer, Retention
from cardservice.web.reach import Reach
from cardservice.web.roles import RoleRule
from cardservice.web.session import SessionLimits
from integrations.cups import CupsSettings, CupsSpooler
from integrations.ldap import (
    PRESETS,
    AttributeMapping,
    LdapSettings,
    LdapSource,
    LdapTrouble,
    SettingsRefused,
    StatusAttribute,
    check,
)
from integrations.ldap.live import ask_once, by_id, by_login
from integrations.ldap.login import password_fits
from integrations.ldap.settings import Timing

INSPECTION_S: Final = 5.0
_DAY_S: Final = 86_400


def check_directory(settings: Mapping[str, LdapSettings], name: str) -> list[Finding]:
    """Look at a directory once and return what was found; the copy that follows it goes on meanwhile."""
    return [Finding(one.severity, one.text) for one in check(settings[name])]


def spooler(section: PrintingSection) -> CupsSpooler | None:
    """Return the CUPS server that keeps waiting documents, or nothing where printing is not set up."""
    if section.socket is None:
        return None
    return CupsSpooler(CupsSettings(section.socket, section.queue, section.user, section.realm))


def callers(settings: Settings) -> list[Caller]:
    """Return who may use the REST API, with the digests of their tokens.

    Raises:
        SettingsError: a token file cannot be read.
    """
    found = []
    for number, section in enumerate(settings.callers):
        token = read_secret_text(section.token_file, f"callers[{number}].token_file")
        uses, points = frozenset(section.uses), frozenset(section.points)
        found.append(
            Caller(section.name, digest(token), uses, points, attested_points=frozenset(section.attested_points))
        )
    return found


def key_file(settings: Settings) -> KeyFile:
    """Return where the keys lie; passphrase and PIN are read when they are needed.

    Raises:
        SettingsError: no token is named, or what talks to tokens is not installed.
    """
    section = settings.keys

    def passphrase() -> bytes:
        return read_secret(section.passphrase_file, "keys.passphrase_file")

    return KeyFile(section.store, passphrase, _token(section), settings.demonstration)


def _token(section: KeysSection) -> TokenKeys | None:
    if section.masters == "sealed":
        return None
    if section.pkcs11_module is None or section.pkcs11_token is None:
        raise SettingsError('keys.pkcs11_module and keys.pkcs11_token must be set where keys.masters is "pkcs11"')
    with needs("pkcs11"):
        from integrations.pkcs11 import Token, TokenMasters, TokenSettings  # noqa: PLC0415  # an optional extra

    def pin() -> str:
        return read_secret_text(section.pin_file, "keys.pin_file")

    token = Token(TokenSettings(section.pkcs11_module, section.pkcs11_token, pin))
    return TokenMasters(token, why_check_value_forbidden, why_key_forbidden=why_forbidden)


def ldap_settings(section: DirectorySection, key: str = "directory") -> LdapSettings:
    """Return what the LDAP integration needs of a section; the password is read when it is needed.

    Raises:
        SettingsError: no password file is named.
    """
    password_file = section.password_file
    if password_file is None:
        raise SettingsError(f"{key}.password_file: must be set")
    preset = PRESETS[section.kind]
    usual = replace(preset.mapping, lock_out_ms=None if section.lock_out_s is None else section.lock_out_s * 1_000)
    return LdapSettings(
        servers=section.servers,
        bind_dn=section.bind_dn,
        password=lambda: read_secret_text(password_file, f"{key}.password_file"),
        people_base=section.people_base,
        groups_base=section.groups_base,
        ca_file=section.ca_file,
        people_filter=section.person_filter or preset.people_filter,
        groups_filter=section.group_filter or preset.groups_filter,
        mapping=_mapping(section.mapping, usual),
        mode=section.mode,
        timing=Timing(
            beat_s=section.beat_s, dead_s=section.dead_s, reconcile_s=section.reconcile_s, list_s=section.list_s
        ),
        plain_on_loopback=section.plain_ldap_on_loopback,
    )


def _mapping(section: MappingSection, usual: AttributeMapping) -> AttributeMapping:
    """Return what is usual for the kind of server, with what the settings name in its place."""
    apart = {"name", "disabled_attribute", "disabled_values", "enabled_values"}
    named = {attribute: name for attribute, name in section.model_dump(exclude=apart).items() if name is not None}
    if section.name is not None:
        named["person_name"] = (section.name, *usual.person_name)
    if section.disabled_attribute is not None:
        values = section.disabled_values, section.enabled_values
        named["status"] = (*usual.status, StatusAttribute(section.disabled_attribute, *values))
    return replace(usual, **named)


def directory_source(name: str, settings: LdapSettings) -> DirectorySource:
    """Return the follower of one directory.

    Raises:
        SettingsError: servers, TLS or filters cannot be used as they stand.
    """
    try:
        return LdapSource(settings)
    except SettingsRefused as error:
        raise SettingsError(f"directory {name}: {error}") from error


def movers(section: DirectorySection, key: str = "directory") -> MoverRule | None:
    """Return for how long movers count in which groups, None for not at all.

    Raises:
        SettingsError: what is set cannot work.
    """
    if section.mover_groups is None or section.mover_overlap_days is None:
        return None
    try:
        rule = MoverRule(normalise_dn(section.mover_groups), section.mover_overlap_days * DAY_MS)
    except MalformedDn as error:
        raise SettingsError(f"{key}.mover_groups: not a DN: {error}") from None
    if section.groups_base and not rule.meets(_base(section.groups_base, key)):
        raise SettingsError(f"{key}.mover_groups: no group is read there; {key}.groups_base is {section.groups_base}")
    return rule


def _base(dn: str, key: str) -> str:
    try:
        return normalise_dn(dn)
    except MalformedDn as error:
        raise SettingsError(f"{key}.groups_base: not a DN: {error}") from None


def mover_contradictions(settings: Settings) -> list[str]:
    """Return what the settings say of movers that cannot work, one sentence each."""
    found = []
    for key, section in settings.all_directories().items():
        try:
            movers(section, key)
        except SettingsError as error:
            found.append(str(error))
    return found


def inspect_person(
    settings: Settings, engine: Engine, login: str, *, limit_s: float = INSPECTION_S
) -> list[Inspection]:
    """Return what the copy and each directory itself know of whoever has this login. Blocks.

    Each server of a directory has `limit_s`; if none answers, the inspection says so.

    Raises:
        SettingsError: no password file is named.
        DatabaseUnavailable: the state store cannot be read.
    """
    known = known_by_login(engine, login)
    found = []
    for key, section in settings.all_directories().items():
        directory = ldap_settings(section, key)
        here = [one for one in known if one.directory == section.name]
        # Who is gone is of interest only if nobody took the place.
        here = [one for one in here if one.present] or here[:1]
        own = [
            Inspection(section.name, login, one, _said(directory, by_id(directory, one.stable_id), limit_s))
            for one in here
        ]
        if all(one.said.person is None and one.said.trouble is None for one in own):
            said = _said(directory, by_login(directory, login), limit_s)
            own += [Inspection(section.name, login, None, said)] if said.person is not None or not own else []
        found += own
    return found


def _said(directory: LdapSettings, condition: str, limit_s: float) -> Said:
    sources = directory.mapping.sources()
    try:
        look = ask_once(directory, lambda reader: reader.look(condition, limit_s))
    except LdapTrouble as error:
        return Said(trouble=str(error), sources=sources)
    shown = {field: [name for name in names if name.lower() in look.shown] for field, names in sources.items()}
    return Said(look.server, look.person, None, sources, shown, look.unreadable)


def read_photo_of(settings: Settings, one: Inspection) -> Photo | None:
    """Return the photo of somebody who was inspected, as their directory has it now. Blocks.

    Raises:
        PhotoUnusable: there is one, which cannot be used.
        DirectorySilent: the directory does not answer.
    """
    stable_id = one.known.stable_id if one.known is not None else one.said.person.stable_id if one.said.person else None
    for key, section in settings.all_directories().items():
        if section.name == one.directory and stable_id:
            try:
                return ask_once(ldap_settings(section, key), lambda reader: reader.photo(stable_id, INSPECTION_S))
            except LdapTrouble as error:
                raise DirectorySilent(str(error)) from error
    return None


class _Photos:
    """The photos of one directory, each by a connection of its own: they are large, and taps wait for no photo."""

    def __init__(self, ldap: LdapSettings) -> None:
        self._ldap = ldap

    def photo(self, stable_id: str, limit_s: float) -> Photo | None:
        """Return somebody's photo, None without one. Raises PhotoUnusable, LdapTrouble. Blocks."""
        return ask_once(self._ldap, lambda reader: reader.photo(stable_id, limit_s))


def photo_directories(directories: Mapping[str, LdapSettings]) -> Mapping[str, PhotoDirectory]:
    """Return where photos are asked for, by the names of the directories."""
    return {name: _Photos(found) for name, found in directories.items()}


def passwords(engine: Engine, clock: Clock, directories: Mapping[str, LdapSettings]) -> Passwords:
    """Return what asks the directories whether a password is somebody's."""

    def bind(directory: str, dn: str, password: str) -> bool:
        try:
            return password_fits(directories[directory], dn, password)
        except LdapTrouble as error:
            raise OSError(str(error)) from error

    def impossible_dn(directory: str, word: str) -> str:
        return f"cn={word},{directories[directory].people_base}"

    return Passwords(engine, clock, tuple(directories), bind, impossible_dn)


def role_rules(settings: Settings) -> list[RoleRule]:
    """Return which groups give which roles, and how far."""
    return [
        RoleRule(
            Role(section.role),
            section.group,
            Reach(
                organisations=frozenset(section.organisations) or None,
                zones=frozenset(section.zones) or None,
                units=frozenset(section.units) or None,
            ),
        )
        for section in settings.roles
    ]


def oidc_desk(section: OidcSection, engine: Engine, secret: bytes, clock: Clock) -> OidcDesk | None:
    """Return what signs people in at the provider, None where none is set up.

    Raises:
        SettingsError: its certificates cannot be used.
    """
    secret_file = section.secret_file
    if section.issuer is None or secret_file is None:
        return None
    client = Client(
        issuer=section.issuer,
        client_id=section.client_id,
        redirect_uri=section.own_url.rstrip("/") + OIDC_BACK,
        claim=section.claim,
        secret=lambda: read_secret_text(secret_file, "sign_in.oidc.secret_file"),
        ca_file=None if section.ca_file is None else str(section.ca_file),
    )
    find = person_by_login if section.claim_is == "login" else person_by_stable_id
    try:
        return OidcDesk(Provider(client, clock), partial(find, engine), Attempts(secret, clock))
    except OSError as error:
        raise SettingsError(f"sign_in.oidc.ca_file: {error}") from error


def session_limits(section: SignInSection) -> SessionLimits:
    """Return how long sessions last."""
    return SessionLimits(section.idle_s * 1_000, section.longest_s * 1_000, section.confirmed_s * 1_000)


def login_limits(section: SignInSection) -> LoginLimits:
    """Return how many wrong passwords are tried."""
    return LoginLimits(
        per_name=section.wrong_passwords,
        per_name_known_device=section.wrong_passwords_known_device,
        per_address=section.wrong_passwords_address,
        within_s=section.wrong_within_s,
    )


def retention(settings: Settings) -> Retention:
    """Return how long what deletes itself is kept, from what deletes it."""
    section, kept = settings.sign_in, settings.retention
    return Retention(
        session_idle_minutes=section.idle_s // 60,
        session_hours=math.ceil(section.longest_s / 3_600),
        guess_minutes=math.ceil(section.wrong_within_s / 60),
        device_days=login_devices.KEPT_S // _DAY_S,
        language_days=i18n.KEPT_S // _DAY_S,
        printing_days=kept.printing,
        door_request_days=KEPT_REQUESTS_MS // DAY_MS,
        answer_hours=once.KEEP_MS // 3_600_000,
        outsider_days=settings.outsiders.erase_days,
        days={name: kept.days(name) for name in LIMITS},
        longer=tuple(
            Longer(name, kept.days(name), LIMITS[name].usual, reason) for name, reason in kept.longer().items()
        ),
    )


def outsider_bounds(section: OutsidersSection) -> Bounds:
    """Return how long people outside the directory are kept."""
    return Bounds(section.max_days, section.erase_days)


def contacts(settings: Settings) -> Contacts:
    """Return whom the public pages name."""
    section = settings.organisation
    return Contacts(section.name, section.data_protection, section.accessibility, section.accessibility_authority)


def authority_file(settings: Settings) -> AuthorityFile:
    """Return where the certification authorities are sealed.

    Raises:
        SettingsError: no file is named, or what talks to tokens is not installed.
    """
    section = settings.pki
    if section.store is None:
        raise SettingsError("pki.store: must name the file in which the authorities are sealed")
    software = section.logon == "software" and settings.demonstration

    def passphrase() -> bytes:
        return read_secret(section.passphrase_file, "pki.passphrase_file")

    return AuthorityFile(section.store, passphrase, _ca_token(section), software)


def _ca_token(section: PkiSection) -> CaToken | None:
    if section.logon != "signer":
        return None
    if section.signer_socket is None:
        raise SettingsError('pki.signer_socket: must be set where pki.logon is "signer"')
    return SignerToken(section.signer_socket)


def signing_process(section: PkiSection, clock: Clock) -> SigningProcess:
    """Return the process that has the logon authority's key; it opens no store and knows no card.

    Raises:
        SettingsError: no token is named, or what talks to tokens is not installed.
    """
    if section.pkcs11_module is None or section.pkcs11_token is None:
        raise SettingsError("pki.pkcs11_module and pki.pkcs11_token: must name the token with the authority's key")
    with needs("pkcs11"):
        from integrations.pkcs11 import Token, TokenSettings  # noqa: PLC0415  # an optional extra
        from integrations.pkcs11.authorities import TokenAuthorities  # noqa: PLC0415  # an optional extra

    def pin() -> str:
        return read_secret_text(section.pin_file, "pki.pin_file")

    token = TokenAuthorities(Token(TokenSettings(section.pkcs11_module, section.pkcs11_token, pin)))
    rules = SignerRules(frozenset(section.never_for), section.logon_days, section.logons_per_hour)
    return SigningProcess(token, Signer(rules), clock)


def authorities(settings: Settings) -> Authorities:
    """Return our certification authorities; none where no file is named.

    Raises:
        SettingsError, KeyStoreError: their file or token cannot be used.
    """
    return Authorities() if settings.pki.store is None else authority_file(settings).load()


def outside_authorities(settings: Settings) -> list[x509.Certificate]:
    """Return the certificates of the city's own PKI.

    Raises:
        SettingsError: a file cannot be read or holds no certificates.
    """
    found: list[x509.Certificate] = []
    for file in settings.pki.outside_ca_files:
        try:
            found += x509.load_pem_x509_certificates(file.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(f"pki.outside_ca_files: {file}: {error}") from error
    return found


def pki_rules(settings: Settings) -> PkiRules:
    """Return what the settings say of certificates."""
    section = settings.pki
    return PkiRules(
        url=section.url,
        organisation=settings.organisation.name,
        card_days=section.card_days,
        logon_days=section.logon_days,
        logon_rsa_bits=section.logon_rsa_bits,
        logon_outside=section.logon == "outside",
        pkinit_eku=section.pkinit_eku,
        realm=section.realm,
        crl_hours=section.crl_hours,
        crl_every_hours=section.crl_every_hours,
        ocsp_minutes=section.ocsp_minutes,
        renew_days=section.renew_days,
        ticket_hours=section.ticket_hours,
    )


def trust(files: tuple[Path, ...], known: Known) -> CardAuthTrust:
    """Return which PIV cards are believed: of these CAs, as the register knows at the moment of the tap.

    Raises:
        SettingsError: a file cannot be read or holds no certificates.
    """
    authorities: list[x509.Certificate] = []
    for file in files:
        try:
            authorities += x509.load_pem_x509_certificates(file.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(f"piv.trusted_ca_files: {file}: {error}") from error
    return trust_of(authorities, known)
