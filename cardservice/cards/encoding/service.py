# SPDX-License-Identifier: EUPL-1.2
"""Jobs at encoders: ordered, stored with what they need, ended. Each function is in its caller's transaction.

What a card's keys come from is stored with the job, before the first command; a finished card becomes `produced`, and
is known by its numbers, in one transaction with the end of its job.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice import changes
from cardservice.cards import store as cards
from cardservice.cards.encoding import store
from cardservice.cards.encoding.recognising import CardUnknowable, Recognised
from cardservice.cards.encoding.rules import FOR_CARDS, OPEN, EncoderName, JobKind, JobState, NumberUse, Trouble
from cardservice.cards.encoding.works import Application, Badge, CardKeys, renewed
from cardservice.cards.keys.rules import CARD, USES
from cardservice.cards.keys.store import note
from cardservice.cards.life.rules import PROFILES
from cardservice.cards.rules import NUMBER_BYTES, CardState, state_at, use_of
from cardservice.cards.service import By, NewState, OwnCard, change_state_in
from cardservice.errors import Conflict, NotFound
from cardservice.randomness import random_bytes

MAX_LISTED: Final = 200


class EncodingRefused(Conflict):
    """A job cannot be as it is asked for."""

    code = "encoding_refused"


class EncoderBusy(Conflict):
    """The encoder, or the card, has a job that is not over."""

    code = "encoder_busy"


@dataclass(frozen=True, slots=True)
class Wish:
    """A job to be done: what, where, for which card.

    `card` is its reference, None for a probe; `blank` the reference of a card in stock whose blank is used again, None
    for a blank from the factory. `number_use`: where a card that is registered may count by its bare number, if it
    proves nothing.
    """

    kind: JobKind
    encoder: EncoderName
    card: str | None = None
    blank: str | None = None
    number_use: NumberUse | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored. Instants in milliseconds; `step` of `steps`, 0 before the first.

    `found` is what a probe or the chip told, as JSON has it.
    """

    number: int
    reference: str
    kind: JobKind
    card_id: int | None
    card: str | None
    encoder: EncoderName
    state: JobState
    step: int
    steps: int
    step_name: str | None
    step_use: str | None
    trouble: Trouble | None
    detail: str | None
    found: str | None
    actor: str
    made_ms: int
    begun_ms: int | None
    ended_ms: int | None
    number_use: NumberUse | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.state in OPEN

    @property
    def facts(self) -> dict[str, Any] | None:
        """What the chip told, None where nothing was asked yet."""
        return None if self.found is None else dict(json.loads(self.found))


def job_of(row: sa.Row[Any]) -> Job:
    """Return a stored job."""
    return Job(
        row.id,
        row.reference,
        JobKind(row.kind),
        row.card_id,
        row.card,
        EncoderName(row.agent, row.reader),
        JobState(row.state),
        row.step,
        row.steps,
        row.step_name,
        row.step_use,
        None if row.trouble is None else Trouble(row.trouble),
        row.detail,
        row.found,
        row.actor,
        row.made_ms,
        row.begun_ms,
        row.ended_ms,
        None if row.building is None else NumberUse(row.building, row.until_ms),
    )


def order(connection: Connection, wish: Wish, by: By, keys: CardKeys, now_ms: int) -> Job:
    """Store a job with everything that its card's keys come from.

    Raises:
        NotFound: there is no such card, or no such blank.
        EncoderBusy: the encoder, or the card, has a job that is not over.
        EncodingRefused: the card's state, its profile, or what is known of it do not allow it.
        OwnCard: nobody makes or erases their own card.
        KeyStoreError: a key that is needed is not there.
    """
    if store.open_job_at(connection, wish.encoder) is not None:
        raise EncoderBusy(f"the encoder {wish.encoder.reader!r} of {wish.encoder.agent} has a job: end or cancel it")
    if wish.number_use is not None and (wish.kind is not JobKind.REGISTER or wish.number_use.until_ms <= now_ms):
        raise EncodingRefused("building, until: of a card that is registered, and to a day that is not over")
    found = None if wish.kind is JobKind.PROBE else _card_for(connection, wish, by, now_ms)
    if found is not None:
        _prepare(connection, wish, found, keys)
    reference = str(uuid4())
    try:
        store.add_job(
            connection,
            reference=reference,
            kind=wish.kind.value,
            card_id=None if found is None else found.id,
            agent=wish.encoder.agent,
            reader=wish.encoder.reader,
            state=JobState.WAITING.value,
            actor=by.name,
            made_ms=now_ms,
            building=None if wish.number_use is None else wish.number_use.building,
            until_ms=None if wish.number_use is None else wish.number_use.until_ms,
        )
    except sa.exc.IntegrityError as error:
        raise EncoderBusy("the encoder, or the card, has got another job at this moment: look again") from error
    return one(connection, reference)


def one(connection: Connection, reference: str) -> Job:
    """Return a job.

    Raises:
        NotFound: there is none called so.
    """
    row = store.find_job(connection, reference)
    if row is None:
        raise NotFound(f"there is no encoding job {reference}")
    return job_of(row)


def cancel(connection: Connection, reference: str, now_ms: int) -> Job:
    """End a job that is not over. What its card's keys come from stays: another job goes on, or erases the card.

    Raises:
        NotFound: there is none called so.
        EncodingRefused: it is over.
    """
    job = one(connection, reference)
    if not end(connection, job, JobState.CANCELLED, now_ms):
        raise EncodingRefused(f"job {reference} is {job.state}: there is nothing to cancel")
    return one(connection, reference)


def end(connection: Connection, job: Job, state: JobState, now_ms: int, **values: Any) -> bool:
    """End a job; False: it was ended meanwhile."""
    over = {"state": state.value, "ended_ms": now_ms, "chip": None}
    return store.set_job(connection, job.number, over | values)


def badge(connection: Connection, job: Job) -> Badge:
    """Return from what the key of a job's card comes.

    Raises:
        EncodingRefused: nothing is known of it.
    """
    row = None if job.card_id is None else store.badge_of(connection, job.card_id)
    if row is None:
        raise EncodingRefused("the card was not encoded here: its badge number is not known")
    return Badge(bytes(row.number), row.generation, row.former_generation)


def applications(connection: Connection, card_id: int) -> list[Application]:
    """Return what is on a card, or is to be."""
    rows = store.applications_of(connection, card_id)
    return [Application(row.use, bytes(row.number), row.generation, row.next_generation) for row in rows]


def finish_encoding(connection: Connection, job: Job, now_ms: int, values: Mapping[str, Any]) -> None:
    """The card is whole: it becomes `produced` and known by its numbers.

    Raises:
        Conflict: the card, or its job, became something else meanwhile.
    """
    card_id = _require_running(connection, job, now_ms, values)
    held = badge(connection, job)
    store.set_badge(connection, card_id, held.generation, None)
    note(connection, store.register_numbers(connection, card_id))
    change_state_in(connection, str(job.card), NewState(CardState.PRODUCED), now_ms, By(job.actor))


def finish_registering(connection: Connection, job: Job, recognised: Recognised, now_ms: int) -> None:
    """The card is known by what it has proved: whoever ordered it can have it now.

    Raises:
        CardUnknowable: it is in the register already, or its profile is for nothing that it can do.
        Conflict: the card, or its job, became something else meanwhile.
    """
    found = None if job.card_id is None else cards.card_numbered(connection, job.card_id)
    profile = None if found is None else PROFILES.get(found.profile or "")
    keys = {key: one for key, one in recognised.keys.items() if profile is None or use_of(key) in profile.uses}
    if not keys:
        raise CardUnknowable(Trouble.USELESS, "the card is ordered for none of the uses that this one can have")
    if store.are_known(connection, keys):
        raise CardUnknowable(Trouble.KNOWN, "the card is in the register already, or was")
    facts = recognised.facts | {"uses": sorted({use_of(key) for key in keys})}
    card_id = _require_running(connection, job, now_ms, {"found": json.dumps(facts)})
    store.know_as(connection, card_id, keys, recognised.until_ms)
    note(connection, {key: generation for key, generation in keys.items() if generation is not None})
    for state in (CardState.PRODUCED, CardState.READY_FOR_PICKUP):
        change_state_in(connection, str(job.card), NewState(state), now_ms, By(job.actor))


def finish_erasing(connection: Connection, job: Job, now_ms: int) -> None:
    """The card is blank: one that was taken back is `erased`; one that was being made is made anew.

    Raises:
        Conflict: the card, or its job, became something else meanwhile.
    """
    card_id = _require_running(connection, job, now_ms, {})
    found = cards.card_numbered(connection, card_id)
    if found is not None and found.state == CardState.RETURNED:
        change_state_in(connection, str(job.card), NewState(CardState.ERASED), now_ms, By(job.actor))
        store.drop_applications(connection, card_id)


def finish_probe(connection: Connection, job: Job, now_ms: int, values: Mapping[str, Any]) -> None:
    """The card has told what it is. Raises Conflict when the job was ended meanwhile."""
    if not end(connection, job, JobState.DONE, now_ms, trouble=None, detail=None, **values):
        raise EncodingRefused(f"job {job.reference} was ended meanwhile")


def rolled(connection: Connection, job: Job, use: str, generation: int) -> None:
    """A generation of one application is in force and proved."""
    card_id = int(job.card_id or 0)
    store.set_generation(connection, card_id, use, generation, None)
    known = {key: generation for key in cards.keys_of_card(connection, card_id) if use_of(key) == use}
    note(connection, known)
    changes.append(connection, "card", [card_id])


def finish_rekeying(connection: Connection, job: Job, now_ms: int) -> None:
    """Every application has its new keys. Raises Conflict when the job was ended meanwhile."""
    finish_probe(connection, job, now_ms, {})


def _require_running(connection: Connection, job: Job, now_ms: int, values: Mapping[str, Any]) -> int:
    finish_probe(connection, job, now_ms, values)
    return int(job.card_id or 0)


def _card_for(connection: Connection, wish: Wish, by: By, now_ms: int) -> sa.Row[Any]:
    found = None if wish.card is None else cards.lock(connection, wish.card)
    if found is None:
        raise NotFound(f"there is no card {wish.card}" if wish.card else "which card? its reference is needed")
    state, allowed = state_at(CardState(found.state), found.suspended_until_ms, now_ms), FOR_CARDS[wish.kind]
    if state not in allowed:
        raise EncodingRefused(f"card {wish.card} is {state}; to {wish.kind} it, it is {' or '.join(sorted(allowed))}")
    if by.person is not None and by.person == found.person_id:
        raise OwnCard("nobody makes, erases or re-keys their own card: a colleague does")
    if store.open_job_of(connection, found.id) is not None:
        raise EncoderBusy(f"card {wish.card} has a job that is not over: end or cancel it")
    return found


def _prepare(connection: Connection, wish: Wish, found: sa.Row[Any], keys: CardKeys) -> None:
    if wish.kind is JobKind.REGISTER:
        _require_unwritten(connection, wish, found)
        return
    if wish.kind is not JobKind.ENCODE:
        if store.badge_of(connection, found.id) is None:
            raise EncodingRefused(f"card {wish.card} was not encoded here: its badge number is not known")
        if wish.blank is not None:
            raise EncodingRefused("blank: only a card that is encoded takes one")
        return
    _keep_badge(connection, wish, found, keys)
    known = {row.use for row in store.applications_of(connection, found.id)}
    for use in _uses_of(found):
        if use not in known:
            store.add_application(connection, found.id, use, random_bytes(NUMBER_BYTES), keys.newest(use))
        else:
            # Begun with older keys and never finished: what is there is made anew.
            store.set_generation(connection, found.id, use, keys.newest(use), None)


def _require_unwritten(connection: Connection, wish: Wish, found: sa.Row[Any]) -> None:
    if store.badge_of(connection, found.id) is not None or wish.blank is not None:
        raise EncodingRefused(f"card {wish.card} was begun on a blank: go on with that one, or order another card")


def _keep_badge(connection: Connection, wish: Wish, found: sa.Row[Any], keys: CardKeys) -> None:
    newest, row = keys.newest(CARD), store.badge_of(connection, found.id)
    if row is not None and wish.blank is not None:
        raise EncodingRefused(f"card {wish.card} was begun on a blank of its own: go on with that one, or erase it")
    if row is not None:
        held = renewed(Badge(bytes(row.number), row.generation, row.former_generation), newest)
        store.set_badge(connection, found.id, held.generation, held.former)
    elif wish.blank is None:
        store.add_badge(connection, found.id, random_bytes(NUMBER_BYTES), newest, None)
    else:
        held = renewed(_of_blank(connection, wish.blank), newest)
        store.add_badge(connection, found.id, held.number, held.generation, held.former)


def _of_blank(connection: Connection, reference: str) -> Badge:
    blank = cards.lock(connection, reference)
    if blank is None:
        raise NotFound(f"there is no card {reference}")
    row = store.badge_of(connection, blank.id)
    if blank.state not in {CardState.STOCK, CardState.ERASED} or row is None:
        raise EncodingRefused(f"card {reference} is no blank that was erased here")
    store.take_badge(connection, blank.id)
    return Badge(bytes(row.number), row.generation, row.former_generation)


def _uses_of(found: sa.Row[Any]) -> list[str]:
    profile = PROFILES.get(found.profile or "")
    return [use for use in USES if profile is None or use in profile.uses]
