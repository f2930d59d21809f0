# SPDX-License-Identifier: EUPL-1.2
"""A card from the factory, or from our stock, becomes one of ours (`docs/card-layout.md`).

The conversation may end at any command, and is simply begun again: it finds out where the card stands. The card level
opens with the badge's key, with the DES key of the factory, or with an AES key of zeros; an application whose key 0 is
ours is finished, for that key is changed last; any other of ours is deleted and made anew, which only the holder of the
card level's key can. Until the last step no reader opens to the card, because nobody has registered it.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cardservice.chip.conversation import Conversation, RandomBytes
from cardservice.chip.desfire_application import CardApplication
from cardservice.chip.desfire_card import PICC_KEY_NO, CardLevel
from cardservice.chip.desfire_des import FACTORY_DES_KEY
from cardservice.chip.desfire_formats import ChipVersion, KeyType
from cardservice.chip.desfire_layout import (
    NUMBER_FILE,
    PICC_KEY_SETTINGS,
    Progress,
    Steps,
    UseKeySet,
    accepts,
    application_of,
    check_application,
    unobserved,
    write_number,
)
from cardservice.chip.errors import CardUnfit, StatusError, UnfitCause
from cardservice.chip.keys import KEY_BYTES, CardKey, SoftwareWritableKey, WritableKey
from cardservice.chip.layout import KEY_APPLICATION_MASTER, CardUse, NumberFile

_AES_ZERO: Final = SoftwareWritableKey(bytes(KEY_BYTES))
_FIXED_STEPS: Final = 4
MAX_FORMER_KEYS: Final = 2


@dataclass(frozen=True, slots=True)
class ApplicationPlan:
    """One application to be on the card.

    Attributes:
        use: whose it is.
        number: the card's number for this use, 12 bytes; not in the repr.
        keys: its keys and their generation.
    """

    use: CardUse
    number: bytes = field(repr=False)
    keys: UseKeySet

    @property
    def content(self) -> NumberFile:
        """What the number file will hold."""
        return NumberFile(self.keys.generation, self.number)


@dataclass(frozen=True, slots=True)
class CardPlan:
    """What a card is to become. Its numbers and keys are stored before the first command.

    Attributes:
        picc: the card level's key, which belongs to the badge number.
        applications: at least one; each use once.
        former_picc: the badge's keys of earlier generations, one of which stock of ours may still have; at most two.
    """

    picc: WritableKey = field(repr=False)
    applications: tuple[ApplicationPlan, ...]
    former_picc: tuple[CardKey, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        uses = [plan.use for plan in self.applications]
        if not uses or len(set(uses)) != len(uses):
            raise ValueError("a card has at least one application, and one for each use")
        if len(self.former_picc) > MAX_FORMER_KEYS:
            raise ValueError(f"{len(self.former_picc)} former keys, at most {MAX_FORMER_KEYS} are tried")


@dataclass(frozen=True, slots=True)
class EncodedCard:
    """A finished card.

    Attributes:
        version: what the chip says of itself.
        uid: its real identifier, 7 bytes, which it shows to nobody any more; not in the repr.
        originality: the vendor's signature over it, None where the chip gives none; not in the repr.
    """

    version: ChipVersion
    uid: bytes = field(repr=False)
    originality: bytes | None = field(repr=False)


def personalise(
    plan: CardPlan, *, random_bytes: RandomBytes = secrets.token_bytes, progress: Progress = unobserved
) -> Conversation[EncodedCard]:
    """From whatever state one of our cards can be in to finished.

    Args:
        plan: what the card is to become.
        random_bytes: source of random numbers and of the default key, which nobody keeps.
        progress: told of each step: chip, card_key, configuration, one application for each use, random_uid.

    Raises:
        ApplicationNotFound: the card speaks no DESFire.
        CardUnfit: the chip has no key sets, its key is not known, it holds foreign applications, or lost what it got.
        CardGone, CardNotGenuine, ProtocolError, StatusError: the card left, talked nonsense, or refused.
    """
    steps = Steps(_FIXED_STEPS + len(plan.applications), progress)
    steps.begin("chip")
    level = yield from CardLevel.select()
    version = yield from level.get_version()
    if not version.has_key_sets:
        raise CardUnfit(UnfitCause.CHIP, f"{version.family.value}: EV2 or EV3 is needed")
    originality = yield from _originality(level)

    steps.begin("card_key")
    yield from _take_card_level(level, plan, random_bytes)
    uid = yield from level.get_card_uid()

    steps.begin("configuration")
    present = yield from level.get_application_ids()
    if foreign := set(present) - {use.aid for use in CardUse}:
        raise CardUnfit(UnfitCause.OCCUPIED, f"{len(foreign)} applications on it are not ours")
    default_key = random_bytes(KEY_BYTES)
    yield from level.change_key_settings(PICC_KEY_SETTINGS)
    yield from level.set_default_key(default_key)

    for application in plan.applications:
        steps.begin("application", application.use)
        is_there = application.use.aid in present
        yield from _finish_application(
            plan, application, _DefaultKey(SoftwareWritableKey(default_key), random_bytes), is_there=is_there
        )

    steps.begin("random_uid")
    level = yield from _open_card_level(plan.picc, random_bytes)
    yield from level.enable_random_uid()
    return EncodedCard(version, uid, originality)


_Attempt: TypeAlias = tuple[bool, Conversation[None]]


@dataclass(frozen=True, slots=True)
class _DefaultKey:
    """The key that new applications begin with, and the source of random numbers."""

    key: SoftwareWritableKey
    random_bytes: RandomBytes


def _originality(level: CardLevel) -> Conversation[bytes | None]:
    try:
        return (yield from level.read_signature())
    except StatusError:
        return None  # older chips have none, and with random UID on it may be hidden


def _take_card_level(level: CardLevel, plan: CardPlan, random_bytes: RandomBytes) -> Conversation[None]:
    """Opens the card level under our key, which it gets if it has another that is known.

    What a card answers to an authentication for which its key has the wrong cipher differs from chip to chip, so any
    refusal counts as "not this key".
    """
    attempts = yield from _attempts(level, plan, random_bytes)
    for is_ours, attempt in attempts:
        try:
            yield from attempt
        except StatusError:
            continue
        if not is_ours:
            yield from level.change_key(PICC_KEY_NO, plan.picc, old=None)
            yield from level.authenticate_ev2_first(PICC_KEY_NO, plan.picc, random_bytes=random_bytes)
        return
    raise CardUnfit(UnfitCause.KEY, "the card level has a key that is not known here")


def _attempts(level: CardLevel, plan: CardPlan, random_bytes: RandomBytes) -> Conversation[list[_Attempt]]:
    """The authentications to try, and whether each is with our key. A factory-fresh card names its cipher."""
    aes: list[_Attempt] = [
        (key is plan.picc, level.authenticate_ev2_first(PICC_KEY_NO, key, random_bytes=random_bytes))
        for key in (plan.picc, *plan.former_picc, _AES_ZERO)
    ]
    des: list[_Attempt] = [
        (False, level.authenticate_iso(PICC_KEY_NO, FACTORY_DES_KEY, random_bytes=random_bytes)),
        (False, level.authenticate(PICC_KEY_NO, FACTORY_DES_KEY, random_bytes=random_bytes)),
    ]
    try:
        settings = yield from level.get_key_settings()
    except StatusError:
        return [*aes, *des]  # cards of ours show their settings to the holder of the key alone
    return des if settings.key_type is KeyType.DES else aes


def _open_card_level(picc: WritableKey, random_bytes: RandomBytes) -> Conversation[CardLevel]:
    level = yield from CardLevel.select()
    yield from level.authenticate_ev2_first(PICC_KEY_NO, picc, random_bytes=random_bytes)
    return level


def _finish_application(
    plan: CardPlan, wanted: ApplicationPlan, default: _DefaultKey, *, is_there: bool
) -> Conversation[None]:
    random_bytes = default.random_bytes
    finished = is_there and (yield from _is_ours(wanted, random_bytes))
    if not finished:
        level = yield from _open_card_level(plan.picc, random_bytes)
        if is_there:
            yield from level.delete_application(wanted.use.aid)
        yield from level.create_application(application_of(wanted.use, wanted.keys.generation))
        yield from _fill(wanted, default)
    application = yield from CardApplication.select(wanted.use.aid)
    yield from check_application(application, wanted.keys, wanted.content, random_bytes=random_bytes)


def _is_ours(wanted: ApplicationPlan, random_bytes: RandomBytes) -> Conversation[bool]:
    application = yield from CardApplication.select(wanted.use.aid)
    master = wanted.keys.master
    return (yield from accepts(application, KEY_APPLICATION_MASTER, master, random_bytes=random_bytes))


def _fill(wanted: ApplicationPlan, default: _DefaultKey) -> Conversation[None]:
    application = yield from CardApplication.select(wanted.use.aid)
    yield from application.authenticate_ev2_first(
        KEY_APPLICATION_MASTER, default.key, random_bytes=default.random_bytes
    )
    yield from application.create_std_data_file(NUMBER_FILE)
    yield from write_number(application, wanted.content)
    for key_no, key in wanted.keys.numbered():
        old = None if key_no == KEY_APPLICATION_MASTER else default.key
        yield from application.change_key(key_no, key, old=old)
