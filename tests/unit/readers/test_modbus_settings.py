# SPDX-License-Identifier: EUPL-1.2
"""The section [modbus] of the agent's settings: what it says by itself, and what is refused by name."""

from pathlib import Path

import pytest

from readers.errors import SettingsFault
from readers.settings import load_settings

PLAIN = 'agent = "rathaus"\ncentre_url = "wss://centre.example/agents/v1"\n'
MODBUS = """outputs = "modbus"
[modbus]
host = "192.0.2.7"
[modbus.points."haupteingang.aussen"]
strike = 0
contact = 0
rex = 1
[modbus.points."haupteingang.innen"]
strike = 0
"""


def loaded(tmp_path: Path, text: str):
    file = tmp_path / "agent.toml"
    file.write_text(text)
    return load_settings(file)


def test_a_module_with_its_points(tmp_path):
    """The rest is what most modules and loops are like."""
    section = loaded(tmp_path, PLAIN + MODBUS).modbus
    assert section is not None
    assert (section.host, section.port, section.unit) == ("192.0.2.7", 502, 1)
    assert (section.poll_ms, section.timeout_ms) == (50, 300)
    outside, inside = section.points["haupteingang.aussen"], section.points["haupteingang.innen"]
    assert (outside.strike, outside.contact, outside.rex, outside.tamper) == (0, 0, 1, None)
    assert (outside.contact_closed, outside.rex_pressed, outside.tamper_fine) == (True, True, True)
    assert (inside.strike, inside.contact) == (0, None)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("strike = 0\ncontact", "contact"), r"modbus.points.haupteingang.aussen.strike: Field required"),
        (("rex = 1", "rex = 65536"), "modbus.points.haupteingang.aussen.rex: .*65535"),
        (("rex = 1", "bell = 1"), "modbus.points.haupteingang.aussen.bell"),
        (('host = "192.0.2.7"', ""), "modbus.host: Field required"),
        (('"192.0.2.7"', '"a b"'), "modbus.host"),
        (('host = "192.0.2.7"', 'host = "a"\npoll_ms = 1'), "modbus.poll_ms: .*20"),
        (('host = "192.0.2.7"', 'host = "a"\ntimeout_ms = 60000'), "modbus.timeout_ms: .*2000"),
        (('host = "192.0.2.7"', 'host = "a"\nunit = 256'), "modbus.unit"),
        (('"haupteingang.innen"', '"Haupteingang"'), "modbus.points.Haupteingang"),
        (('outputs = "modbus"', ""), "belong together"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changed, words):
    with pytest.raises(SettingsFault, match=words):
        loaded(tmp_path, PLAIN + MODBUS.replace(*changed))


def test_outputs_on_modbus_need_their_section(tmp_path):
    with pytest.raises(SettingsFault, match="belong together"):
        loaded(tmp_path, PLAIN + 'outputs = "modbus"\n')


def test_the_environment_may_hold_the_section(tmp_path, monkeypatch):
    """As JSON; what is none is a fault that names the setting, not a crash."""
    monkeypatch.setenv("CARDSERVICE_AGENT_MODBUS", '{"host": "a", "points": {"door": {"strike": 3}}}')
    section = loaded(tmp_path, PLAIN + 'outputs = "modbus"\n').modbus
    assert section is not None
    assert section.points["door"].strike == 3
    monkeypatch.setenv("CARDSERVICE_AGENT_MODBUS", "{")
    with pytest.raises(SettingsFault, match="modbus: Input should be a valid dictionary"):
        loaded(tmp_path, PLAIN + 'outputs = "modbus"\n')
