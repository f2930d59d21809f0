# SPDX-License-Identifier: EUPL-1.2
"""A whole tap, from the card in a fake reader to the event a scripted centre acknowledges."""

from agent.scripted_centre import permit
from unit.readers.fakes import FakeCard

from cardservice.agents.messages import CardPresent, EventAck, TapEvent


async def test_a_permitted_tap_opens_reports_and_is_forgotten(make_rig):
    """Card in, conversation relayed, strike pulsed, event uploaded once and deleted after the acknowledgement."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    card = rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    assert (present.event.agent, present.event.sequence, present.point) == ("agent-1", 1, "door-1")
    await link.open_card(present)
    first = await link.relay(0, "905a0000", "90710000")
    assert first.responses == ("905a00009000", "907100009000")
    second = await link.relay(1, "90af0000")
    assert second.responses == ("90af00009000",)
    await link.send(permit(present.event))
    event = await link.expect(TapEvent)
    assert (event.event, event.outcome, event.permit) == (present.event, "acted", True)
    assert {"pcsc_connect", "card", "centre", "output", "total", "store"} <= event.stages_us.keys()
    assert rig.door().pulses == [3_000]
    assert rig.door().leds == ["green"]
    await link.send(EventAck(event=event.event))
    assert card.resets == 1
    await rig.stop()
    rig.start()
    again = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await again.expect(CardPresent)
    assert present.event.epoch > event.event.epoch
    assert present.event.sequence == 1
