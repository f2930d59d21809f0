# SPDX-License-Identifier: EUPL-1.2
"""Everything that a reader without any key can read from a card: the view of whoever holds one to your pocket.

The places are named for people. A card may refuse each of them; only that it leaves ends the conversation.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from cardservice.chip.apdu import CommandApdu, ResponseApdu, transceive
from cardservice.chip.conversation import Conversation, exchange
from cardservice.chip.desfire import collect, wrap
from cardservice.chip.desfire_messages import Ins
from cardservice.chip.errors import ProtocolError
from cardservice.chip.layout import CardUse
from cardservice.chip.piv_formats import PIV_AID
from cardservice.chip.status import DESFIRE_OK, DESFIRE_SIGNATURE, SUCCESS

MAX_APPLICATIONS: Final = 16
MAX_KEYS: Final = 3
MAX_FILES: Final = 4

UID: Final = "UID"
ATS: Final = "ATS"
VERSION_HARDWARE: Final = "GetVersion: hardware"
VERSION_SOFTWARE: Final = "GetVersion: software"
VERSION_UID: Final = "GetVersion: UID"
VERSION_PRODUCTION: Final = "GetVersion: production"
SIGNATURE: Final = "originality signature"
APPLICATION_LIST: Final = "application list"
FREE_MEMORY: Final = "free memory"
PICC_KEY_SETTINGS: Final = "key settings of the card"
PICC_KEY_VERSION: Final = "key version of the card"
DESFIRE_NAME: Final = "DESFire selected by name"
PIV_TEMPLATE: Final = "PIV selected by name"
PIV_CHUID: Final = "PIV CHUID"
PIV_CERTIFICATE: Final = "PIV card authentication certificate"
KEY_SETTINGS: Final = "key settings"
KEY_SET_VERSIONS: Final = "key set versions"
KEY_VERSION: Final = "key version"
FILES: Final = "files"
FILE_SETTINGS: Final = "file settings"
FILE_CONTENT: Final = "file content"

_GET_UID: Final = bytes.fromhex("FFCA000000")
_GET_ATS: Final = bytes.fromhex("FFCA010000")
_DESFIRE_AID: Final = bytes.fromhex("D2760000850100")
_ACCEPTED: Final = frozenset({SUCCESS, DESFIRE_OK, DESFIRE_SIGNATURE})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was read.

    Attributes:
        name: what it is, one of the names of this module.
        aid: in which DESFire application, 3 bytes as sent; None for the card itself.
        number: of which key or file, None where there is one.
    """

    name: str
    aid: bytes | None = None
    number: int | None = None

    def __str__(self) -> str:
        number = "" if self.number is None else f" {self.number}"
        where = "" if self.aid is None else f" of application {self.aid[::-1].hex().upper()}"
        return f"{self.name}{number}{where}"


@dataclass(frozen=True, slots=True)
class OpenReading:
    """What one activation of a card has told. The bytes are not in the repr.

    Attributes:
        values: what was read, by place.
        selectable: which DESFire applications of our layout let themselves be selected.
    """

    values: dict[Place, bytes] = field(repr=False)
    selectable: tuple[CardUse, ...] = ()


def read_openly() -> Conversation[OpenReading]:
    """Asks a card for everything it may tell without a key, in at most about 200 exchanges.

    A card whose answers do not end, or are too long, is asked no further.

    Raises:
        CardGone: the card left.
    """
    values: dict[Place, bytes] = {}
    selectable: set[bytes] = set()
    with suppress(ProtocolError):
        yield from _read_all(values, selectable)
    return OpenReading(values, tuple(use for use in CardUse if use.aid in selectable))


def _read_all(reading: dict[Place, bytes], selectable: set[bytes]) -> Conversation[None]:
    yield from _keep(reading, Place(UID), _plain(_GET_UID))
    yield from _keep(reading, Place(ATS), _plain(_GET_ATS))
    yield from _keep(reading, Place(DESFIRE_NAME), _iso(CommandApdu(0, 0xA4, 4, 0, _DESFIRE_AID, le=256)))
    yield from _read_card_level(reading)
    for aid in _applications(reading):
        yield from _read_application(reading, aid, selectable)
    yield from _read_piv(reading)


def _read_card_level(reading: dict[Place, bytes]) -> Conversation[None]:
    yield from _ask(Ins.SELECT_APPLICATION, bytes(3))
    version = yield from _ask(Ins.GET_VERSION)
    if version is not None:
        parts = {
            VERSION_HARDWARE: version[:7],
            VERSION_SOFTWARE: version[7:14],
            VERSION_UID: version[14:21],
            VERSION_PRODUCTION: version[21:64],
        }
        reading.update({Place(name): part for name, part in parts.items() if part})
    for name, ins, body in (
        (SIGNATURE, Ins.READ_SIGNATURE, b"\x00"),
        (APPLICATION_LIST, Ins.GET_APPLICATION_IDS, b""),
        (PICC_KEY_SETTINGS, Ins.GET_KEY_SETTINGS, b""),
        (PICC_KEY_VERSION, Ins.GET_KEY_VERSION, b"\x00"),
        (FREE_MEMORY, Ins.FREE_MEMORY, b""),
    ):
        yield from _keep(reading, Place(name), _ask(ins, body))


def _applications(reading: dict[Place, bytes]) -> list[bytes]:
    """Those of our layout, whether listed or not, and then the listed ones."""
    listed = reading.get(Place(APPLICATION_LIST), b"")
    found = [listed[i : i + 3] for i in range(0, len(listed) - len(listed) % 3, 3)]
    ours = [use.aid for use in CardUse]
    return [*ours, *(aid for aid in dict.fromkeys(found) if aid not in ours)][:MAX_APPLICATIONS]


def _read_application(reading: dict[Place, bytes], aid: bytes, selectable: set[bytes]) -> Conversation[None]:
    if (yield from _ask(Ins.SELECT_APPLICATION, aid)) is None:
        return
    selectable.add(aid)
    yield from _keep(reading, Place(KEY_SETTINGS, aid), _ask(Ins.GET_KEY_SETTINGS))
    yield from _keep(reading, Place(KEY_SET_VERSIONS, aid), _ask(Ins.GET_KEY_VERSION, b"\x40\x80"))
    for key_no in range(MAX_KEYS):
        yield from _keep(reading, Place(KEY_VERSION, aid, key_no), _ask(Ins.GET_KEY_VERSION, bytes((key_no,))))
    yield from _keep(reading, Place(FILES, aid), _ask(Ins.GET_FILE_IDS))
    for file_no in reading.get(Place(FILES, aid), b"\x01")[:MAX_FILES]:
        number = bytes((file_no,))
        yield from _keep(reading, Place(FILE_SETTINGS, aid, file_no), _ask(Ins.GET_FILE_SETTINGS, number))
        yield from _keep(reading, Place(FILE_CONTENT, aid, file_no), _ask(Ins.READ_DATA_NATIVE, number + bytes(6)))


def _read_piv(reading: dict[Place, bytes]) -> Conversation[None]:
    yield from _keep(reading, Place(PIV_TEMPLATE), _iso(CommandApdu(0, 0xA4, 4, 0, PIV_AID, le=256)))
    for name, tag in ((PIV_CHUID, "5FC102"), (PIV_CERTIFICATE, "5FC101")):
        get_data = CommandApdu(0, 0xCB, 0x3F, 0xFF, bytes.fromhex("5C03" + tag), le=256)
        yield from _keep(reading, Place(name), _iso(get_data))


def _keep(reading: dict[Place, bytes], place: Place, asked: Conversation[bytes | None]) -> Conversation[None]:
    data = yield from asked
    if data:
        reading[place] = data


def _ask(ins: Ins, body: bytes = b"") -> Conversation[bytes | None]:
    """The data of a DESFire command, None when the card refuses."""
    return _data_of(ResponseApdu.from_bytes((yield from collect(wrap(ins, body)))))


def _iso(command: CommandApdu) -> Conversation[bytes | None]:
    return _data_of((yield from transceive("keyless reading", command)))


def _plain(apdu: bytes) -> Conversation[bytes | None]:
    (raw,) = yield from exchange(apdu)
    return _data_of(ResponseApdu.from_bytes(raw))


def _data_of(response: ResponseApdu) -> bytes | None:
    return response.data if response.sw in _ACCEPTED else None
