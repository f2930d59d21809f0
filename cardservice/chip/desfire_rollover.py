# SPDX-License-Identifier: EUPL-1.2
"""New keys for one application of a card in use (`docs/card-layout.md`, "New keys on a card in use").

With key sets there are two conversations, because the caller stores something between them: `prepare_rollover` writes
the next generation into the set that is not in force, which changes nothing for a tap; then the caller notes that the
card may have either; `finish_rollover` puts the set in force, writes the new generation to the number file and proves
that the old keys are dead. Pulled before the number file is written, the card claims the generation before: a tap tries
the next one's proof key as well (`locate`). Applications that were made with one
key set go through `replace_keys`. All may end at any command and are begun again.
"""

import secrets
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final

from cardservice.chip.conversation import Conversation, RandomBytes
from cardservice.chip.desfire_application import CardApplication
from cardservice.chip.desfire_layout import (
    NEXT_KEY_SET_NO,
    Progress,
    Steps,
    UseKeySet,
    accepts,
    check_application,
    unobserved,
    write_number,
)
from cardservice.chip.errors import CardUnfit, IntegrityRefused, StatusError, UnfitCause
from cardservice.chip.keys import KEY_BYTES, KeyToWrite, SoftwareWritableKey
from cardservice.chip.layout import KEY_APPLICATION_MASTER, KEY_LOCATE, KEY_PROOF, CardUse, NumberFile

_ZERO: Final = SoftwareWritableKey(bytes(KEY_BYTES))
_PREPARE_STEPS: Final = 3
_FINISH_STEPS: Final = 4
_REPLACE_STEPS: Final = 3


@dataclass(frozen=True, slots=True)
class RolloverPlan:
    """One application's way from one generation to the next.

    Attributes:
        use: whose application it is.
        number: the card's number for this use, 12 bytes; it stays the same. Not in the repr.
        current: the keys in force.
        following: the keys to come, of another generation.
    """

    use: CardUse
    number: bytes = field(repr=False)
    current: UseKeySet
    following: UseKeySet

    def __post_init__(self) -> None:
        if self.current.generation == self.following.generation:
            raise ValueError("the next generation needs another number")


@unique
class RolloverState(Enum):
    """How far an application is."""

    CURRENT = "current"
    """The old keys are in force, and nothing is prepared."""
    PREPARED = "prepared"
    """The old keys are in force, and the new ones are complete."""
    ROLLED = "rolled"
    """The new keys are in force; the number file may still name the generation before."""


def prepare_rollover(
    plan: RolloverPlan, *, random_bytes: RandomBytes = secrets.token_bytes, progress: Progress = unobserved
) -> Conversation[RolloverState]:
    """Writes the next generation beside the one in force; returns `PREPARED`, or `ROLLED` where it is past that.

    Raises:
        ApplicationNotFound: the card does not hold the application.
        CardUnfit: neither generation's key 0 is in force, or the application was made without a second key set.
        CardGone, CardNotGenuine, ProtocolError, StatusError: the card left, talked nonsense, or refused.
    """
    steps = Steps(_PREPARE_STEPS, progress)
    steps.begin("state", plan.use)
    application, state = yield from _find_state(plan, random_bytes)
    if state is not RolloverState.CURRENT:
        return state
    steps.begin("keys", plan.use)
    yield from _initialize(application, plan, random_bytes)
    for (key_no, new), (_, current) in zip(plan.following.numbered(), plan.current.numbered(), strict=True):
        yield from _change_prepared_key(application, plan, key_no, _Change(new, current, random_bytes))
    steps.begin("finalize", plan.use)
    yield from application.finalize_key_set(NEXT_KEY_SET_NO, plan.following.generation)
    return RolloverState.PREPARED


def finish_rollover(
    plan: RolloverPlan, *, random_bytes: RandomBytes = secrets.token_bytes, progress: Progress = unobserved
) -> Conversation[None]:
    """Puts the prepared generation in force, writes it to the number file, and proves that the old keys are dead.

    Raises:
        CardUnfit: nothing is prepared, an old key still authenticates, or the file does not hold what was written.
        ApplicationNotFound, CardGone, CardNotGenuine, ProtocolError, StatusError: as `prepare_rollover`.
    """
    steps = Steps(_FINISH_STEPS, progress)
    steps.begin("state", plan.use)
    application, state = yield from _find_state(plan, random_bytes)
    if state is RolloverState.CURRENT:
        raise CardUnfit(UnfitCause.CONTENT, "the next generation is not prepared")
    steps.begin("roll", plan.use)
    if state is RolloverState.PREPARED:
        yield from application.roll_key_set(NEXT_KEY_SET_NO)
        yield from application.authenticate_ev2_first(
            KEY_APPLICATION_MASTER, plan.following.master, random_bytes=random_bytes
        )
    steps.begin("number_file", plan.use)
    content = NumberFile(plan.following.generation, plan.number)
    yield from write_number(application, content)
    steps.begin("check", plan.use)
    yield from _check_following(application, plan, random_bytes)


def replace_keys(
    plan: RolloverPlan, *, random_bytes: RandomBytes = secrets.token_bytes, progress: Progress = unobserved
) -> Conversation[None]:
    """Replaces the three keys of an application with one key set: locate, proof and number file, key 0 last.

    From the change of the proof key until the number file is written, and when the card is pulled there, the file
    names the generation before. So the caller notes the change first, as he does between the other two conversations.

    Raises:
        CardUnfit: neither generation's key 0 is there, an old key still authenticates, or the file holds other content.
        ApplicationNotFound, CardGone, CardNotGenuine, ProtocolError, StatusError: as `prepare_rollover`.
    """
    steps = Steps(_REPLACE_STEPS, progress)
    steps.begin("state", plan.use)
    application = yield from CardApplication.select(plan.use.aid)
    master = plan.following.master
    finished = yield from accepts(application, KEY_APPLICATION_MASTER, master, random_bytes=random_bytes)
    steps.begin("keys", plan.use)
    if not finished:
        yield from _replace_one(application, plan, KEY_LOCATE, random_bytes)
        yield from _replace_one(application, plan, KEY_PROOF, random_bytes)
        yield from write_number(application, NumberFile(plan.following.generation, plan.number))
        yield from application.change_key(KEY_APPLICATION_MASTER, master, old=None)
    steps.begin("check", plan.use)
    yield from _check_following(application, plan, random_bytes)


def roll_over(
    plan: RolloverPlan, *, random_bytes: RandomBytes = secrets.token_bytes, progress: Progress = unobserved
) -> Conversation[None]:
    """Both conversations at once, for a card that nobody taps in between."""
    yield from prepare_rollover(plan, random_bytes=random_bytes, progress=progress)
    yield from finish_rollover(plan, random_bytes=random_bytes, progress=progress)


@dataclass(frozen=True, slots=True)
class _Change:
    """One key of the set that is prepared."""

    new: KeyToWrite
    current: KeyToWrite
    random_bytes: RandomBytes


def _find_state(plan: RolloverPlan, random_bytes: RandomBytes) -> Conversation[tuple[CardApplication, RolloverState]]:
    """Opens the application under the key 0 that is in force, and tells which generation that is."""
    application = yield from CardApplication.select(plan.use.aid)
    current, following = plan.current.master, plan.following.master
    if (yield from accepts(application, KEY_APPLICATION_MASTER, current, random_bytes=random_bytes)):
        versions = yield from _key_set_versions(application)
        prepared = versions[NEXT_KEY_SET_NO : NEXT_KEY_SET_NO + 1] == (plan.following.generation,)
        return application, RolloverState.PREPARED if prepared else RolloverState.CURRENT
    if (yield from accepts(application, KEY_APPLICATION_MASTER, following, random_bytes=random_bytes)):
        return application, RolloverState.ROLLED
    raise CardUnfit(UnfitCause.KEY, "neither the current nor the next generation's key 0 is in force")


def _key_set_versions(application: CardApplication) -> Conversation[tuple[int, ...]]:
    settings = yield from application.get_key_settings()
    if settings.key_sets <= NEXT_KEY_SET_NO:
        raise CardUnfit(UnfitCause.KEY_SETS, "the application was made with one key set")
    return (yield from application.get_key_set_versions())


def _initialize(application: CardApplication, plan: RolloverPlan, random_bytes: RandomBytes) -> Conversation[None]:
    """Initialises the set; a chip that refuses because it was begun before goes on with what is there."""
    try:
        yield from application.initialize_key_set(NEXT_KEY_SET_NO)
    except StatusError:
        yield from application.authenticate_ev2_first(
            KEY_APPLICATION_MASTER, plan.current.master, random_bytes=random_bytes
        )


def _change_prepared_key(
    application: CardApplication, plan: RolloverPlan, key_no: int, change: _Change
) -> Conversation[None]:
    """Writes one key of the set that is prepared, whose key is there for us to name.

    A set that is initialised holds the keys in force. One that was begun before, on a chip that does not initialise
    twice, may hold the new key already, or zeros. A wrong guess costs one refused command and a new session.
    """
    for old in (change.current, change.new, _ZERO):
        try:
            yield from application.change_key_ev2(NEXT_KEY_SET_NO, key_no, change.new, old=old)
        except IntegrityRefused:
            yield from application.authenticate_ev2_first(
                KEY_APPLICATION_MASTER, plan.current.master, random_bytes=change.random_bytes
            )
        else:
            return
    raise CardUnfit(UnfitCause.KEY, f"key {key_no} of the set that is prepared is not known")


def _prove_dead(application: CardApplication, old: UseKeySet, random_bytes: RandomBytes) -> Conversation[None]:
    """Tries every key of the old generation; each must be refused."""
    for key_no, key in old.numbered():
        try:
            yield from application.authenticate_ev2_first(key_no, key, random_bytes=random_bytes)
        except StatusError:
            continue
        raise CardUnfit(UnfitCause.LEFTOVERS, f"key {key_no} of the old generation still authenticates")


def _check_following(application: CardApplication, plan: RolloverPlan, random_bytes: RandomBytes) -> Conversation[None]:
    """Proves that the old keys are dead, and that a tap will find what was written."""
    yield from _prove_dead(application, plan.current, random_bytes)
    content = NumberFile(plan.following.generation, plan.number)
    yield from check_application(application, plan.following, content, random_bytes=random_bytes)


def _replace_one(
    application: CardApplication, plan: RolloverPlan, key_no: int, random_bytes: RandomBytes
) -> Conversation[None]:
    """Replaces one key under the current key 0, unless it was replaced before; leaves a session of key 0."""
    new, current = dict(plan.following.numbered())[key_no], dict(plan.current.numbered())[key_no]
    done = yield from accepts(application, key_no, new, random_bytes=random_bytes)
    master = plan.current.master
    if not (yield from accepts(application, KEY_APPLICATION_MASTER, master, random_bytes=random_bytes)):
        raise CardUnfit(UnfitCause.KEY, "neither the current nor the next generation's key 0 is in force")
    if not done:
        yield from application.change_key(key_no, new, old=current)
