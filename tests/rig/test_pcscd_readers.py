# SPDX-License-Identifier: EUPL-1.2
"""Virtual cards as a PC/SC client sees them through the real pcscd."""

import json
import statistics
from pathlib import Path

import pytest

from rig.errors import ControlError

pytestmark = pytest.mark.pcscd

OUTSIDE, INSIDE = "Door 1 00 00", "Door 1 00 01"
W_REMOVED_CARD = 0x80100069
E_TIMEOUT = 0x8010000A


def inserted(rig, pcsc, card="card 1"):
    """Put a card outside, wait until the client sees it, and connect."""
    client = pcsc(rig)
    with rig.client() as control:
        control.insert(card, OUTSIDE)
    assert client("await_state", readers=[OUTSIDE], state="present", timeout_s=5)["code"] == 0
    assert client("connect", reader=OUTSIDE) == {"code": 0}
    return client


def test_sixteen_readers_and_sixteen_cards(capability, start_rig, run_dir, pcsc):
    """PC/SC shows exactly the readers announced, and sixteen cards are told apart by their ATR."""
    rig = start_rig(run_dir)
    client = pcsc(rig)
    assert sorted(client("readers")["readers"]) == sorted(rig.readers)
    assert sorted(rig.readers) == sorted(f"Door {door} 00 0{side}" for door in range(1, 9) for side in (0, 1))
    names = list(rig.readers)
    with rig.client() as control:
        for number, name in enumerate(names):
            control.insert(f"card {number}", name)
    seen = client("await_state", readers=names, state="present", timeout_s=5)
    assert seen["code"] == 0
    assert [seen["atrs"][name] for name in names] == [f"3b8180018080{number:02x}" for number in range(16)]


def test_insertion_and_removal_are_seen_within_a_second(rig, pcsc):
    """An insertion and a removal each reach SCardGetStatusChange within one second."""
    client = pcsc(rig)
    with rig.client() as control:
        for _ in range(3):
            control.insert("card 1", OUTSIDE)
            assert client("await_state", readers=[OUTSIDE], state="present", timeout_s=1.0)["code"] == 0
            control.eject(OUTSIDE)
            assert client("await_state", readers=[OUTSIDE], state="empty", timeout_s=1.0)["code"] == 0


def test_apdus_are_echoed_fast(rig, pcsc):
    """An APDU comes back unchanged, and without the 40 ms of a delayed acknowledgement."""
    client = inserted(rig, pcsc)
    answer = client("transmit", reader=OUTSIDE, apdu="00a4040005a000000308", repeat=50)
    assert answer["answer"] == "00a4040005a0000003089000"
    assert statistics.median(answer["took_s"]) < 0.020


def test_a_command_of_one_byte_is_no_control(rig, pcsc):
    """Native DESFire commands of a single byte reach the card."""
    client = inserted(rig, pcsc)
    for command in ("60", "6a", "af"):
        assert client("transmit", reader=OUTSIDE, apdu=command)["answer"] == command + "9000"


def test_a_frame_of_65_kilobytes_survives(rig, pcsc):
    """The longest frame vpcd can carry goes through in both directions."""
    client = inserted(rig, pcsc)
    apdu = "00d60000" + "00ffef" + "5a" * 0xFFEF
    answer = client("transmit", reader=OUTSIDE, apdu=apdu)
    assert answer["code"] == 0
    assert answer["answer"] == apdu + "9000"


@pytest.mark.parametrize("executed", [True, False])
def test_a_card_pulled_in_the_middle_of_an_apdu(rig, pcsc, executed):
    """The APDU gets no valid response, the next one says the card is gone."""
    client = inserted(rig, pcsc)
    with rig.client() as control:
        control.pull_after(OUTSIDE, 2, executed=executed)
        assert client("transmit", reader=OUTSIDE, apdu="0084000008")["answer"] == "00840000089000"
        assert client("transmit", reader=OUTSIDE, apdu="0084000008")["answer"] == ""
        assert client("await_state", readers=[OUTSIDE], state="empty", timeout_s=2)["code"] == 0
        assert client("transmit", reader=OUTSIDE, apdu="0084000008")["code"] == W_REMOVED_CARD
        assert control.state()["readers"][OUTSIDE]["state"] == "empty"


@pytest.mark.parametrize("card", ["leaving", "broken"])
def test_a_card_that_leaves_or_breaks_by_itself(rig, pcsc, card):
    """CardPulled and any other failure inside a card end as a removal; the reader goes on."""
    client = inserted(rig, pcsc, card)
    assert client("transmit", reader=OUTSIDE, apdu="0084000008")["answer"] == ""
    assert client("await_state", readers=[OUTSIDE], state="empty", timeout_s=2)["code"] == 0
    with rig.client() as control:
        control.insert("card 2", OUTSIDE)
    assert client("await_state", readers=[OUTSIDE], state="present", timeout_s=2)["code"] == 0


@pytest.mark.parametrize("card", ["mute", "overlong", "leaving", "card 1"])
def test_a_card_changed_around_a_command_is_never_mistaken(rig, pcsc, card):
    """Whenever a command meets the change, PC/SC notices it: the old handle fails and the next card is usable."""
    client = inserted(rig, pcsc, card)
    with rig.client() as control:
        if card == "card 1":
            control.swap("card 2", OUTSIDE)
        assert client("transmit", reader=OUTSIDE, apdu="0084000008")["answer"] == ""
        if card == "leaving":
            control.insert("card 2", OUTSIDE)
        elif card != "card 1":
            assert control.swap("card 2", OUTSIDE) == card
    assert client("await_state", readers=[OUTSIDE], state="empty", timeout_s=5)["code"] == 0
    assert client("transmit", reader=OUTSIDE, apdu="60")["code"] == W_REMOVED_CARD
    seen = client("await_state", readers=[OUTSIDE], state="present", timeout_s=5)
    assert seen["atrs"][OUTSIDE] == "3b818001808002"
    client("disconnect", reader=OUTSIDE)
    assert client("connect", reader=OUTSIDE) == {"code": 0}
    assert client("transmit", reader=OUTSIDE, apdu="60")["answer"] == "609000"


def test_a_mute_card_is_seen_leaving_and_coming_back(rig, pcsc):
    """A card that gives no answer blocks no client and stays in its reader."""
    client = inserted(rig, pcsc, "mute")
    assert client("transmit", reader=OUTSIDE, apdu="0084000008")["answer"] == ""
    assert client("await_state", readers=[OUTSIDE], state="empty", timeout_s=5)["code"] == 0
    assert client("await_state", readers=[OUTSIDE], state="present", timeout_s=5)["code"] == 0
    with rig.client() as control:
        assert control.state()["readers"][OUTSIDE]["card"] == "mute"


def test_a_swap_between_two_looks_is_noticed(rig, pcsc):
    """After a swap the ATR is the new card's and the event counter has moved."""
    client = inserted(rig, pcsc)
    before = client("await_state", readers=[OUTSIDE], state="present", timeout_s=2)
    with rig.client() as control:
        assert control.swap("card 2", OUTSIDE) == "card 1"
    gone = client("await_state", readers=[OUTSIDE], state="empty", timeout_s=2)
    after = client("await_state", readers=[OUTSIDE], state="present", timeout_s=2)
    assert gone["code"] == 0
    assert after["atrs"][OUTSIDE] == "3b818001808002"
    assert after["known"][OUTSIDE] >> 16 > before["known"][OUTSIDE] >> 16


def test_cards_put_in_faster_than_pcscd_looks(rig, pcsc):
    """Ten cards in quick succession leave the last one in the reader, seen and usable."""
    client = pcsc(rig)
    with rig.client() as control:
        control.insert("card 0", OUTSIDE)
        for number in range(1, 10):
            control.swap(f"card {number}", OUTSIDE)
        for _ in range(20):
            seen = client("await_state", readers=[OUTSIDE], state="present", timeout_s=5)
            if seen["atrs"][OUTSIDE] == "3b818001808009":
                break
            client("await_state", readers=[OUTSIDE], state="empty", timeout_s=1)
        else:
            pytest.fail("the last card never showed")
    assert client("connect", reader=OUTSIDE)["code"] == 0
    assert client("transmit", reader=OUTSIDE, apdu="60")["answer"] == "609000"


def test_double_insertion_is_refused(rig):
    """A card has one place and a reader holds one card; the refusal names both."""
    with rig.client() as control:
        control.insert("card 1", OUTSIDE)
        with pytest.raises(ControlError, match="card 'card 1' is in 'Door 1 00 00' already"):
            control.insert("card 1", INSIDE)
        with pytest.raises(ControlError, match="holds card 'card 1'"):
            control.insert("card 2", OUTSIDE)


def test_an_unplugged_reader_disappears_and_comes_back_with_its_card(capability, start_rig, run_dir, pcsc):
    """Unplugging takes all slots of a device away, plugging in brings them back with the card."""
    rig = start_rig(run_dir, "--doors", "2")
    with rig.client() as control:
        control.insert("card 1", OUTSIDE)
        control.remove_reader(OUTSIDE)
        assert sorted(pcsc(rig)("readers")["readers"]) == ["Door 2 00 00", "Door 2 00 01"]
        assert control.state()["readers"][INSIDE]["state"] == "unavailable"
        control.restore_reader(OUTSIDE)
    client = pcsc(rig)
    assert sorted(client("readers")["readers"]) == sorted(rig.readers)
    assert client("await_state", readers=[OUTSIDE], state="present", timeout_s=2)["code"] == 0


def test_readers_from_a_file(capability, start_rig, run_dir, pcsc, tmp_path):
    """A readers file names the readers; a one-slot reader is announced once, its second slot stays empty."""
    devices = [{"name": "Desk 12 - PC (left)", "slots": ["contact"]}]
    file = tmp_path / "readers.json"
    file.write_text(json.dumps(devices))
    rig = start_rig(run_dir, "--readers", str(file))
    announced = {"Desk 12 - PC (left) 00 00": {"spec": "Desk 12 - PC (left)", "slot": 0, "interface": "contact"}}
    assert rig.readers == announced
    client = pcsc(rig)
    assert set(announced) <= set(client("readers")["readers"])
    assert client("await_state", readers=["Desk 12 - PC (left) 00 01"], state="empty", timeout_s=1)["code"] == 0


def test_the_cards_are_shut_off_from_the_host(capability, start_rig, run_dir, pcsc):
    """Cards and pcscd live in a network of their own: vpcd's open ports cannot be reached from outside."""
    if capability.mode != "namespace":
        pytest.skip("this machine allows no private namespaces")
    rig = start_rig(run_dir, "--doors", "1")
    client = inserted(rig, pcsc, "network")
    inside = bytes.fromhex(client("transmit", reader=OUTSIDE, apdu="ca")["answer"])[:-2].decode()
    assert inside.startswith("net:[")
    assert inside != str(Path("/proc/self/ns/net").readlink())
    with rig.client() as control:
        pcscd_pid = control.state()["pcscd"]["pid"]
    assert str(Path(f"/proc/{pcscd_pid}/ns/net").readlink()) == inside
