# SPDX-License-Identifier: EUPL-1.2
"""A whole agent with fake readers and a scripted centre: well-behaved, hostile, slow, gone."""

import threading

from agent.scripted_centre import DOOR, Link, permit
from unit.readers.fakes import FakeCard

from cardservice.agents.messages import (
    CardApdus,
    CardPresent,
    CardResponses,
    Challenge,
    EventAck,
    EventId,
    EventRefused,
    Health,
    PointSetup,
    Refused,
    TapEvent,
    Welcome,
)
from readers import texts
from readers.outbox import read_aside
from readers.ports import CardArrived, CardRemoved, DriverDown, DriverUp, ReaderAppeared, ReaderFaulted, ReaderVanished

HASTY = DOOR.model_copy(update={"answer_budget_ms": 100})


async def until_health(link: Link, *, depth: int | None = None, present: list[str] | None = None) -> Health:
    """The first health message with this many waiting events, or with cards in exactly these readers."""
    while True:
        health = await link.expect(Health, skip=(Health, TapEvent))
        here = [reader.reader for reader in health.readers if reader.present]
        if (depth is None or health.outbox_depth == depth) and (present is None or here == present):
            return health


async def tap(link: Link, rig, reader: str = "Reader A", *, permitted: bool = True) -> TapEvent:
    """One quick tap, decided without a conversation."""
    rig.driver.insert(reader, FakeCard())
    present = await link.expect(CardPresent)
    await link.send(permit(present.event, permitted=permitted))
    return await link.expect(TapEvent)


async def test_a_permitted_tap_opens_reports_and_is_forgotten(make_rig):
    """Card in, conversation relayed, strike pulsed, event uploaded once and deleted after the acknowledgement."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    card = rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    assert (present.event.agent, present.event.sequence, present.point) == ("agent-1", 1, "door-1")
    await link.open_card(present)
    assert (await link.relay(0, "905a0000", "90710000")).responses == ("905a00009000", "907100009000")
    assert (await link.relay(1, "90af0000")).responses == ("90af00009000",)
    await link.send(permit(present.event))
    event = await link.expect(TapEvent)
    assert (event.event, event.outcome, event.permit) == (present.event, "acted", True)
    assert rig.door().pulses == [3_000]
    await link.send(EventAck(event=event.event))
    health = await until_health(link, depth=0)
    assert health.readers[0].last_good_tap_ms is not None
    assert card.resets == 1
    await rig.stop()
    rig.start()
    again = await rig.centre.link()
    second = await tap(again, rig)
    assert second.event.epoch > event.event.epoch
    assert second.event.sequence == 1


async def test_an_event_is_sent_again_until_it_is_acknowledged(make_rig):
    """Also over connections and restarts, always with the same content."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    event = await tap(link, rig)
    await link.close()
    link = await rig.centre.link()
    assert await link.expect(TapEvent) == event
    await rig.stop()
    rig.start()
    link = await rig.centre.link()
    assert await link.expect(TapEvent) == event
    await link.send(EventAck(event=event.event))
    await until_health(link, depth=0)


async def test_answers_for_events_that_are_not_on_their_way_are_ignored(make_rig):
    """Acknowledgements twice, for other agents, for the future, for an open tap: nothing is deleted by them."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    strangers = [
        present.event,
        present.event.model_copy(update={"sequence": 9}),
        EventId(agent="b", epoch=1, sequence=1),
    ]
    await link.send(*(EventAck(event=event) for event in strangers))
    await link.send(EventRefused(event=strangers[1], code="unseen_tap", message="?"))
    await link.send(permit(present.event))
    event = await link.expect(TapEvent)
    assert event.event == present.event
    await link.send(EventAck(event=event.event), EventAck(event=event.event))
    await until_health(link, depth=0)
    assert rig.count("ignored_messages_total", why="unknown_event") == 5


async def test_a_refused_event_is_set_aside_for_an_administrator(make_rig):
    """It does not block the ones behind it, and is not sent again after a restart."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    first = await tap(link, rig)
    await link.send(EventRefused(event=first.event, code="foreign_point", message="no"))
    await until_health(link, depth=0)
    await rig.stop()
    asides, _ = read_aside(rig.folder / "outbox.sqlite")
    assert [(aside.event, aside.code) for aside in asides] == [(first, "foreign_point")]
    rig.start()
    link = await rig.centre.link()
    assert (await tap(link, rig)).event != first.event


async def test_garbage_is_survived_and_too_much_of_it_ends_the_connection(make_rig):
    """Frames that are no messages, other versions, oversized batches: ignored, counted; then a new connection."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    huge = CardApdus.model_construct(conversation="c0", n=0, apdus=("905a0000",) * 9)
    await link.open_card(present)
    await link.send("{}", b"\xff\xfe", '{"type":"decision","v":2}', "[" * 10_000, huge)
    await link.send(Challenge(nonce="00", centre_time_ms=0), permit(present.event))
    assert (await link.expect(TapEvent)).outcome == "acted"
    assert rig.count("ignored_messages_total", why="garbage") == 5
    assert rig.count("ignored_messages_total", why="out_of_turn") == 1
    await link.send(*["x"] * 20)
    again = await rig.centre.link()
    assert (await again.expect(TapEvent)).event == present.event


async def test_new_points_hold_from_the_next_tap_on(make_rig):
    """A later welcome on the same connection: the tap under way ends where it began, the next is at the new point."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    moved = PointSetup(point="door-9", reader="Reader A", use="door", answer_budget_ms=5_000, tap_budget_ms=10_000)
    await link.send(Welcome(points=(moved,), centre_time_ms=0), permit(present.event))
    assert (await link.expect(TapEvent)).point == present.point
    await link.send(EventAck(event=present.event))
    rig.driver.remove("Reader A")
    rig.driver.insert("Reader A", FakeCard())
    assert (await link.expect(CardPresent)).point == "door-9"


async def test_a_frame_above_the_limit_ends_the_connection_and_is_not_read(make_rig):
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    await link.send(" " * (256 * 1024 + 1))
    assert (await rig.centre.link()).hello.epoch == link.hello.epoch


async def test_wrong_conversations_and_replays_never_reach_the_card(make_rig):
    """Only the conversation opened for the card that is there, and each exchange once."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    card = rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    await link.send(CardApdus(conversation="c0", n=0, apdus=("00000000",)))
    await link.open_card(present)
    await link.send(CardApdus(conversation="bad", n=0, apdus=("00000001",)))
    await link.send(CardApdus(conversation="c0", n=1, apdus=("00000002",)))
    await link.relay(0, "905a0000")
    await link.send(CardApdus(conversation="c0", n=0, apdus=("00000003",)))
    await link.send(permit(present.event.model_copy(update={"sequence": 2})))
    await link.send(permit(present.event, permitted=False), permit(present.event))
    event = await link.expect(TapEvent)
    assert (event.outcome, event.permit) == ("shown", False)
    assert card.apdus == [bytes.fromhex("905a0000")]
    assert rig.door().pulses == []


async def test_a_silent_centre_is_no_answer_and_a_late_decision_never_opens(make_rig):
    """The holder is told after the budget; the late permit is only noted."""
    rig = await make_rig(points=(HASTY,))
    rig.start()
    link = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    assert (await rig.door().next_show()).text == texts.CENTRE_UNREACHABLE
    await link.send(permit(present.event))
    event = await link.expect(TapEvent)
    assert (event.outcome, event.permit, event.receipt) == ("late", True, "ee" * 32)
    assert (rig.door().pulses, rig.door().leds) == ([], ["amber"])
    rig.driver.remove("Reader A")
    rig.driver.insert("Reader A", FakeCard())
    await link.expect(CardPresent)
    assert (await link.expect(TapEvent)).outcome == "no_answer"


async def test_a_connection_lost_in_mid_conversation_opens_nothing(make_rig):
    """The tap ends at once; its report is the first thing the next connection hears of it."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    card = rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    await link.open_card(present)
    await link.relay(0, "905a0000")
    await link.close()
    link = await rig.centre.link()
    event = await link.expect(TapEvent)
    assert (event.event, event.outcome) == (present.event, "no_answer")
    await link.send(permit(present.event), CardApdus(conversation="c0", n=1, apdus=("90af0000",)))
    await link.send(EventAck(event=event.event))
    await until_health(link, depth=0)
    assert (rig.door().pulses, card.apdus, card.resets) == ([], [bytes.fromhex("905a0000")], 1)


async def test_a_start_without_the_centre_knows_its_points_and_keeps_the_taps(make_rig):
    """Points are remembered; taps while the centre is away are uploaded when it comes back."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    await link.send(EventAck(event=(await tap(link, rig)).event))
    await until_health(link, depth=0)
    await rig.stop()
    address, rig.centre.port = rig.centre.port, 1
    assert (await rig.door().next_show()).led == "green"
    agent = rig.start()
    rig.driver.remove("Reader A")
    rig.driver.insert("Reader A", FakeCard())
    assert (await rig.door().next_show()).text == texts.CENTRE_UNREACHABLE
    await agent.stop()
    rig.centre.port = address
    await rig.stop()
    rig.start()
    link = await rig.centre.link()
    assert (await link.expect(TapEvent)).outcome == "no_answer"


async def test_a_card_left_lying_makes_one_tap_and_removal_arms_the_reader_again(make_rig):
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    first = await tap(link, rig)
    await until_health(link, present=["Reader A"])
    rig.driver.remove("Reader A")
    await until_health(link, present=[])
    second = await tap(link, rig)
    assert (first.event.sequence, second.event.sequence) == (1, 2)
    assert rig.door().pulses == [3_000, 3_000]


async def test_a_new_card_during_a_tap_waits_for_its_end(make_rig):
    """A swap ends the old conversation with `pulled`; the new card then gets a tap of its own."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    await link.open_card(present)
    second_card = FakeCard()
    rig.driver.mixes_up_cards = True
    rig.driver.remove("Reader A")
    rig.driver.insert("Reader A", second_card)
    rig.driver.tell(ReaderAppeared("Reader B"))
    while "Reader B" not in [reader.reader for reader in (await link.expect(Health)).readers]:
        pass
    assert (await link.relay(0, "905a0000")).gone == "pulled"
    assert second_card.apdus == []
    await link.send(permit(present.event))
    second = await link.expect(CardPresent, skip=(Health, TapEvent))
    assert second.event.sequence == 2
    await link.open_card(second, "c1")
    # The event of the first tap is uploaded whenever it is its turn.
    assert (await link.relay(0, "905a0000", conversation="c1", skip=(Health, TapEvent))).gone is None
    assert rig.door().pulses == []


async def test_contactless_flicker_is_one_tap(make_rig):
    """With a debounce, a card that reappears right after a decided tap is the same card; later it is a new tap."""
    rig = await make_rig()
    rig.start(removal_debounce_ms=5_000)
    link = await rig.centre.link()
    await tap(link, rig)
    for _ in range(3):
        rig.driver.remove("Reader A")
        rig.driver.insert("Reader A", FakeCard())
    rig.driver.tell(CardArrived("Reader B", b""))
    assert (await link.expect(CardPresent, skip=(Health, TapEvent))).event.sequence == 2
    assert len(rig.door().pulses) == 1


async def test_a_slow_reader_does_not_delay_another(make_rig):
    """While the card in one reader thinks, the other reader's tap is served from beginning to end."""
    rig = await make_rig(points=(DOOR, PointSetup(point="door-2", reader="Reader B", use="door")))
    rig.driver.tell(ReaderAppeared("Reader B"))
    rig.start()
    link = await rig.centre.link()
    gate = threading.Event()
    try:
        rig.driver.insert("Reader A", FakeCard(lambda _apdu: b"\x90\x00" if gate.wait(30) else b""))
        slow = await link.expect(CardPresent)
        await link.open_card(slow)
        await link.send(CardApdus(conversation="c0", n=0, apdus=("905a0000",)))
        quick = await tap(link, rig, "Reader B")
        assert (quick.point, quick.outcome) == ("door-2", "acted")
        assert rig.door("door-2").pulses == [3_000]
    finally:
        gate.set()
    assert (await link.expect(CardResponses, skip=(Health, TapEvent))).responses == ("9000",)


async def test_points_choose_how_the_card_is_connected(make_rig):
    """Exclusive everywhere but at workstations, whose readers belong to the logon software as well."""
    desk = PointSetup(point="desk-1", reader="Reader B", use="workstation")
    rig = await make_rig("Reader A", "Reader B", points=(DOOR, desk))
    rig.start()
    link = await rig.centre.link()
    for reader, exclusive in (("Reader A", True), ("Reader B", False)):
        card = rig.driver.insert(reader, FakeCard())
        present = await link.expect(CardPresent, skip=(Health, TapEvent))
        await link.open_card(present, reader[-1].lower())
        await link.relay(0, "905a0000", conversation=reader[-1].lower())
        assert card.exclusive is exclusive
        await link.send(permit(present.event))
        await link.expect(TapEvent)


async def test_a_card_found_in_a_door_is_asked_for_again_and_at_a_desk_it_counts(make_rig):
    """The holder may be long gone: a restart of the agent or of pcscd opens no door by itself."""
    desk = PointSetup(point="desk-1", reader="Reader B", use="workstation")
    rig = await make_rig("Reader A", "Reader B", points=(DOOR, desk))
    rig.driver.insert("Reader A", FakeCard(), found=True)
    rig.driver.insert("Reader B", FakeCard(), found=True)
    rig.start()
    link = await rig.centre.link()
    assert (await link.expect(CardPresent)).point == "desk-1"
    assert [shown.text for shown in rig.door().shows] == [texts.PRESENT_AGAIN]
    rig.driver.remove("Reader A")
    rig.driver.insert("Reader A", FakeCard())
    assert (await link.expect(CardPresent, skip=(Health, TapEvent))).point == "door-1"


async def test_readers_and_driver_that_come_and_go_are_told(make_rig):
    """Health says what can be used now; cards in lost readers are forgotten."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    rig.driver.tell(ReaderAppeared("Reader B"))
    rig.driver.insert("Reader B", FakeCard(), found=True)
    await until_health(link, present=["Reader B"])
    rig.driver.tell(ReaderFaulted("Reader A", "twice"))
    while len((await link.expect(Health)).readers) != 1:
        pass
    rig.driver.tell(DriverDown("gone"))
    while (health := await link.expect(Health)).pcsc != "down":
        pass
    assert health.readers == ()
    assert rig.count("pcsc_up") == 0
    for event in (DriverUp(), ReaderAppeared("Reader B"), ReaderVanished("Reader A"), CardRemoved("never seen")):
        rig.driver.tell(event)
    while (health := await link.expect(Health)).pcsc != "in_process" or len(health.readers) != 1:
        pass
    assert health.readers[0].present is False


async def test_a_reader_without_a_point_makes_no_tap(make_rig):
    """Nothing is invented for a reader the centre did not assign."""
    rig = await make_rig(points=(PointSetup(point="door-1", reader="Reader A", use="door"),))
    rig.start()
    link = await rig.centre.link()
    rig.driver.insert("Reader X", FakeCard())
    assert (await tap(link, rig)).event.sequence == 1
    assert rig.count("faults_total", what="no_point") == 1


async def test_a_refused_agent_keeps_trying_and_comes_back(make_rig):
    """Locked, replaced, overloaded: the agent waits longer, and serves again when the centre lets it."""
    rig = await make_rig()
    rig.centre.instead_of_welcome = [Refused(code="locked", message="ask the administrator")] * 2
    rig.start()
    link = await rig.centre.link()
    assert (await tap(link, rig)).outcome == "acted"
    assert len(rig.centre.hellos) == 3
    assert {hello.epoch for hello in rig.centre.hellos} == {link.hello.epoch}


async def test_a_centre_that_speaks_something_else_is_left(make_rig):
    """No challenge, no welcome, another protocol: the connection is dropped, nothing is sent to it but the hello."""
    rig = await make_rig()
    rig.centre.instead_of_challenge = ["hello", Welcome(points=(), centre_time_ms=0), b"\x00"]
    rig.centre.instead_of_welcome = ["hello", EventAck(event=EventId(agent="a", epoch=1, sequence=1))]
    rig.start()
    link = await rig.centre.link()
    assert (await tap(link, rig)).outcome == "acted"
    assert len(rig.centre.hellos) == 3


async def test_stopping_lets_a_tap_end_and_closes_everything(make_rig):
    """The running tap gets its decision; the driver is closed; the outbox can be opened by another process."""
    rig = await make_rig()
    agent = rig.start()
    link = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    agent.request_stop()
    await link.send(permit(present.event))
    await agent.stop()
    assert rig.door().pulses == [3_000]
    assert rig.driver.closed is True
    await rig.stop()
    rig.start()
    link = await rig.centre.link()
    assert (await link.expect(TapEvent)).outcome == "acted"
