# SPDX-License-Identifier: EUPL-1.2
"""The readers of a rig: eight doors with two sides each, or what a JSON file describes.

The file is a list of devices: `[{"name": "Desk 1", "slots": ["contact"]}]`; `slots` gives the interface of each
slot ("contactless" or "contact", one or two slots) and may be left out: one contactless slot.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig.bank import INTERFACES, ReaderSpec
from rig.errors import ReadersFileError

SLOTS_PER_DEVICE = 2
"""The virtual reader driver always opens two slots; the second one of a one-slot device stays empty."""
MAX_SLOTS = 16
"""PCSCLITE_MAX_READERS_CONTEXTS: pcscd drops further readers without a word."""
MAX_DEVICES = MAX_SLOTS // SLOTS_PER_DEVICE
MAX_NAME_CHARS = 120
"""pcscd has 127 bytes for a name and appends six characters."""
NAME_RULE = f"1 to {MAX_NAME_CHARS} printable ASCII characters without quotes, backslashes and spaces at the ends"
MAX_FILE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Device:
    """One entry of pcscd's reader.conf: its friendly name and the interface of each slot in use.

    `shown_as` is the friendly name pcscd is told where it differs from the rig's own.
    """

    name: str
    slots: tuple[str, ...] = ("contactless",)
    shown_as: str | None = None

    @property
    def readers(self) -> tuple[ReaderSpec, ...]:
        """The slots under the names PC/SC shows, for example "Door 1 00 00" and "Door 1 00 01"."""
        return tuple(ReaderSpec(f"{self.name} 00 {slot:02X}", kind) for slot, kind in enumerate(self.slots))


def doors(count: int) -> tuple[Device, ...]:
    """Doors 1 to `count` (1 to 8); slot 0 is the outside, slot 1 the inside.

    Raises:
        ReadersFileError: more or fewer doors than pcscd takes.
    """
    if not 1 <= count <= MAX_DEVICES:
        raise ReadersFileError(
            f"{count} doors asked for, allowed are 1 to {MAX_DEVICES}: pcscd takes {MAX_SLOTS} readers, a door has two"
        )
    return tuple(Device(f"Door {number}", ("contactless", "contactless")) for number in range(1, count + 1))


def load_devices(path: Path) -> tuple[Device, ...]:
    """Read a readers file.

    Raises:
        ReadersFileError: it cannot be read, or an entry is wrong; the message names the entry.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ReadersFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_FILE_BYTES:
        raise ReadersFileError(f"{path} is longer than {MAX_FILE_BYTES} bytes")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadersFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise ReadersFileError(f"{path} must hold a list of devices")
    devices = tuple(_device(entry, f"{path}, device {number}") for number, entry in enumerate(entries, 1))
    check_devices(devices)
    return devices


def check_devices(devices: Sequence[Device]) -> None:
    """Refuse what pcscd would silently drop or mix up.

    Raises:
        ReadersFileError: none or too many devices, or a name twice.
    """
    if not 1 <= len(devices) <= MAX_DEVICES:
        raise ReadersFileError(
            f"{len(devices)} devices, allowed are 1 to {MAX_DEVICES}: pcscd takes {MAX_SLOTS} readers and "
            f"every device of the virtual driver counts as {SLOTS_PER_DEVICE}, even when one slot is used"
        )
    names = [device.name for device in devices]
    for name in names:
        if names.count(name) > 1:
            raise ReadersFileError(f"two devices are named {name!r}; pcscd would not tell them apart")


def _device(entry: Any, where: str) -> Device:
    if not isinstance(entry, dict) or not set(entry) <= {"name", "slots"}:
        raise ReadersFileError(f'{where}: an object with "name" and, if wanted, "slots" is allowed')
    name, slots = entry.get("name"), entry.get("slots", ["contactless"])
    if not isinstance(name, str) or not is_reader_name(name):
        raise ReadersFileError(f"{where}: the name must be {NAME_RULE}")
    if not isinstance(slots, list) or not 1 <= len(slots) <= SLOTS_PER_DEVICE:
        raise ReadersFileError(f"{where}: slots must be a list of one or two interfaces")
    if any(slot not in INTERFACES for slot in slots):
        raise ReadersFileError(f"{where}: an interface is {' or '.join(INTERFACES)}")
    return Device(name, tuple(slots))


def is_reader_name(name: str) -> bool:
    """Whether pcscd takes it as a friendly name, see `NAME_RULE`."""
    plain = name.isascii() and name.isprintable() and not set(name) & {'"', "\\"}
    return plain and name == name.strip() and 1 <= len(name) <= MAX_NAME_CHARS
