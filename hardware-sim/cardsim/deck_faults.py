# SPDX-License-Identifier: EUPL-1.2
"""The faults of a deck by their kind (schema in `cardsim.deck`)."""

from collections.abc import Callable

from cardsim.bad_faults import MemoryCard, Parrot, RandomStatus, Reflecting, Tampered, Tampering, Unrotated
from cardsim.card import VirtualCard
from cardsim.deck_fields import Fields, octets_from
from cardsim.desfire_status import Instruction
from cardsim.faults import (
    EndlessCard,
    GarbageCard,
    Mute,
    PulledAfter,
    Recording,
    Replay,
    SlowCard,
    TornWrite,
    UidOnly,
    WrongMac,
)
from cardsim.interfaces import Card
from cardsim.timing import RelayedCard, TimedCard

MAX_DELAY_S = 60.0
MAX_ANSWER_LENGTH = 65_538
MAX_APDUS = 1_000_000
MAX_SEED = 2**63 - 1
MAX_INSTRUCTIONS = 8
REFLECTABLE = (Instruction.AUTHENTICATE_EV2_FIRST, Instruction.AUTHENTICATE_EV2_NON_FIRST)


def faulty_from(fields: Fields, card: Card, inner: VirtualCard) -> Card:
    """The card with its fault; ``inner`` is the card itself below what keeps it.

    Raises:
        DeckError: if a member breaks the schema.
        PersonalisationError: if the card cannot have this fault.
    """
    kind = fields.text("kind")
    builders = {**_wrappers(fields, card, inner), **_stand_ins(fields, card)}
    if kind not in builders:
        allowed = ", ".join(sorted([*builders, "cloned_number"]))
        raise fields.complaint("kind", f"one of {allowed} is expected")
    faulty = builders[kind]()
    fields.finish()
    return faulty


def _wrappers(fields: Fields, card: Card, inner: VirtualCard) -> dict[str, Callable[[], Card]]:
    return {
        "pulled_after": lambda: PulledAfter(
            card, fields.integer("n_apdus", 1, MAX_APDUS), carried_out=fields.flag("carried_out")
        ),
        "torn_write": lambda: TornWrite(card, inner, fields.integer("n_bytes", 0, 65_535)),
        "slow": lambda: SlowCard(card, fields.seconds("delay_s", MAX_DELAY_S)),
        "relayed": lambda: RelayedCard(
            card,
            fields.seconds("delay_s", MAX_DELAY_S),
            fields.seconds("jitter_s", MAX_DELAY_S),
            fields.integer("seed", 0, MAX_SEED),
        ),
        "timed": lambda: TimedCard(card),
        "wrong_mac": lambda: WrongMac(card),
        "reflecting": lambda: Reflecting(card, _reflectable(fields)),
        "unrotated": lambda: Unrotated(card, fields.octets("key", 16, 16)),
        "tampered": lambda: Tampered(card, _tampering(fields)),
    }


def _stand_ins(fields: Fields, card: Card) -> dict[str, Callable[[], Card]]:
    return {
        "garbage": lambda: GarbageCard(card.card_id, card.label, fields.integer("seed", 0, MAX_SEED)),
        "replay": lambda: Replay(card.card_id, card.label, _recording(fields)),
        "endless": lambda: EndlessCard(card.card_id, card.label),
        "mute": lambda: Mute(card.card_id, card.label),
        "uid_only": lambda: UidOnly(card.card_id, card.label),
        "memory_card": lambda: MemoryCard(
            card.card_id, card.label, fields.octets("uid", 4, 4), fields.octets("block", 16, 16)
        ),
        "parrot": lambda: Parrot(card.card_id, card.label, fields.octets("answer", 2, MAX_ANSWER_LENGTH)),
        "random_status": lambda: RandomStatus(card.card_id, card.label, fields.integer("seed", 0, MAX_SEED)),
    }


def _reflectable(fields: Fields) -> int:
    ins = fields.octets("ins", 1, 1)[0]
    if ins not in REFLECTABLE:
        raise fields.complaint("ins", "71 or 77 is expected")
    return ins


def _tampering(fields: Fields) -> Tampering:
    """One change: the places that are left out stay as they are."""
    changes = [name for name in ("answer", "append", "cut_to", "flip") if fields.has(name)]
    if len(changes) != 1:
        raise fields.complaint("kind", "exactly one of answer, append, cut_to, flip is expected beside it")
    return Tampering(
        ins=fields.octets("ins", 1, MAX_INSTRUCTIONS),
        nth=fields.integer("nth", 0, MAX_APDUS) if fields.has("nth") else 0,
        answer=fields.octets("answer", 0, MAX_ANSWER_LENGTH) if "answer" in changes else None,
        append=fields.octets("append", 1, MAX_ANSWER_LENGTH) if "append" in changes else b"",
        cut_to=fields.integer("cut_to", 0, MAX_ANSWER_LENGTH) if "cut_to" in changes else None,
        flip=fields.integer("flip", 0, MAX_ANSWER_LENGTH) if "flip" in changes else None,
    )


def _recording(fields: Fields) -> Recording:
    answers = tuple(octets_from(answer, where, 0, MAX_ANSWER_LENGTH) for answer, where in fields.items("answers"))
    return Recording(fields.octets("atr", 2, 33), answers)
