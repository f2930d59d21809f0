# SPDX-License-Identifier: EUPL-1.2
"""`cardservice accounts ...`. Each command imports what it needs: a reader machine has no service's libraries."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, open_stores, show, traced
from cardservice.errors import SettingsError
from cardservice.instants import instant

if TYPE_CHECKING:
    from cardservice.web.accounts.api import NewAccountBody
    from cardservice.web.accounts.service import Accounts, Who

accounts = typer.Typer(no_args_is_help=True, help="Accounts of systems that call the API, and their keys.")

ByOption = Annotated[str, typer.Option("--by", help="Who acts, for the record.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why.")]
_HERE: Final = "the command line"
_MAX_PEM: Final = 65_536


@accounts.command("list")
@clearly
def accounts_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the accounts, those of the settings too, and when their keys end."""
    found = _accounts(config).list(_who(_HERE))
    show(found, "\n".join(map(_line, found)) or "there is no account", as_json=as_json)


@accounts.command("show")
@clearly
def accounts_show(name: str, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the account NAME with its keys, never the keys themselves."""
    desk = _accounts(config)
    document = desk.document(desk.show(name, _who(_HERE)))
    show(document, _described(document), as_json=as_json)


@accounts.command("add")
@clearly
@traced("accounts.add")
def accounts_add(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    name: str,
    scope: Annotated[list[str], typer.Option(help="What it may do; again for each.")],
    reason: ReasonOption,
    point: Annotated[list[str] | None, typer.Option(help="A point it is bound to; again for each. None: all.")] = None,
    zone: Annotated[list[str] | None, typer.Option(help="A zone it is bound to; again for each.")] = None,
    unit: Annotated[list[str] | None, typer.Option(help="A department it is bound to; again for each.")] = None,
    organisation: Annotated[str | None, typer.Option(help="Code of the organisation it is bound to.")] = None,
    attested_point: Annotated[
        list[str] | None, typer.Option(help="A point at which its reader checks the card's key; again for each.")
    ] = None,
    requests_per_s: Annotated[int | None, typer.Option(help="Requests a second on average.")] = None,
    burst: Annotated[int | None, typer.Option(help="Requests at once.")] = None,
    both: Annotated[bool, typer.Option("--both", help="It needs a key and a certificate together.")] = False,
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add the account NAME. It has no key yet: `cardservice accounts key NAME` makes one."""
    asked = {
        "name": name,
        "scopes": scope,
        "reason": reason,
        "organisation": organisation,
        "points": point or None,
        "zones": zone or None,
        "units": unit or None,
        "attested_points": attested_point or [],
        "requests_per_s": requests_per_s,
        "burst": burst,
        "needs_both": both,
    }
    body = _body({option: value for option, value in asked.items() if value is not None})
    document = _accounts(config).add(body.wish(name), _who(by))
    show(document, _described(document), as_json=as_json)


@accounts.command("key")
@clearly
@traced("accounts.issue_key")
def accounts_key(
    name: str,
    days: Annotated[int | None, typer.Option(help="Until it ends, at most 730; none: 365.")] = None,
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make another key for the account NAME and print it, this once. Two may be valid at a time."""
    desk = _accounts(config)
    from cardservice.web.accounts.rules import MAX_DAYS, USUAL_DAYS

    if days is not None and not 1 <= days <= MAX_DAYS:
        raise SettingsError(f"--days: {days}; allowed is 1 to {MAX_DAYS}")
    made = desk.issue_key(name, _who(by), USUAL_DAYS if days is None else days)
    text = f"key {made['key']} of {name}, until {instant(made['expires_ms'])}; it is told this once:\n{made['token']}"
    show(made, text, as_json=as_json)


@accounts.command("revoke")
@clearly
@traced("accounts.revoke_key")
def accounts_revoke(
    name: str,
    key: Annotated[str, typer.Argument(help="The key, as `show` calls it.")],
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the KEY of the account NAME now, for good."""
    document = _accounts(config).revoke_key(name, key, _who(by))
    show(document, _described(document), as_json=as_json)


@accounts.command("certificate")
@clearly
@traced("accounts.bind_certificate")
def accounts_certificate(
    name: str,
    file: Annotated[Path, typer.Argument(help="Its client certificate in PEM, with those above it but the CA's.")],
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bind the account NAME to a client certificate. Two may be valid at a time."""
    made = _accounts(config).bind_certificate(name, _text_of(file), _who(by))
    text = f"certificate {made['certificate']} of {name}, until {instant(made['expires_ms'])}: {made['subject']}"
    show(made, text, as_json=as_json)


@accounts.command("revoke-certificate")
@clearly
@traced("accounts.revoke_certificate")
def accounts_revoke_certificate(
    name: str,
    certificate: Annotated[str, typer.Argument(help="The certificate, as `show` calls it.")],
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse the CERTIFICATE of the account NAME from now on, for good."""
    document = _accounts(config).revoke_certificate(name, certificate, _who(by))
    show(document, _described(document), as_json=as_json)


@accounts.command("both")
@clearly
@traced("accounts.change")
def accounts_both(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    name: str,
    reason: ReasonOption,
    undo: Annotated[bool, typer.Option("--undo", help="One of them is enough again.")] = False,
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for a key and a certificate together whenever the account NAME calls."""
    document = _accounts(config).ask_for_both(name, _who(by), reason, both=not undo)
    show(document, _described(document), as_json=as_json)


@accounts.command("disable")
@clearly
@traced("accounts.change")
def accounts_disable(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    name: str,
    reason: ReasonOption,
    undo: Annotated[bool, typer.Option("--undo", help="Enable it again.")] = False,
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse every key and certificate of the account NAME, until it is enabled again."""
    document = _accounts(config).disable(name, _who(by), reason, disabled=not undo)
    show(document, _described(document), as_json=as_json)


def _line(document: dict[str, Any]) -> str:
    if document["source"] == "settings":
        return f"{document['name']}: {', '.join(document['scopes'])}; from the settings"
    ends = {
        what: [instant(one["expires_ms"]) for one in document[what] if one["state"] in {"valid", "waiting"}]
        for what in ("keys", "certificates")
    }
    proofs = "; ".join(f"{what} until {', '.join(until)}" for what, until in ends.items() if until)
    state = "disabled" if document["disabled"] else proofs or "no key"
    return f"{document['name']}: {', '.join(document['scopes'])}; {state}"


def _described(document: dict[str, Any]) -> str:
    bounds = [
        f"{word} {', '.join(document[word])}" for word in ("points", "zones", "units") if document[word] is not None
    ]
    if document["organisation"] is not None:
        bounds.append(f"organisation {document['organisation']}")
    lines = [
        _line(document),
        f"bound to: {'; '.join(bounds) or 'nothing'}",
        f"{document['requests_per_s']} requests a second, {document['burst']} at once",
        f"proved by {'a key and a certificate together' if document['needs_both'] else 'a key or a certificate'}",
        f"changed by {document['changed_by']} at {instant(document['changed_ms'])}: {document['reason']}",
    ]
    for key in document["keys"]:
        used = "never used" if key["last_used_ms"] is None else f"last used {instant(key['last_used_ms'])}"
        lines.append(f"key {key['key']}: {key['state']}, until {instant(key['expires_ms'])}, {used}")
    for one in document["certificates"]:
        used = "never used" if one["last_used_ms"] is None else f"last used {instant(one['last_used_ms'])}"
        until = instant(one["expires_ms"])
        lines.append(f"certificate {one['certificate']}: {one['state']}, until {until}, {used}: {one['subject']}")
    return "\n".join(lines)


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_PEM).decode("ascii")
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: no certificate in PEM") from None


def _body(asked: dict[str, Any]) -> "NewAccountBody":
    from pydantic import ValidationError

    from cardservice.web.accounts.api import NewAccountBody

    try:
        return NewAccountBody.model_validate(asked)
    except ValidationError as error:
        faults = (f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        raise SettingsError("\n".join(faults)) from None


def _who(name: str) -> "Who":
    from cardservice.web.accounts.service import Who

    return Who(name)


def _accounts(config: Path | None) -> "Accounts":
    databases, settings = open_stores(config), load_settings(config)
    from cardservice.clock import SystemClock
    from cardservice.server import authorities_of
    from cardservice.web.accounts.service import Accounts
    from cardservice.web.callers import Caller

    # Their names are taken; their tokens are not this command's.
    settled = [
        Caller(one.name, b"", frozenset(one.uses), frozenset(one.points), frozenset(one.attested_points))
        for one in settings.callers
    ]
    return Accounts(databases.state, SystemClock(), settled, authorities=authorities_of(settings.api))
