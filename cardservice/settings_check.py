# SPDX-License-Identifier: EUPL-1.2
"""What settings say that cannot work together, though each is allowed: `settings check` and every start ask it."""

from typing import Final
from urllib.parse import parse_qs, urlsplit

from cardservice.settings import OidcSection, Settings

# `people.rules.OUTSIDE`.
_OUTSIDE: Final = "outside"


def contradictions(settings: Settings) -> list[str]:
    """Return what the settings say that cannot work, one sentence each; empty if all is well."""
    found = []
    service = settings.service
    if (service.tls_certificate is None) != (service.tls_key is None):
        found.append("service.tls_certificate and service.tls_key: set both or neither")
    if service.tls_certificate is None and service.host not in {"127.0.0.1", "::1", "localhost"}:
        found.append(f"service.host: without TLS the service listens on loopback only, not on {service.host}")
    if settings.sign_in.behind_tls_proxy and not service.trusted_proxies:
        found.append(
            "service.trusted_proxies: sign_in.behind_tls_proxy is set: name the proxy's address, or everybody who "
            "signs in counts as one and the same"
        )
    found += _certificate_contradictions(settings)
    found += _pki_contradictions(settings)
    found += _oidc_contradictions(settings.sign_in.oidc)
    found += _database_contradictions(settings.database.url)
    names = [caller.name for caller in settings.callers]
    found += [f"callers: {name} is named twice" for name in sorted({name for name in names if names.count(name) > 1})]
    found += _directory_contradictions(settings)
    files = {
        "service.tls_certificate": service.tls_certificate,
        "service.tls_key": service.tls_key,
        "api.client_ca_file": settings.api.client_ca_file,
        "keys.store": settings.keys.store,
        "keys.passphrase_file": settings.keys.passphrase_file,
        "keys.pkcs11_module": settings.keys.pkcs11_module,
        "keys.pin_file": settings.keys.pin_file if settings.keys.masters == "pkcs11" else None,
        "webhooks.ca_file": settings.webhooks.ca_file,
        "pki.pkcs11_module": settings.pki.pkcs11_module,
        "sign_in.oidc.secret_file": settings.sign_in.oidc.secret_file,
        "sign_in.oidc.ca_file": settings.sign_in.oidc.ca_file,
    }
    for key, section in settings.all_directories().items():
        files |= {f"{key}.password_file": section.password_file, f"{key}.ca_file": section.ca_file}
    files |= {f"piv.trusted_ca_files[{i}]": file for i, file in enumerate(settings.piv.trusted_ca_files)}
    files |= {f"pki.outside_ca_files[{i}]": file for i, file in enumerate(settings.pki.outside_ca_files)}
    files |= {f"callers[{i}].token_file": caller.token_file for i, caller in enumerate(settings.callers)}
    found += [f"{key}: {file}: there is no such file" for key, file in files.items() if file and not file.is_file()]
    return found


def _certificate_contradictions(settings: Settings) -> list[str]:
    """Return why systems could not show the certificates that are asked of them."""
    api, service = settings.api, settings.service
    found = []
    if api.client_ca_file is None and api.client_certificates == "required":
        found.append("api.client_ca_file: must be set where api.client_certificates is required")
    if api.client_ca_file is not None and service.tls_certificate is None and not service.trusted_proxies:
        found.append(
            "api.client_ca_file: nobody can show a certificate: set service.tls_certificate, or name the proxy that "
            "speaks TLS in service.trusted_proxies"
        )
    if settings.callers and api.client_certificates == "required":
        found.append(
            "callers: api.client_certificates is required, and callers of the settings have none; make them accounts "
            "with 'cardservice accounts add'"
        )
    return found


def _pki_contradictions(settings: Settings) -> list[str]:
    """Return what would let anybody log on as everybody, or leave lists that nobody finds."""
    pki = settings.pki
    found = []
    if pki.logon == "software" and not settings.demonstration:
        found.append(
            'pki.logon: "software" is for the demonstration alone: who copies that file can log on as anybody. Let '
            'your own PKI sign ("outside"), or have a process of its own keep the key ("signer")'
        )
    if pki.logon == "signer" and pki.signer_socket is None:
        found.append('pki.signer_socket: must be set where pki.logon is "signer"')
    if pki.store is not None and pki.url is None:
        found.append("pki.url: must be set where pki.store is: certificates say where their revocation list is")
    if pki.crl_every_hours * 2 > pki.crl_hours:
        found.append("pki.crl_every_hours: at most half of pki.crl_hours, so that lists overlap")
    return found


def _oidc_contradictions(section: OidcSection) -> list[str]:
    """Return what is missing to sign in at a provider."""
    if section.issuer is None:
        return []
    needed = {"client_id": section.client_id, "secret_file": section.secret_file, "own_url": section.own_url}
    missing = [name for name, said in needed.items() if not said]
    found = [f"sign_in.oidc.{name}: must be set where sign_in.oidc.issuer is" for name in missing]
    for name, address in (("issuer", section.issuer), ("own_url", section.own_url)):
        if address and not _over_tls_or_here(address):
            found.append(f"sign_in.oidc.{name}: {address}: must begin with https://, or be on this machine")
    return found


def _over_tls_or_here(address: str) -> bool:
    parts = urlsplit(address)
    here = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    return bool(parts.hostname) and (parts.scheme == "https" or here)


def _directory_contradictions(settings: Settings) -> list[str]:
    """Return what is missing of the directories, or said twice."""
    found = []
    if settings.directories and "directory" in settings.model_fields_set:
        found.append("directory and directories: both are set; move [directory] into the list, with its name")
    sections = settings.all_directories()
    names = [section.name for section in sections.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    found += [f"directories: {name} is named twice; each needs a name of its own" for name in twice]
    if _OUTSIDE in names:
        found.append(f"directories: none may be called {_OUTSIDE}: that is for people whom no directory names")
    for key, section in sections.items():
        if not section.servers:
            found.append(f"{key}.servers: name at least one server, for example ldaps://ldap.example.org")
            continue
        found += [
            f"{key}.{needed}: must be set; anonymous reading is not supported"
            for needed in ("bind_dn", "people_base", "groups_base")
            if not getattr(section, needed)
        ]
        mapping = section.mapping
        if bool(mapping.disabled_attribute) != bool(mapping.disabled_values or mapping.enabled_values):
            found.append(
                f"{key}.mapping.disabled_attribute: belongs together with disabled_values or enabled_values: which "
                "values mean what"
            )
        if (section.mover_groups is None) != (section.mover_overlap_days is None):
            found.append(f"{key}.mover_groups and {key}.mover_overlap_days: set both or neither")
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
