# SPDX-License-Identifier: EUPL-1.2
"""The readers of a rig and the file that describes them."""

import json
from pathlib import Path

import pytest

from rig.errors import ReadersFileError
from rig.pcscd import reader_conf_entry
from rig.readers import Device, doors, load_devices


def load(tmp_path: Path, content: object) -> tuple[Device, ...]:
    file = tmp_path / "readers.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_devices(file)


def test_eight_doors_have_sixteen_sides():
    """The names are those PC/SC shows; more than eight doors are refused because pcscd would drop them."""
    names = [reader.name for device in doors(8) for reader in device.readers]
    assert names[:3] == ["Door 1 00 00", "Door 1 00 01", "Door 2 00 00"]
    assert len(set(names)) == 16
    for count in (0, 9):
        with pytest.raises(ReadersFileError, match="allowed are 1 to 8"):
            doors(count)


def test_a_file_names_readers_and_interfaces(tmp_path):
    """Slots give the interface one by one; left out they are one contactless slot."""
    devices = load(tmp_path, [{"name": "Desk 1", "slots": ["contact", "contactless"]}, {"name": "Clock"}])
    shown = [(reader.name, reader.interface) for device in devices for reader in device.readers]
    assert shown == [("Desk 1 00 00", "contact"), ("Desk 1 00 01", "contactless"), ("Clock 00 00", "contactless")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not JSON"),
        ("[" * 5000, "not JSON"),
        ({"name": "Desk"}, "a list of devices"),
        ([], "allowed are 1 to 8"),
        ([{"name": f"Desk {number}"} for number in range(9)], "9 devices, allowed are 1 to 8"),
        ([{"name": "Desk"}, {"name": "Desk"}], "two devices are named 'Desk'"),
        ([{"name": "Desk"}, "Desk"], "device 2: an object"),
        ([{"name": "Desk", "port": 1}], "device 1: an object"),
        ([{"name": 'De"sk'}], "printable ASCII"),
        ([{"name": "Desk\nLIBPATH /tmp/evil.so"}], "printable ASCII"),
        ([{"name": "Tür 1"}], "printable ASCII"),
        ([{"name": "x" * 121}], "1 to 120"),
        ([{"name": " Desk"}], "spaces at the ends"),
        ([{"name": "Desk", "slots": []}], "one or two"),
        ([{"name": "Desk", "slots": ["contact"] * 3}], "one or two"),
        ([{"name": "Desk", "slots": ["magnetic"]}], "contactless or contact"),
        ([{"name": "Desk", "slots": [["contact"]]}], "contactless or contact"),
        ("[" + " " * 70000 + "]", "longer than 65536 bytes"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, content, complaint):
    """The message says which device is wrong and what is allowed."""
    with pytest.raises(ReadersFileError, match=complaint):
        load(tmp_path, content)


def test_a_missing_file_is_named(tmp_path):
    """The path and the reason are in the message."""
    with pytest.raises(ReadersFileError, match=r"none\.json cannot be read: No such file"):
        load_devices(tmp_path / "none.json")


def test_an_entry_of_reader_conf():
    """Name, port and the library of its own are in the entry."""
    assert reader_conf_entry("Door 1", Path("/r/ifd/libifdvpcd-0.so"), 21000).splitlines() == [
        'FRIENDLYNAME "Door 1"',
        "DEVICENAME /dev/null:21000",
        "LIBPATH /r/ifd/libifdvpcd-0.so",
        "CHANNELID 21000",
    ]
