# SPDX-License-Identifier: EUPL-1.2
"""The virtual DESFire is one for a library we have not written: libfreefare, through libnfc and a PN532 reader."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int32, c_size_t, c_uint8, c_uint16, c_uint32, c_void_p
from ctypes.util import find_library
from typing import Any

import pytest

from cardsim.card import VirtualCard
from cardsim.desfire_ciphers import KeyKind
from cardsim.desfire_memory import Chip
from cardsim.personalise import factory_desfire
from cardsim.pn532 import Pn532

pytestmark = pytest.mark.freefare

PLAIN, MAC, FULL = 0, 1, 3
AID = 0xF5C101
FREE_TO_ALL = 0xEEEE
AES_KEY = bytes(range(0x10, 0x20))
# No length that is read here leaves 0 or 7 by 8: there libfreefare adds a block of zeros to what it MACs in the oldest
# scheme, as if a checksum followed, and refuses the card's MAC, which is over whole blocks of the data alone.
LONG = (bytes(range(256)) * 2)[:500]


class Freefare:
    """The library's functions on the one card it sees; whatever fails tells the library's own words."""

    def __init__(self, path: str) -> None:
        nfc, library = find_library("nfc"), find_library("freefare")
        assert nfc is not None
        assert library is not None
        self._nfc, self._library = ctypes.CDLL(nfc), ctypes.CDLL(library)
        self._context = c_void_p()
        self._nfc.nfc_init(byref(self._context))
        self._nfc.nfc_open.restype = c_void_p
        self._device = c_void_p(self._nfc.nfc_open(self._context, f"pn532_uart:{path}".encode()))
        assert self._device, "libnfc does not know the reader"
        self._library.freefare_get_tags.restype = ctypes.POINTER(c_void_p)
        self._tags = self._library.freefare_get_tags(self._device)
        self.tag = c_void_p(self._tags[0])
        assert self.tag, "libfreefare sees no card"
        self("connect")

    def close(self) -> None:
        self._library.mifare_desfire_disconnect(self.tag)
        self._library.freefare_free_tags(self._tags)
        self._nfc.nfc_close(self._device)
        self._nfc.nfc_exit(self._context)

    def __call__(self, name: str, *arguments: Any) -> int:
        """Call a function of the card; every failure is an assertion with what the library says of it."""
        done = self.attempt(name, *arguments)
        assert done >= 0, f"{name}: {self.complaint()}"
        return done

    def attempt(self, name: str, *arguments: Any) -> int:
        """Call a function of the card; below zero it failed."""
        function = getattr(self._library, f"mifare_desfire_{name}")
        function.restype = ctypes.c_ssize_t if "read_" in name or "write_" in name else ctypes.c_int
        return int(function(self.tag, *arguments))

    def complaint(self) -> str:
        self._library.freefare_strerror.restype = c_char_p
        return str(self._library.freefare_strerror(self.tag).decode())

    def key(self, kind: str, value: bytes, *version: int) -> c_void_p:
        make = getattr(self._library, f"mifare_desfire_{kind}_key_new" + ("_with_version" if version else ""))
        make.restype = c_void_p
        return c_void_p(make(value, *map(c_uint8, version)))

    def aid(self, number: int) -> c_void_p:
        self._library.mifare_desfire_aid_new.restype = c_void_p
        return c_void_p(self._library.mifare_desfire_aid_new(c_uint32(number)))

    def write(self, number: int, offset: int, data: bytes, mode: int) -> int:
        where = (c_uint8(number), ctypes.c_long(offset), c_size_t(len(data)))
        return self("write_data_ex", *where, data, ctypes.c_int(mode))

    def read(self, number: int, offset: int, length: int, mode: int) -> bytes:
        buffer = ctypes.create_string_buffer(4096)
        where = (c_uint8(number), ctypes.c_long(offset), c_size_t(length))
        count = self("read_data_ex", *where, buffer, ctypes.c_int(mode))
        return buffer.raw[:count]

    def value(self, number: int, mode: int) -> int:
        found = c_int32()
        self("get_value_ex", c_uint8(number), byref(found), ctypes.c_int(mode))
        return found.value

    def records(self, number: int, first: int, count: int, mode: int) -> bytes:
        buffer = ctypes.create_string_buffer(4096)
        which = (c_uint8(number), ctypes.c_long(first), c_size_t(count))
        count = self("read_records_ex", *which, buffer, ctypes.c_int(mode))
        return buffer.raw[:count]


@pytest.fixture(params=[Chip.EV1, Chip.EV2], ids=lambda chip: chip.name)
def card(request: pytest.FixtureRequest) -> VirtualCard:
    return VirtualCard("blank", "blank", desfire=factory_desfire(chip=request.param))


@pytest.fixture
def reader(card: VirtualCard) -> Iterator[Pn532]:
    with Pn532(card) as reader:
        yield reader


@pytest.fixture
def freefare(reader: Pn532) -> Iterator[Freefare]:
    library = Freefare(reader.path)
    yield library
    library.close()


def run(reader: Pn532, *command: str) -> str:
    """One of libfreefare's own programs on the reader; its output."""
    environment = {**os.environ, "LIBNFC_DEVICE": f"pn532_uart:{reader.path}", "LIBNFC_AUTO_SCAN": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def application(freefare: Freefare, key: c_void_p, authenticate: str, create: str, keys: int) -> None:
    """Make application `AID` with so many default keys, and authenticate with its master key."""
    freefare(create, freefare.aid(AID), c_uint8(0x0F), c_uint8(keys))
    freefare("select_application", freefare.aid(AID))
    freefare(authenticate, c_uint8(0), key)


SCHEMES = {
    "legacy DES": ("des", bytes(8), "authenticate", "create_application", 3),
    "ISO DES": ("des", bytes(8), "authenticate_iso", "create_application", 3),
    "ISO 3K3DES": ("3k3des", bytes(24), "authenticate_iso", "create_application_3k3des", 3),
    "AES": ("aes", bytes(16), "authenticate_aes", "create_application_aes", 3),
}


def test_its_programs_describe_format_and_configure_a_card(card, reader):
    """Version and UID, an NDEF application made, the card formatted, default key, ATS and random UID set."""
    assert f"0x{card.desfire.uid.hex()}" in run(reader, "mifare-desfire-info")
    assert "Free memory: 8192 bytes" in run(reader, "mifare-desfire-info")
    run(reader, "mifare-desfire-create-ndef", "-y")
    assert len(card.desfire.applications) == 1
    run(reader, "mifare-desfire-format", "-y")
    assert card.desfire.applications == []
    run(reader, "mifare-desfire-ev1-configure-default-key", "-y")
    run(reader, "mifare-desfire-ev1-configure-ats", "-y")
    run(reader, "mifare-desfire-ev1-configure-random-uid", "-y")
    card.power_on("contactless")
    told = run(reader, "mifare-desfire-info")
    assert "Use random UID: yes" in told
    assert card.desfire.uid.hex() not in told


def test_its_programs_keep_an_ndef_message(reader, tmp_path):
    """What the library wrote into an NDEF application it reads back from it."""
    message = tmp_path / "message"
    message.write_bytes(bytes.fromhex("D1010E5503") + b"karten.example")
    run(reader, "mifare-desfire-create-ndef", "-y")
    run(reader, "mifare-desfire-write-ndef", "-y", "-i", str(message))
    run(reader, "mifare-desfire-read-ndef", "-y", "-o", str(tmp_path / "read"))
    assert (tmp_path / "read").read_bytes() == message.read_bytes()


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("mode", [PLAIN, MAC, FULL], ids=["plain", "mac", "full"])
def test_data_files_in_every_scheme_and_mode(freefare, scheme, mode):
    """Long data over many frames, and a backup file that shows them only after the commit."""
    kind, value, authenticate, create, keys = scheme
    application(freefare, freefare.key(kind, value), authenticate, create, keys)
    freefare("create_std_data_file", c_uint8(1), c_uint8(mode), c_uint16(0), c_uint32(len(LONG)))
    freefare("create_backup_data_file", c_uint8(2), c_uint8(mode), c_uint16(0), c_uint32(9))
    assert freefare.write(1, 0, LONG, mode) == len(LONG)
    assert freefare.write(1, 3, b"xy", mode) == 2
    assert freefare.read(1, 0, 0, mode) == LONG[:3] + b"xy" + LONG[5:]
    assert freefare.read(1, 3, 2, mode) == b"xy"
    freefare.write(2, 0, b"it waits!", mode)
    assert freefare.read(2, 0, 9, mode) == bytes(9)
    freefare("commit_transaction")
    assert freefare.read(2, 0, 9, mode) == b"it waits!"


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("mode", [PLAIN, MAC, FULL], ids=["plain", "mac", "full"])
def test_values_and_records_in_every_scheme_and_mode(freefare, scheme, mode):
    """Credit, debit and limited credit come true with the commit; records are read oldest first, cyclic ones drop."""
    kind, value, authenticate, create, keys = scheme
    application(freefare, freefare.key(kind, value), authenticate, create, keys)
    limits = (c_int32(-5), c_int32(100), c_int32(10), c_uint8(1))
    freefare("create_value_file", c_uint8(3), c_uint8(mode), c_uint16(0), *limits)
    freefare("credit_ex", c_uint8(3), c_int32(20), ctypes.c_int(mode))
    freefare("debit_ex", c_uint8(3), c_int32(7), ctypes.c_int(mode))
    assert freefare.value(3, mode) == 10
    freefare("commit_transaction")
    assert freefare.value(3, mode) == 23
    freefare("limited_credit_ex", c_uint8(3), c_int32(7), ctypes.c_int(mode))
    freefare("abort_transaction")
    assert freefare.value(3, mode) == 23
    for number, name in ((4, "linear"), (5, "cyclic")):
        freefare(f"create_{name}_record_file", c_uint8(number), c_uint8(mode), c_uint16(0), c_uint32(5), c_uint32(3))
        for record in (b"one..", b"two..") if number == 4 else (b"one..", b"two..", b"three"):
            written = (c_uint8(number), ctypes.c_long(0), c_size_t(5), record, ctypes.c_int(mode))
            freefare("write_record_ex", *written)
            freefare("commit_transaction")
    assert freefare.records(4, 0, 2, mode) == b"one..two.."
    assert freefare.records(5, 0, 2, mode) == b"two..three"
    freefare("clear_record_file", c_uint8(4))
    freefare("commit_transaction")
    assert freefare.attempt("read_records_ex", c_uint8(4), ctypes.c_long(0), c_size_t(1), None, ctypes.c_int(mode)) < 0


def test_a_factory_card_becomes_an_aes_card_and_back(card, freefare):
    """DES to AES and back to DES on the card itself, each key proved by an authentication, settings changed."""
    zero, new = freefare.key("des", bytes(8)), freefare.key("aes", AES_KEY, 0x42)
    freefare("authenticate", c_uint8(0), zero)
    freefare("change_key", c_uint8(0), new, None)
    freefare("authenticate_aes", c_uint8(0), new)
    version = c_uint8()
    freefare("get_key_version", c_uint8(0), byref(version))
    assert version.value == 0x42
    freefare("change_key_settings", c_uint8(0x0B))
    settings, keys = c_uint8(), c_uint8()
    freefare("get_key_settings", byref(settings), byref(keys))
    assert (settings.value, keys.value) == (0x0B, 1)
    uid = c_char_p()
    freefare("get_card_uid", byref(uid))
    assert uid.value.decode() == card.desfire.uid.hex()
    freefare("change_key", c_uint8(0), zero, None)
    assert card.desfire.memory.picc.kind is KeyKind.DES
    freefare("authenticate_iso", c_uint8(0), zero)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_keys_of_an_application_change(freefare, scheme):
    """Another key than the session's and then the session's own, in every scheme; the new ones authenticate."""
    kind, value, authenticate, create, keys = scheme
    old = freefare.key(kind, value)
    application(freefare, old, authenticate, create, keys)
    new = freefare.key(kind, bytes((7 * n + 3) % 256 & 0xFE for n in range(len(value))))
    freefare("change_key", c_uint8(2), new, old)
    freefare("change_key", c_uint8(0), new, old)
    for number in (0, 2):
        freefare(authenticate, c_uint8(number), new)
    assert freefare.attempt(authenticate, c_uint8(1), new) < 0
    freefare("select_application", freefare.aid(AID))
    freefare(authenticate, c_uint8(1), old)


def test_settings_of_files_and_listings(card, freefare):
    """Rights are changed enciphered, and applications and files are listed as they are on the card."""
    application(freefare, freefare.key("aes", bytes(16)), "authenticate_aes", "create_application_aes", 2)
    for number in range(1, 15):
        freefare("create_std_data_file", c_uint8(number), c_uint8(PLAIN), c_uint16(0x1000), c_uint32(4))
    freefare("change_file_settings", c_uint8(1), c_uint8(FULL), c_uint16(0x0001))
    assert card.desfire.applications[0].files[1].settings()[:4] == bytes.fromhex("00030100")
    files, count = ctypes.POINTER(c_uint8)(), c_size_t()
    freefare("get_file_ids", byref(files), byref(count))
    assert sorted(files[: count.value]) == list(range(1, 15))
    freefare("delete_file", c_uint8(3))
    free = c_uint32()
    freefare("free_mem", byref(free))
    assert free.value == card.desfire.memory.free_bytes
    freefare("delete_application", freefare.aid(AID))
    assert card.desfire.applications == []


def test_iso_names_are_listed_and_select(card, freefare):
    """An application with an ISO name tells it, its files tell theirs, and ISO SELECT finds it."""
    name = b"1.card.example"
    iso = (ctypes.c_int(1), c_uint16(0x1234), name, c_size_t(len(name)))
    freefare("create_application_aes_iso", freefare.aid(AID), c_uint8(0x0F), c_uint8(1), *iso)
    freefare("select_application", freefare.aid(AID))
    freefare("create_std_data_file_iso", c_uint8(1), c_uint8(0), c_uint16(FREE_TO_ALL), c_uint32(4), c_uint16(0xEF01))
    found, count = ctypes.POINTER(c_uint16)(), c_size_t()
    freefare("get_iso_file_ids", byref(found), byref(count))
    assert found[: count.value] == [0xEF01]
    freefare("select_application", None)
    named = c_void_p()
    freefare("get_df_names", byref(named), byref(count))
    assert count.value == 1
    select = bytes([0x00, 0xA4, 0x04, 0x00, len(name)]) + name + b"\x00"
    assert card.transmit(select) == b"\x90\x00"
    assert card.desfire.activation.selected is card.desfire.applications[0]


def test_wrong_keys_and_missing_things_are_refused_in_words_it_knows(freefare):
    """The library translates the card's statuses: authentication error, application not found, duplicate."""
    assert freefare.attempt("authenticate", c_uint8(0), freefare.key("des", b"wrongkey")) < 0
    assert "AUTHENTICATION_ERROR" in freefare.complaint()
    assert freefare.attempt("select_application", freefare.aid(0x999999)) < 0
    assert "APPLICATION_NOT_FOUND" in freefare.complaint()
    freefare("create_application", freefare.aid(AID), c_uint8(0x0F), c_uint8(1))
    assert freefare.attempt("create_application", freefare.aid(AID), c_uint8(0x0F), c_uint8(1)) < 0
    assert "DUPLICATE_ERROR" in freefare.complaint()
