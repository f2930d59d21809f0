# SPDX-License-Identifier: EUPL-1.2
"""Runs a foreign DESFire program on a PC/SC reader, in a process of its own: python-desfire or pylibsdm.

``desfire_client.py CLIENT READER``; the packages lie where PYTHONPATH points. It writes one JSON object: what the
client saw.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from smartcard.CardRequest import CardRequest
from smartcard.CardType import AnyCardType
from smartcard.System import readers

PATIENCE_S = 30
AID = "01C1F5"
NUMBER_FILE = list(range(1, 41))
ZERO_KEY, NEW_KEY, OTHER_KEY = "00" * 16, "000102030405060708090A0B0C0D0E0F", "F0E0D0C0B0A090807060504030201000"


def connect(reader_name: str) -> Any:
    """A pyscard connection to the card in the named reader, once pcscd has seen it."""
    CardRequest(timeout=PATIENCE_S, readers=[reader_name], cardType=AnyCardType()).waitforcard()
    connection = next(reader for reader in readers() if str(reader) == reader_name).createConnection()
    connection.connect()
    return connection


def python_desfire(reader_name: str) -> dict[str, Any]:
    """Factory card to AES, an application with keys of its own, an enciphered file; then the card is formatted."""
    from desfire import DESFire, DESFireKey, PCSCDevice
    from desfire.enums import DESFireCommunicationMode, DESFireFileType, DESFireKeySettings, DESFireKeyType
    from desfire.schemas import FilePermissions, FileSettings, KeySettings

    def key(value: str, kind: Any = DESFireKeyType.DF_KEY_AES) -> Any:
        return DESFireKey(KeySettings(key_type=kind), value)

    seen: dict[str, Any] = {}
    card = DESFire(PCSCDevice(connect(reader_name).component))
    seen["uid"] = bytes(card.get_card_version().uid).hex()
    des, aes = key("00" * 8, DESFireKeyType.DF_KEY_2K3DES), key(NEW_KEY)
    card.authenticate(0, des)
    card.change_key(0, des, aes, 7)
    card.authenticate(0, aes)
    seen["real_uid"] = bytes(card.get_real_uid()).hex()
    seen["key_version"] = card.get_key_version(0)
    settings = [DESFireKeySettings.KS_ALLOW_CHANGE_MK, DESFireKeySettings.KS_LISTING_WITHOUT_MK]
    settings += [DESFireKeySettings.KS_CONFIGURATION_CHANGEABLE]
    card.change_key_settings(settings)
    seen["card_settings"] = card.get_key_setting().human_key_settings()
    card.create_application(AID, KeySettings(key_type=DESFireKeyType.DF_KEY_AES, settings=settings), 3)
    seen["applications"] = [bytes(aid).hex() for aid in card.get_application_ids()]
    card.select_application(AID)
    card.authenticate(0, key(ZERO_KEY))
    for number in (1, 2, 0):
        card.change_key(number, key(ZERO_KEY), key(OTHER_KEY), number)
    card.authenticate(0, key(OTHER_KEY))
    full = FileSettings(
        encryption=DESFireCommunicationMode.ENCRYPTED,
        file_type=DESFireFileType.MDFT_STANDARD_DATA_FILE,
        permissions=FilePermissions(read_key=2, write_key=0, read_write_key=0, change_key=0),
        file_size=len(NUMBER_FILE),
    )
    card.create_standard_file(1, full)
    card.write_file_data(1, 0, DESFireCommunicationMode.ENCRYPTED, NUMBER_FILE)
    card.authenticate(2, key(OTHER_KEY))
    seen["file"] = card.read_file_data(1, card.get_file_settings(1))
    seen["files"] = card.get_file_ids()
    return seen


class SdmTransport:
    """What pylibsdm asks of a tag, over PC/SC."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def send_apdu(self, *parts: Any, mrl: int, check_status: bool) -> bytes:
        """One short command with Le 00 in the wrapped class; status at the end of the answer."""
        assert not check_status
        assert mrl == 256
        header, data = parts[:4], bytes(parts[4])
        body = bytes([len(data)]) + data if data else b""
        answer, first, second = self._connection.transmit([*header, *body, 0])
        return bytes([*answer, first, second])


def applications(reader_name: str) -> dict[str, Any]:
    """No foreign program: the list of AIDs, asked with one wrapped frame."""
    return {"applications": bytes(connect(reader_name).transmit([0x90, 0x6A, 0, 0, 0])[0]).hex()}


def pylibsdm(reader_name: str) -> dict[str, Any]:
    """EV2 secure messaging: settings read with MAC and changed enciphered, the session's own key changed."""
    from pylibsdm.tag.ntag424dna.tag import NTAG424DNA

    connection = connect(reader_name)
    tag = NTAG424DNA(SdmTransport(connection))
    before = tag.get_file_settings(1)
    tag.set_key(0, bytes(16))
    tag.change_key(0, bytes.fromhex(NEW_KEY), 5)
    tag.reset_session()
    tag.set_key(0, bytes.fromhex(NEW_KEY))
    tag.change_file_settings(1, before)
    after = tag.get_file_settings(1)
    return {"before": repr(before), "after": repr(after), "ti": tag.ti.hex()}


CLIENTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "python-desfire": python_desfire,
    "pylibsdm": pylibsdm,
    "applications": applications,
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(CLIENTS[sys.argv[1]](sys.argv[2])))
