# SPDX-License-Identifier: EUPL-1.2
"""The agent as it is deployed: its own process, a real pcscd with virtual cards, simulated doors, a scripted centre."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent.scripted_centre import Link, ScriptedCentre, permit, running

from cardservice.agents.messages import CardPresent, EventAck, Health, OutputState, TapEvent
from readers.identity import Identity
from rig.process import RigProcess

pytestmark = pytest.mark.pcscd

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OUTSIDE = "Door 1 00 00"


@pytest.fixture
async def deployed(tmp_path) -> AsyncIterator[tuple[RigProcess, ScriptedCentre]]:
    """A rig with one door, a centre, and `python -m readers run` between them."""
    key = tmp_path / "agent.key"
    public_key_hex = Identity.create(key).public_key_hex()
    with tempfile.TemporaryDirectory(prefix="agent-") as folder:
        loader, arguments = "echo_deck:load_deck", ["--doors", "1"]
        run_dir = Path(folder) / "run"
        rig = await asyncio.to_thread(
            lambda: RigProcess(run_dir, deck=Path(os.devnull), loader=loader, arguments=arguments, python_path=[HERE])
        )
        async with running(ScriptedCentre(public_key_hex)) as centre:
            settings = {
                "AGENT": "agent-1",
                "CENTRE_URL": centre.url,
                "KEY_FILE": str(key),
                "OUTBOX_FILE": str(tmp_path / "outbox.sqlite"),
                "PCSC_SOCKET": rig.pcsc_socket or "",
            }
            environment = {f"CARDSERVICE_AGENT_{name}": value for name, value in settings.items()}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "readers", "run"),
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
            )
            yield rig, centre
            process.terminate()
            _, said = await process.communicate()
            rig.stop()
    log = said.decode()
    assert process.returncode == 0, log
    for line in log.splitlines():
        assert {"event", "level", "timestamp"} <= json.loads(line).keys()
    assert "3b8180" not in log, "an answer to reset is in the log"


async def reader_is_up(link: Link) -> None:
    while OUTSIDE not in [reader.reader for reader in (await link.expect(Health)).readers]:
        pass


async def one_tap(link: Link, conversation: str) -> tuple[TapEvent, list[OutputState]]:
    """A permitted tap with two exchanges."""
    present = await link.expect(CardPresent, skip=(Health, TapEvent, OutputState))
    await link.open_card(present, conversation)
    first = await link.relay(0, "00a4040000", "00a4040000", conversation=conversation)
    assert first.responses == ("00a4040000019000", "00a4040000029000")
    link.noted.clear()
    await link.send(permit(present.event, open_ms=100))
    event = await link.expect(TapEvent)
    await link.send(EventAck(event=event.event))
    return event, [message for message in link.noted if isinstance(message, OutputState)]


async def test_taps_before_and_after_a_restart_of_pcscd(deployed):
    """Card in, conversation through pcscd, door released and locked again; after pcscd came back the next tap works."""
    rig, centre = deployed
    link = await centre.link()
    await reader_is_up(link)
    with rig.client() as control:
        control.insert("card 1", OUTSIDE)
        event, outputs = await one_tap(link, "c0")
        assert (event.outcome, event.event.sequence) == ("acted", 1)
        assert ("released", "off") in [(output.state, output.led) for output in outputs]
        while (await link.expect(OutputState)).state != "locked":
            pass
        control.kill_pcscd()
        while (await link.expect(Health)).pcsc != "down":
            pass
        control.eject(OUTSIDE)
        control.restart_pcscd()
        await reader_is_up(link)
        control.insert("card 2", OUTSIDE)
        event, _ = await one_tap(link, "c1")
        assert (event.outcome, event.event.sequence) == ("acted", 2)


async def test_a_card_pulled_out_of_the_real_reader(deployed):
    """Pulled in the second command: the first answer and `pulled` are relayed, and the tap is `card_gone`."""
    rig, centre = deployed
    link = await centre.link()
    await reader_is_up(link)
    with rig.client() as control:
        control.insert("card 1", OUTSIDE)
        present = await link.expect(CardPresent)
        assert present.atr == "3b818001808001"
        await link.open_card(present)
        control.pull_after(OUTSIDE, 2)
        answered = await link.relay(0, "00a4040000", "00a4040000")
        assert (answered.responses, answered.gone) == (("00a4040000019000",), "pulled")
        await link.send(permit(present.event, permitted=False))
        assert (await link.expect(TapEvent)).outcome == "card_gone"
