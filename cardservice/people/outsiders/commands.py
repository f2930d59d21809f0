# SPDX-License-Identifier: EUPL-1.2
"""`cardservice people outsiders ...`. Each command imports what it needs: readers have no service's libraries."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cardservice.console import (
    ConfigOption,
    JsonOption,
    clearly,
    load_settings,
    open_stores,
    read_instant,
    show,
    traced,
)
from cardservice.errors import Conflict, NotFound, SettingsError
from cardservice.instants import instant

if TYPE_CHECKING:
    from cardservice.people.outsiders.service import Outsiders, Who, Wish
    from cardservice.people.outsiders.views import OutsiderView

people = typer.Typer(no_args_is_help=True, help="People.")
outsiders = typer.Typer(no_args_is_help=True, help="People outside the directory, and who answers for them.")
groups = typer.Typer(no_args_is_help=True, help="Groups that people outside the directory can be in.")
people.add_typer(outsiders, name="outsiders")
outsiders.add_typer(groups, name="groups")

_HERE: Final = "the command line"
_MANY: Final = 100_000
ByOption = Annotated[str, typer.Option("--by", help="Who acts, for the record.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why.")]
UntilOption = Annotated[str, typer.Option(help="The last day (its end), or an instant; German time.")]
SponsorOption = Annotated[str, typer.Option(help="Login of whoever answers for them.")]
GroupOption = Annotated[list[str] | None, typer.Option("--group", help="A group of the service's own; again for each.")]


@outsiders.command("list")
@clearly
def outsiders_list(
    which: Annotated[str, typer.Option(help="here, soon (within 30 days), no_sponsor, ended or all.")] = "here",
    sponsor: Annotated[str | None, typer.Option(help="Login of whoever answers for them.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the people outside the directory."""
    desk = _desk(config)
    from cardservice.people.outsiders.views import OutsidersWanted, Which
    from cardservice.web.reach import EVERYWHERE

    if which not in set(Which):
        raise SettingsError(f"--which: {which!r}; allowed are {', '.join(Which)}")
    wanted = OutsidersWanted(Which(which), sponsor=None if sponsor is None else _sponsor(config, sponsor))
    found = desk.list(wanted, (EVERYWHERE,), limit=_MANY)
    show([one.document() for one in found], "\n".join(map(_line, found)) or "there is nobody", as_json=as_json)


@outsiders.command("show")
@clearly
def outsiders_show(number: int, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the person NUMBER."""
    _show(_one(_desk(config), number), as_json=as_json)


@outsiders.command("add")
@clearly
@traced("outsiders.add")
def outsiders_add(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    name: str,
    sponsor: SponsorOption,
    until: UntilOption,
    reason: ReasonOption,
    kind: Annotated[str, typer.Option(help="external, council or visitor.")] = "external",
    company: Annotated[str | None, typer.Option(help="Company or body.")] = None,
    mail: Annotated[str | None, typer.Option(help="E-mail address.")] = None,
    group: GroupOption = None,
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add NAME, for whom somebody of the directory answers."""
    desk = _desk(config)
    asked: dict[str, Any] = {"name": name, "kind": kind, "company": company, "mail": mail, "reason": reason}
    asked |= {"sponsor": _sponsor(config, sponsor), "until_ms": read_instant(until, "--until")}
    made = desk.add(_wish(asked | {"groups": _group_numbers(desk, group)}), _who(by))
    _show(_one(desk, made["person"]), as_json=as_json)


@outsiders.command("extend")
@clearly
@traced("outsiders.change")
def outsiders_extend(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    number: int,
    until: UntilOption,
    reason: ReasonOption,
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the person NUMBER another last day, later or earlier."""
    until_ms = read_instant(until, "--until")
    _change(config, number, by, lambda asked, _: asked | {"until_ms": until_ms, "reason": reason}, as_json=as_json)


@outsiders.command("sponsor")
@clearly
@traced("outsiders.change")
def outsiders_sponsor(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    number: int,
    login: Annotated[str, typer.Argument(help="Login of whoever answers from now on.")],
    reason: ReasonOption,
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have somebody else answer for the person NUMBER."""
    sponsor = _sponsor(config, login)
    _change(config, number, by, lambda asked, _: asked | {"sponsor": sponsor, "reason": reason}, as_json=as_json)


@outsiders.command("set-groups")
@clearly
@traced("outsiders.change")
def outsiders_set_groups(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    number: int,
    reason: ReasonOption,
    group: GroupOption = None,
    by: ByOption = _HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the person NUMBER into these groups and no other; without any, into none."""

    def changed(asked: dict[str, Any], desk: "Outsiders") -> dict[str, Any]:
        return asked | {"groups": _group_numbers(desk, group), "reason": reason}

    _change(config, number, by, changed, as_json=as_json)


@outsiders.command("end")
@clearly
@traced("outsiders.end")
def outsiders_end(
    number: int, reason: ReasonOption, by: ByOption = _HERE, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Let the time of the person NUMBER end now."""
    desk = _desk(config)
    desk.end(number, _who(by), reason)
    _show(_one(desk, number), as_json=as_json)


@groups.command("list")
@clearly
def groups_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the groups."""
    from dataclasses import asdict

    found = _desk(config).groups()
    text = "\n".join(f"{one.group}  {one.name}  {one.members} people" for one in found) or "there is no group"
    show([asdict(one) for one in found], text, as_json=as_json)


@groups.command("add")
@clearly
@traced("outsiders.groups")
def groups_add(name: str, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Add the group NAME; grants name it as they name those of the directory."""
    from cardservice.people.outsiders.rules import MAX_GROUP_NAME

    if not name.strip() or len(name) > MAX_GROUP_NAME or not name.isprintable():
        raise SettingsError(f"NAME: 1 to {MAX_GROUP_NAME} printable characters")
    made = _desk(config).add_group(name.strip())
    show(made, f"group {made['group']}: {made['name']}", as_json=as_json)


@groups.command("remove")
@clearly
@traced("outsiders.groups")
def groups_remove(name: str, config: ConfigOption = None) -> None:
    """Take the group NAME out of use; nobody may be in it."""
    desk = _desk(config)
    (number,) = _group_numbers(desk, [name])
    desk.remove_group(number)
    typer.echo(f"group {number} is out of use")


def _change(
    config: Path | None,
    number: int,
    by: str,
    changed: "Callable[[dict[str, Any], Outsiders], dict[str, Any]]",
    *,
    as_json: bool,
) -> None:
    desk = _desk(config)
    found = _one(desk, number)

    def require_same(shown: Any) -> None:
        if shown != found.head():
            raise Conflict(f"person {number} was changed meanwhile; look at them, and try again")

    asked = {name: getattr(found, name) for name in ("name", "kind", "company", "mail", "from_ms", "until_ms")}
    asked |= {"sponsor": found.sponsor.person, "groups": [one.group for one in found.groups]}
    desk.change(number, _wish(changed(asked, desk)), _who(by), require_same)
    _show(_one(desk, number), as_json=as_json)


def _desk(config: Path | None) -> "Outsiders":
    databases, settings = open_stores(config), load_settings(config)
    from cardservice.clock import SystemClock
    from cardservice.people.outsiders.rules import Bounds
    from cardservice.people.outsiders.service import Outsiders

    bounds = Bounds(settings.outsiders.max_days, settings.outsiders.erase_days)
    return Outsiders(databases.state, SystemClock(), bounds)


def _one(desk: "Outsiders", number: int) -> "OutsiderView":
    from cardservice.web.reach import EVERYWHERE

    return desk.one(number, (EVERYWHERE,))


def _sponsor(config: Path | None, login: str) -> int:
    databases = open_stores(config)
    from cardservice.people.lookup import person_by_login

    found = person_by_login(databases.state, login)
    if found is None:
        raise NotFound("nobody who is present in the directory has this login")
    return found


def _group_numbers(desk: "Outsiders", names: list[str] | None) -> list[int]:
    numbers = {one.name: one.group for one in desk.groups()}
    unknown = [name for name in names or () if name not in numbers]
    if unknown:
        raise NotFound(f"there is no group {unknown[0]!r} of the service's own")
    return [numbers[name] for name in names or ()]


def _wish(asked: dict[str, Any]) -> "Wish":
    from pydantic import ValidationError

    from cardservice.people.outsiders.api import OutsiderBody

    try:
        return OutsiderBody.model_validate(asked).wish()
    except ValidationError as error:
        faults = (f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        raise SettingsError("\n".join(faults)) from None


def _who(name: str) -> "Who":
    from cardservice.people.outsiders.service import Who

    return Who(name)


def _line(one: "OutsiderView") -> str:
    answers = "" if one.sponsor.answers else ", who cannot now"
    return (
        f"{one.person}  {one.name or '(name erased)'}  {one.state}, until {instant(one.until_ms)}  "
        f"{one.sponsor.login or one.sponsor.name} answers for them{answers}"
    )


def _show(one: "OutsiderView", *, as_json: bool) -> None:
    lines = [
        _line(one),
        f"{one.kind}{'' if one.company is None else f', {one.company}'}; {one.mail or 'no mail'}",
        f"groups: {', '.join(group.name for group in one.groups) or 'none'}",
        f"changed by {one.changed_by} at {instant(one.changed_ms)}: {one.reason}",
    ]
    show(one.document(), "\n".join(lines), as_json=as_json)
