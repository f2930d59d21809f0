# SPDX-License-Identifier: EUPL-1.2
"""An encoder of a whole agent: cards on it are visits and never taps; only the centre's commands are sent."""

from typing import Any

from agent.scripted_centre import Link
from unit.readers.fakes import FakeCard

from cardservice.agents.encoder_messages import EncoderApdus, EncoderRelease, EncoderResponses, EncoderState
from cardservice.agents.messages import (
    CardPresent,
    Health,
)

DOOR_READER, ENCODER = "Reader A", "Reader B"
SELECT = "905a00000300000000"


async def started(make_rig) -> tuple[Any, Link]:
    """A running agent with a door's reader and an encoder, which the point for any reader would serve too."""
    rig = await make_rig(DOOR_READER, ENCODER)
    rig.start(encoder_readers=(ENCODER,))
    link = await rig.centre.link()
    while not (await link.expect(EncoderState, skip=(Health,))).usable:
        pass
    return rig, link


async def laid(rig: Any, link: Link, card: FakeCard) -> str:
    rig.driver.insert(ENCODER, card)
    while (state := await link.expect(EncoderState, skip=(Health,))).visit is None:
        pass
    return str(state.visit)


def apdus(visit: str, n: int, *commands: str, conversation: str = "c0") -> EncoderApdus:
    return EncoderApdus(reader=ENCODER, visit=visit, conversation=conversation, n=n, apdus=commands)


async def test_a_card_on_an_encoder_is_written_and_never_a_tap(make_rig):
    """Commands are transmitted in order and answered once; a new conversation powers the card up anew."""
    rig, link = await started(make_rig)
    card = FakeCard()
    visit = await laid(rig, link, card)
    await link.send(apdus(visit, 0, SELECT, SELECT))
    answered = await link.expect(EncoderResponses, skip=(Health,))
    assert (answered.reader, answered.conversation, answered.n, answered.gone) == (ENCODER, "c0", 0, None)
    assert answered.responses == (SELECT + "9000",) * 2
    await link.send(apdus(visit, 1, SELECT))
    assert (await link.expect(EncoderResponses, skip=(Health,))).n == 1
    before = card.resets
    await link.send(apdus(visit, 0, SELECT, conversation="c1"))
    assert (await link.expect(EncoderResponses, skip=(Health,))).conversation == "c1"
    assert card.resets == before + 1
    await link.send(EncoderRelease(reader=ENCODER, visit=visit))
    # A tap at the other reader is the first thing that the outbox ever saw.
    rig.driver.insert(DOOR_READER, FakeCard())
    present = await link.expect(CardPresent, skip=(Health,))
    assert (present.event.sequence, present.point) == (1, "door-1")
    assert card.resets == before + 2


async def test_what_is_not_for_the_card_that_lies_there_is_not_transmitted(make_rig):
    """Another visit, an exchange out of turn, a reader that is no encoder, a command too short: ignored and counted."""
    rig, link = await started(make_rig)
    card = FakeCard()
    visit = await laid(rig, link, card)
    strange = apdus(visit, 0, SELECT)
    await link.send(
        apdus("0f" * 16, 0, SELECT),
        apdus(visit, 3, SELECT),
        strange.model_copy(update={"reader": DOOR_READER}),
        apdus(visit, 0, "90"),
        EncoderRelease(reader=ENCODER, visit="0f" * 16),
        apdus(visit, 0, SELECT),
    )
    assert (await link.expect(EncoderResponses, skip=(Health,))).responses == (SELECT + "9000",)
    for why in ("another_card", "out_of_turn", "no_card", "bad_apdu"):
        assert rig.count("ignored_messages_total", why=why) == 1, why


async def test_a_card_that_is_taken_away_ends_its_visit(make_rig):
    """What was asked of it is answered with `pulled`; the next card is another visit."""
    rig, link = await started(make_rig)
    first = await laid(rig, link, FakeCard())
    rig.driver.remove(ENCODER)
    assert (await link.expect(EncoderState, skip=(Health,))).visit is None
    await link.send(apdus(first, 0, SELECT))
    second = await laid(rig, link, FakeCard())
    assert second != first
    await link.send(apdus(second, 0, SELECT))
    answered = await link.expect(EncoderResponses, skip=(Health,))
    assert answered.gone is None
    assert rig.count("ignored_messages_total", why="no_card") == 1


async def test_a_centre_that_comes_back_is_told_what_lies_there(make_rig):
    """The card was not moved: it is the same visit, and begins with a card that was powered up anew."""
    rig, link = await started(make_rig)
    card = FakeCard()
    visit = await laid(rig, link, card)
    await link.send(apdus(visit, 0, SELECT))
    await link.expect(EncoderResponses, skip=(Health,))
    await link.close()
    link = await rig.centre.link()
    assert (await link.expect(EncoderState, skip=(Health,))).visit == visit
    await link.send(apdus(visit, 0, SELECT, conversation="c9"))
    assert (await link.expect(EncoderResponses, skip=(Health,))).responses == (SELECT + "9000",)
    assert card.resets == 1
