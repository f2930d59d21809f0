# SPDX-License-Identifier: EUPL-1.2
"""The tap on a DESFire card: find the number of one use, then prove the card (`docs/card-layout.md`, "The tap").

The number is read under the *locate* key, which every card of the use shares. Whoever stole that key can present any
number, so what was read is only a claim. The proof is the mutual authentication with the key that AN10922 derives for
that very number; it comes last, and nothing is returned without it.

    exchange 1   SelectApplication · AuthenticateEV2First (locate key)
    exchange 2   its second pass
    exchange 3   ReadData · AuthenticateEV2NonFirst (proof key)
    exchange 4   its second pass

A card that was pulled while it got new keys holds them already and still names the generation before. Where the next
generation is known here, such a card is asked a second time, by the proof key of that one.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cardservice.chip.conversation import Conversation, RandomBytes, Transcript, exchange
from cardservice.chip.desfire import Session, answer_ev2_first, authenticate_ev2_first, select_application
from cardservice.chip.desfire_messages import CommMode
from cardservice.chip.errors import (
    AuthenticationRefused,
    CardNotGenuine,
    ProofKeyRefused,
    ProofKeyUnknown,
    ProofWrong,
)
from cardservice.chip.keys import CardKey, MasterKey
from cardservice.chip.layout import (
    KEY_LOCATE,
    KEY_PROOF,
    NUMBER_FILE_BYTES,
    NUMBER_FILE_NO,
    CardUse,
    NumberFile,
    diversification_input,
)

MAX_LOCATE_GENERATIONS: Final = 2


class UseKeys(Protocol):
    """The keys of one use that a tap needs."""

    @property
    def locate(self) -> Sequence[CardKey]:
        """The locate keys, newest first: one, or two while a rotation is under way."""
        ...

    def proof(self, generation: int) -> MasterKey | None:
        """The master of the proof keys of a generation (1 to 255), or None when it is unknown or withdrawn."""
        ...


@dataclass(frozen=True, slots=True)
class ProvenNumber:
    """A card that has proved to hold the key belonging to its number.

    Attributes:
        use: the use whose application was asked.
        number: the card's number for that use, 12 bytes; not in the repr, for it identifies a card.
        generation: generation of the card's keys in that application, 1 to 255.
        evidence: SHA-256 over every command and answer, 32 bytes, as `Transcript` defines it.
    """

    use: CardUse
    number: bytes = field(repr=False)
    generation: int
    evidence: bytes = field(repr=False)


def identify(
    use: CardUse, keys: UseKeys, *, system_id: bytes, random_bytes: RandomBytes = secrets.token_bytes
) -> Conversation[ProvenNumber]:
    """The whole tap: four exchanges, six when the card still has the older locate key, eight when it is half re-keyed.

    Args:
        use: the use of the point where the card was presented; no other application is touched.
        keys: the keys of that use.
        system_id: the installation's constant in every diversification, 1 to 16 bytes.
        random_bytes: source of our random numbers.

    Raises:
        ApplicationNotFound: not one of our cards, or the card does not have this use.
        AuthenticationRefused: the card accepts none of our locate keys.
        CardNotGenuine: a MAC or RndA' is wrong, or the card refuses the proof key of the number it claims.
        ProofKeyUnknown: the card claims a generation that we do not hold.
        CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused a command.
        ValueError: `keys.locate` or `system_id` has a length that the layout does not allow; a configuration error.
    """
    transcript = Transcript()
    claim = yield from transcript.record(_locate_and_prove(use, keys, system_id, random_bytes))
    return ProvenNumber(use, claim.number, claim.generation, transcript.digest())


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A session in which the card has claimed a number and begun to prove it."""

    session: Session
    claim: NumberFile
    enciphered_rnd_b: bytes = field(repr=False)


def _locate_and_prove(
    use: CardUse, keys: UseKeys, system_id: bytes, random_bytes: RandomBytes
) -> Conversation[NumberFile]:
    claimed = yield from _read_claim(use, keys, random_bytes)
    candidates = _masters(claimed.claim, keys)
    while True:
        generation, master = candidates.pop(0)
        number = claimed.claim.number
        proof_key = master.diversify(diversification_input(number, use, system_id))
        try:
            yield from _prove(claimed, proof_key, random_bytes)
        except ProofKeyRefused:
            if not candidates:
                raise
            claimed = yield from _read_claim(use, keys, random_bytes)
        else:
            return NumberFile(generation, number)


def _masters(claim: NumberFile, keys: UseKeys) -> list[tuple[int, MasterKey]]:
    """Return whose proof key the card may have: of the generation it claims, and of the next; at least one."""
    asked = [(one, keys.proof(one)) for one in (claim.generation, claim.generation + 1)]
    known = [(generation, master) for generation, master in asked if master is not None]
    if not known:
        raise ProofKeyUnknown(claim.generation)
    return known


def _read_claim(use: CardUse, keys: UseKeys, random_bytes: RandomBytes) -> Conversation[_Claimed]:
    session = yield from _open_with_any(use, keys.locate, random_bytes)
    read = session.read_data(NUMBER_FILE_NO, 0, NUMBER_FILE_BYTES, mode=CommMode.FULL)
    begin = session.authenticate_ev2_non_first(KEY_PROOF)
    read_answer, begin_answer = yield from exchange(read.apdu, begin.apdu)
    return _Claimed(session, NumberFile.from_bytes(read.decode(read_answer)), begin.decode(begin_answer))


def _prove(claimed: _Claimed, proof_key: CardKey, random_bytes: RandomBytes) -> Conversation[None]:
    reply = claimed.session.prove(proof_key, claimed.enciphered_rnd_b, random_bytes=random_bytes)
    (proof_answer,) = yield from exchange(reply.apdu)
    try:
        reply.decode(proof_answer)
    except AuthenticationRefused as refused:
        raise ProofKeyRefused("the card does not accept the proof key of the number it claims") from refused
    except CardNotGenuine as failed:
        raise ProofWrong("the card did not return our random number under the proof key it claims") from failed


def _open_with_any(use: CardUse, locate: Sequence[CardKey], random_bytes: RandomBytes) -> Conversation[Session]:
    """Opens the application with the first locate key that the card accepts."""
    if not 1 <= len(locate) <= MAX_LOCATE_GENERATIONS:
        raise ValueError(f"{len(locate)} locate keys, allowed are 1 to {MAX_LOCATE_GENERATIONS}")
    *newer, oldest = locate
    for key in newer:
        try:
            return (yield from _open(use, key, random_bytes))
        except AuthenticationRefused:
            continue  # the card may predate the rotation
    return (yield from _open(use, oldest, random_bytes))


def _open(use: CardUse, locate: CardKey, random_bytes: RandomBytes) -> Conversation[Session]:
    select, begin = select_application(use.aid), authenticate_ev2_first(KEY_LOCATE)
    select_answer, begin_answer = yield from exchange(select.apdu, begin.apdu)
    select.decode(select_answer)
    reply = answer_ev2_first(locate, begin.decode(begin_answer), random_bytes=random_bytes)
    (reply_answer,) = yield from exchange(reply.apdu)
    return reply.decode(reply_answer)
