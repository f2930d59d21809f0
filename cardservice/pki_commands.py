# SPDX-License-Identifier: EUPL-1.2
"""`cardservice cards pki ...`: authorities, certificates for trying out, lists, and the city's own PKI by files.

No command revokes a certificate: a card is revoked (`cardservice cards set-state`), and its certificates with it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, open_stores, show, traced
from cardservice.errors import Conflict, SettingsError
from cardservice.instants import instant

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from cardservice.cards.pki.authorities import Authorities, Authority
    from cardservice.cards.pki.rules import Slot
    from cardservice.cards.pki.service import Certificates
    from cardservice.cards.pki.views import CertificateView
    from cardservice.settings import Settings

pki = typer.Typer(no_args_is_help=True, help="Certificates on cards, and the authorities that sign them.")
crl = typer.Typer(no_args_is_help=True, help="Revocation lists.")
csr = typer.Typer(no_args_is_help=True, help="Requests that the city's own PKI answers.")
pki.add_typer(crl, name="crl")
pki.add_typer(csr, name="csr")
CardArgument = Annotated[str, typer.Argument(help="The reference of a card.")]
_MAX_FILE_BYTES: Final = 64 * 1024
_NTAUTH: Final = (
    "Once its certificate is in NTAuth, whoever has its key can log on as anybody, domain administrators included. It "
    "belongs there only if the token is guarded like a domain controller."
)


@pki.command("init")
@clearly
@traced("pki.init")
def init(
    kind: Annotated[str, typer.Argument(help="card (for 9C, 9D, 9E) or logon (for 9A).")],
    out: Annotated[Path | None, typer.Option("--out", help="Write its certificate (PEM) into this new file.")] = None,
    config: ConfigOption = None,
) -> None:
    """Make the authority that signs from now on; older ones of its kind keep their lists."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from cardservice.cards.pki.rules import AuthorityKind
    from cardservice.clock import SystemClock
    from cardservice.parts import authority_file

    if kind not in set(AuthorityKind):
        raise Conflict(f"there is no kind {kind!r} of authorities; there are {', '.join(AuthorityKind)}")
    settings = load_settings(config)
    file = authority_file(settings)
    made = file.init(AuthorityKind(kind), settings.organisation.name, SystemClock().now_ms())
    if out is not None:
        _write_new(out, made.certificate.public_bytes(Encoding.PEM))
    typer.echo(f"made authority {made.name}; restart the service to use it")
    if made.kind is AuthorityKind.LOGON:
        typer.echo(_NTAUTH, err=True)


@pki.command("signer")
@clearly
def signer(config: ConfigOption = None) -> None:
    """Run the process that has the logon authority's key, until ctrl-C or SIGTERM; it has settings of its own."""
    import signal
    import threading

    from cardservice.clock import SystemClock
    from cardservice.parts import signing_process

    settings = load_settings(config)
    if settings.pki.signer_socket is None:
        raise SettingsError("pki.signer_socket: must name the UNIX socket at which the service asks")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    process = signing_process(settings.pki, SystemClock())
    path = settings.pki.signer_socket
    process.serve(path, lambda: typer.echo(f"signs logons at {path}"), stop)


@pki.command("list")
@clearly
def list_certificates(
    card: Annotated[str | None, typer.Argument(help="A card; none: the authorities.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the authorities, or the certificates of a card and how long others may still believe revoked ones."""
    if card is None:
        authorities = [_authority(one) for one in _authorities(load_settings(config))]
        lines = [
            f"{one['authority']}  until {instant(one['not_after_ms'])}  {one['issuer_key']}" for one in authorities
        ]
        show(authorities, "\n".join(lines) or "there are no authorities", as_json=as_json)
        return
    views = _certificates(config).of_card(card)
    text = "\n".join(_line(one) for one in views)
    show([asdict(one) for one in views], text or f"card {card} has no certificates", as_json=as_json)


@pki.command("issue")
@clearly
@traced("pki.issue")
def issue(
    card: CardArgument,
    slot: Annotated[str, typer.Argument(help="9A, 9C, 9D or 9E.")],
    request: Annotated[Path, typer.Argument(help="The certification request, signed by the card's key.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the certificate (PEM) into this new file.")] = None,
    config: ConfigOption = None,
) -> None:
    """Sign a certificate for a request made elsewhere; where the city's PKI signs logons, the request waits for it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from cardservice.cards.pki.requests import read_request
    from cardservice.cards.pki.rules import Slot

    place = _slot(slot)
    desk, proven = _certificates(config), read_request(_read(request))
    if place is Slot.LOGON and load_settings(config).pki.logon == "outside":
        desk.ask_outside(card, proven)
        typer.echo("the request waits for the city's PKI: 'cardservice cards pki csr export'")
        return
    certificate = desk.issue(card, place, proven)
    if out is not None:
        _write_new(out, certificate.public_bytes(Encoding.PEM))
    typer.echo(f"issued {certificate.serial_number:040x} for slot {slot} of card {card}")


@pki.command("retire")
@clearly
@traced("pki.retire")
def retire(
    card: CardArgument,
    slot: Annotated[str, typer.Argument(help="9A, 9C, 9D or 9E.")],
    config: ConfigOption = None,
) -> None:
    """The card has the newest certificate of a slot: revoke the older ones there as superseded."""
    retired = _certificates(config).retire_older(card, _slot(slot))
    typer.echo(f"revoked {retired} older certificates in slot {slot} of card {card}")


@pki.command("ending")
@clearly
def ending(
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Within how many days; none: as set.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List certificates that have to be renewed soon, the first to end first."""
    found = _certificates(config).ending(days)
    text = "\n".join(f"{instant(one.not_after_ms)}  {one.card}  {one.slot}  {one.authority}" for one in found)
    show([asdict(one) for one in found], text or "no certificate ends soon", as_json=as_json)


@crl.command("now")
@clearly
@traced("pki.crl_now")
def crl_now(config: ConfigOption = None) -> None:
    """Make a new revocation list of every authority; the running service serves it within half a minute."""
    settings, state = load_settings(config), _state(config)
    from cardservice.cards.pki.lists import Lists
    from cardservice.clock import SystemClock
    from cardservice.parts import pki_rules

    lists, now_ms = Lists(state, pki_rules(settings)), SystemClock().now_ms()
    for authority in _authorities(settings):
        published, _ = lists.renew(authority, now_ms, at_once=True)
        typer.echo(f"{authority.name}: list {published.number}, valid until {instant(published.next_ms)}")


@csr.command("export")
@clearly
def csr_export(
    folder: Annotated[Path, typer.Argument(help="An existing folder; one file for each request.")],
    config: ConfigOption = None,
) -> None:
    """Write the requests that wait for the city's PKI, one PEM file each; files that are there already stay."""
    written = 0
    for one in _certificates(config).waiting():
        path = folder / f"{one.key_digest.hex()[:32]}.csr"
        if not path.exists():
            _write_new(path, one.pem)
            written += 1
    typer.echo(f"wrote {written} requests")


@csr.command("import")
@clearly
@traced("pki.csr_import")
def csr_import(
    files: Annotated[list[Path], typer.Argument(help="Certificates (PEM or DER), one a file.")],
    config: ConfigOption = None,
) -> None:
    """Take certificates of the city's PKI. Each is matched by its public key and checked; the first wrong one ends."""
    desk = _certificates(config)
    for file in files:
        typer.echo(f"{file.name}: for card {desk.bring_in(_read(file))}")


def _slot(name: str) -> "Slot":
    from cardservice.cards.pki.rules import Slot

    if name not in set(Slot):
        raise Conflict(f"there is no slot {name!r}; there are {', '.join(Slot)}")
    return Slot(name)


def _authority(one: "Authority") -> dict[str, Any]:
    return {
        "authority": one.name,
        "kind": one.kind.value,
        "in_token": one.in_token,
        "not_after_ms": int(one.certificate.not_valid_after_utc.timestamp()) * 1000,
        "issuer_key": one.issuer_key.hex(),
    }


def _line(one: "CertificateView") -> str:
    line = f"{one.slot}  {one.state}  {one.authority}  {one.serial}  until {instant(one.not_after_ms)}"
    ends_ms = None if one.window is None else one.window.ends_ms()
    if one.reason is not None:
        line += f"  {one.reason}"
    return line if ends_ms is None else f"{line}  others may believe it until {instant(ends_ms)}"


def _certificates(config: Path | None) -> "Certificates":
    settings, state = load_settings(config), _state(config)
    from cardservice.cards.pki.service import Certificates
    from cardservice.clock import SystemClock
    from cardservice.parts import outside_authorities, pki_rules

    outside = outside_authorities(settings)
    return Certificates(state, _authorities(settings), pki_rules(settings), SystemClock(), outside)


def _authorities(settings: "Settings") -> "Authorities":
    from cardservice.parts import authorities

    return authorities(settings)


def _state(config: Path | None) -> "Engine":
    return open_stores(config).state


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Conflict(f"{path}: {error.strerror}") from error


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise Conflict(f"{path}: {error.strerror}") from error
