# SPDX-License-Identifier: EUPL-1.2
"""`cardservice access review ...`. Each command imports what it needs: a reader machine has no service's libraries."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cardservice.console import ConfigOption, JsonOption, clearly, load_settings, open_stores, read_instant, show, tell
from cardservice.instants import instant

if TYPE_CHECKING:
    from cardservice.access.review.rules import Wanted
    from cardservice.access.review.service import Reviews, Who
    from cardservice.access.review.views import ItemView, ReviewView
    from cardservice.cards.keystore import SealedKeyStore

review = typer.Typer(no_args_is_help=True, help="Have grants confirmed by their owners; what nobody confirms ends.")

ByOption = Annotated[str, typer.Option("--by", help="Who acts, for the journal.")]
LoginOption = Annotated[
    str | None, typer.Option("--login", help="The owner's member who answers; none: the administrator.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why.")]
NeededReason = Annotated[str, typer.Option("--reason", help="Why.")]
UntilOption = Annotated[
    str | None, typer.Option("--until", help="A new end, as 2027-12-31 (its last day) or 2027-12-31T18:00.")
]
DeadlineOption = Annotated[str, typer.Option("--deadline", help="As 2027-03-31 (its end) or 2027-03-31T18:00.")]
_HERE: Final = "the command line"


@review.command("list")
@clearly
def review_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the reviews, and how many grants each owner has not answered for."""
    reviews = _reviews(config)
    found = list(_all_reviews(reviews))
    text = "\n".join(_described(one) for one in found) or "there is no review"
    show([asdict(one) for one in found], text, as_json=as_json)


@review.command("show")
@clearly
def review_show(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    code: Annotated[str | None, typer.Argument(help="The review; none: all.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only what this group answers for.")] = None,
    nobodys: Annotated[bool, typer.Option("--nobodys", help="Only what nobody answers for.")] = False,
    unanswered: Annotated[bool, typer.Option("--open", help="Only what can be answered now.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the grants under review, with the numbers they are answered by. Names people."""
    from cardservice.access.review.rules import Wanted

    reviews = _reviews(config)
    found = list(_all_items(reviews, Wanted(code, owner, nobodys, unanswered)))
    text = "\n".join(_told(one) for one in found) or "there is no such grant"
    show([asdict(one) for one in found], text, as_json=as_json)


@review.command("begin")
@clearly
def review_begin(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    code: str,
    deadline: DeadlineOption,
    name: Annotated[str | None, typer.Option(help="What people read; none: the code.")] = None,
    zone: Annotated[str | None, typer.Option(help="Only grants in this zone and those inside it.")] = None,
    group: Annotated[str | None, typer.Option(help="Only grants of this group.")] = None,
    by: ByOption = _HERE,
    config: ConfigOption = None,
) -> None:
    """Begin the review CODE over all grants: each one ends at the deadline unless somebody keeps it."""
    from cardservice.access.review.service import NewReview

    reviews = _reviews(config)
    new = NewReview(code, name or code, read_instant(deadline, "--deadline"), zone, group)
    tell(_described(reviews.begin(new, _who(by))))


@review.command("keep")
@clearly
def review_keep(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    code: str,
    item: int,
    until: UntilOption = None,
    reason: ReasonOption = None,
    login: LoginOption = None,
    by: ByOption = _HERE,
    config: ConfigOption = None,
) -> None:
    """Keep grant ITEM of the review CODE: it ends when it would have ended, or at --until."""
    _answer(config, (code, item, "keep"), (until, reason), _who(by, login))


@review.command("end")
@clearly
def review_end(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    code: str,
    item: int,
    reason: ReasonOption = None,
    login: LoginOption = None,
    by: ByOption = _HERE,
    config: ConfigOption = None,
) -> None:
    """End grant ITEM of the review CODE now."""
    _answer(config, (code, item, "end"), (None, reason), _who(by, login))


@review.command("renew")
@clearly
def review_renew(  # noqa: PLR0913, PLR0917  # every option of a command is a parameter
    code: str,
    item: int,
    reason: NeededReason,
    until: UntilOption = None,
    login: LoginOption = None,
    by: ByOption = _HERE,
    config: ConfigOption = None,
) -> None:
    """Give grant ITEM back, which lapsed in the review CODE because nobody answered."""
    _answer(config, (code, item, "renew"), (until, reason), _who(by, login))


@review.command("extend")
@clearly
def review_extend(
    code: str, deadline: DeadlineOption, reason: NeededReason, by: ByOption = _HERE, config: ConfigOption = None
) -> None:
    """Give the running review CODE a later deadline."""
    reviews = _reviews(config)
    deadline_ms = read_instant(deadline, "--deadline")
    tell(_described(reviews.extend(code, deadline_ms, _who(by), reason=reason)))


@review.command("abort")
@clearly
def review_abort(code: str, reason: NeededReason, by: ByOption = _HERE, config: ConfigOption = None) -> None:
    """End the running review CODE: what is unanswered ends when it would have ended; answers stand."""
    reviews = _reviews(config)
    tell(_described(reviews.abort(code, _who(by), reason=reason)))


@review.command("owner")
@clearly
def review_owner(
    group: Annotated[str | None, typer.Argument(help="The group that answers; none: nobody of its own.")] = None,
    zone: Annotated[str | None, typer.Option(help="For the grants in this zone and those inside it.")] = None,
    grant: Annotated[int | None, typer.Option(help="For this grant.")] = None,
    by: ByOption = _HERE,
    config: ConfigOption = None,
) -> None:
    """Have GROUP answer for a zone or a grant from the next review on."""
    reviews = _reviews(config)
    reviews.set_owner(_who(by), group, zone=zone, grant=grant)
    what = f"zone {zone}" if grant is None else f"grant {grant}"
    tell(f"{group} answers for {what}" if group else f"{what} has no owner of its own")


def _answer(config: Path | None, which: tuple[str, int, str], said: tuple[str | None, str | None], who: "Who") -> None:
    from cardservice.access.review.rules import Verdict
    from cardservice.access.review.service import Answer

    (code, item, verdict), (until, reason) = which, said
    until_ms = None if until is None else read_instant(until, "--until")
    reviews = _reviews(config)
    tell(_told(reviews.answer(code, item, Answer(Verdict(verdict), until_ms, reason), who)))


def _reviews(config: Path | None) -> "Reviews":
    """Open the use cases beside a running service, which follows the change log."""
    settings = load_settings(config)
    from cardservice.access.review.record import by_itself
    from cardservice.access.review.service import Reviews
    from cardservice.cards.keystore import open_store
    from cardservice.clock import SystemClock
    from cardservice.journal.service import Journal
    from cardservice.settings import read_secret

    @cache
    def keys() -> "SealedKeyStore":
        # Only when a line is written: to look needs no keys.
        passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
        return open_store(settings.keys.store, passphrase, demonstration_allowed=settings.demonstration)

    def secret(stream: str, purpose: str) -> bytes:
        return keys().secret(f"journal {stream} {purpose}")

    clock, databases = SystemClock(), open_stores(config)
    keep = by_itself(databases.record, Journal(secret), clock)
    return Reviews(databases.state, clock, keep, publish=lambda: None)


def _who(by: str, login: str | None = None) -> "Who":
    from cardservice.access.review.service import Who

    return Who(by, login)


def _all_reviews(reviews: "Reviews") -> Iterator["ReviewView"]:
    after = 0
    while page := reviews.list(after):
        yield from page
        after = page[-1].number


def _all_items(reviews: "Reviews", wanted: "Wanted") -> Iterator["ItemView"]:
    while page := reviews.items(wanted):
        yield from page
        wanted = replace(wanted, after=page[-1].item)


def _described(one: "ReviewView") -> str:
    scope = f"zone {one.zone}" if one.zone else f"group {one.group}" if one.group else "all grants"
    end = f"aborted {instant(one.aborted_ms)}" if one.aborted_ms is not None else f"ends {instant(one.deadline_ms)}"
    due = [f"  {due.unanswered} unanswered: {due.owner or 'nobody (the administrator)'}" for due in one.due]
    return "\n".join([f"{one.code}  {one.name}  {scope}  {end}", *due])


def _told(one: "ItemView") -> str:
    subject = f"group {one.group}" if one.group else f"login {one.login}" if one.login else "deleted grant"
    places = (("point", one.point), ("zone", one.zone), ("use", one.use), ("schedule", one.schedule))
    where = "".join(f"  {kind} {name}" for kind, name in places if name)
    end = "no end" if one.ends_ms is None else f"ends {instant(one.ends_ms)}"
    said = f"  by {one.answered_by}" if one.answered_by else ""
    return f"{one.review} {one.item}  {one.state}{said}  {subject}{where}  {end}  owner {one.owner or 'nobody'}"
