# SPDX-License-Identifier: EUPL-1.2
"""The sync controls are byte for byte what RFC 4533 says."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.ldap.controls import (
    EntryState,
    InfoKind,
    SyncDone,
    SyncMode,
    SyncState,
    read_sync_done,
    read_sync_info,
    read_sync_state,
    sync_request,
)
from integrations.ldap.errors import MalformedBer

ID = uuid.UUID("758581b8-7a5a-1041-930d-e7964142ed9d")


def test_requests_with_and_without_cookie() -> None:
    assert sync_request(SyncMode.REFRESH_AND_PERSIST, None).hex() == "30030a0103"
    assert sync_request(SyncMode.REFRESH_ONLY, "abc").hex() == "30080a01010403616263"


def test_an_entry_state_with_and_without_cookie() -> None:
    head = bytes.fromhex("0a01030410") + ID.bytes
    assert read_sync_state(b"\x30\x15" + head) == SyncState(EntryState.DELETE, str(ID), None)
    assert read_sync_state(b"\x30\x18" + head + b"\x04\x01c") == SyncState(EntryState.DELETE, str(ID), "c")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3000", SyncDone(None, refresh_deletes=False)),
        ("30030101ff", SyncDone(None, refresh_deletes=True)),
        ("3003040163", SyncDone("c", refresh_deletes=False)),
        ("30060401630101ff", SyncDone("c", refresh_deletes=True)),
    ],
)
def test_the_end_of_a_refresh(value: str, expected: SyncDone) -> None:
    assert read_sync_done(bytes.fromhex(value)) == expected


def test_phases_are_done_unless_the_server_says_otherwise() -> None:
    assert read_sync_info(bytes.fromhex("a103040163")).refresh_done
    assert not read_sync_info(bytes.fromhex("a203010100")).refresh_done
    assert read_sync_info(bytes.fromhex("800163")).kind is InfoKind.NEW_COOKIE


def test_id_sets_say_present_or_deleted() -> None:
    present = read_sync_info(bytes.fromhex("a3143112 0410".replace(" ", "")) + ID.bytes)
    deleted = read_sync_info(bytes.fromhex("a317 0101ff 3112 0410".replace(" ", "")) + ID.bytes)
    assert (present.stable_ids, present.refresh_deletes) == ({str(ID)}, False)
    assert (deleted.stable_ids, deleted.refresh_deletes) == ({str(ID)}, True)


@pytest.mark.parametrize(
    "value",
    [
        "30060a0109040163",  # a state that is not defined
        "30070a01010402aabb",  # an id that is no UUID
        "a303010100",  # an id set without ids
        "3003020101",  # an integer where a cookie belongs
        "800100",  # a cookie with a control character
    ],
)
def test_what_the_standard_does_not_allow_is_refused(value: str) -> None:
    data = bytes.fromhex(value)
    readers = {0x0A: read_sync_state, 0x02: read_sync_done}
    with pytest.raises(MalformedBer):
        (readers[data[2]] if data[0] == 0x30 else read_sync_info)(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    refused = 0
    for read in (read_sync_state, read_sync_done, read_sync_info):
        try:
            read(data)
        except MalformedBer:
            refused += 1
    assert refused >= 1  # no bytes are valid as all three
