# SPDX-License-Identifier: EUPL-1.2
"""LDAP answers are read within bounds, and requests are what ldap3 would have sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.ldap import ber
from integrations.ldap.connection import encode_search
from integrations.ldap.errors import MalformedBer, SettingsRefused
from integrations.ldap.messages import Done, Entry, Intermediate, Notice, Reference, read_message, search_message


def message(body: bytes, controls: bytes = b"", message_id: int = 7) -> bytes:
    return ber.encode(ber.SEQUENCE, ber.encode_integer(message_id) + body + controls)


def octets(text: str | bytes) -> bytes:
    return ber.encode(ber.OCTET_STRING, text.encode() if isinstance(text, str) else text)


def attribute(name: str, *values: bytes) -> bytes:
    return ber.encode(ber.SEQUENCE, octets(name) + ber.encode(ber.SET, b"".join(octets(value) for value in values)))


def entry(dn: str, *attributes: bytes) -> bytes:
    return ber.encode(0x64, octets(dn) + ber.encode(ber.SEQUENCE, b"".join(attributes)))


def result(tag: int, code: int, tail: bytes = b"") -> bytes:
    return ber.encode(tag, ber.encode_integer(code, ber.ENUMERATED) + octets("") + octets("") + tail)


def test_an_entry_with_a_control() -> None:
    control = ber.encode(0xA0, ber.encode(ber.SEQUENCE, octets("1.2.3") + b"\x01\x01\xff" + octets(b"\x00x")))
    data = message(entry("uid=ä", attribute("CN", b"a", b"b"), attribute("mail")), control)
    assert read_message(data) == Entry(7, "uid=ä", {"cn": [b"a", b"b"], "mail": []}, {"1.2.3": b"\x00x"})


def test_an_option_does_not_hide_a_value() -> None:
    """A status under shadowExpire;x-old must count like one under shadowExpire."""
    found = read_message(
        message(entry("uid=a", attribute("shadowExpire;x-old", b"1"), attribute("shadowExpire", b"2")))
    )
    assert isinstance(found, Entry)
    assert found.attributes == {"shadowexpire": [b"1", b"2"]}


def test_result_codes_ldap3_has_never_heard_of() -> None:
    assert read_message(message(result(0x65, 4096))) == Done(7, 4096)
    assert read_message(message(result(0x65, 16_654))) == Done(7, 16_654)


def test_the_other_answers() -> None:
    info = ber.encode(0x79, ber.encode(0x80, b"1.2") + ber.encode(0x81, b"v"))
    assert read_message(message(info)) == Intermediate(7, "1.2", b"v")
    assert read_message(message(ber.encode(0x73, octets("ldap://other/")))) == Reference(7)
    goodbye = result(0x78, 52, ber.encode(0x8A, b"1.3.6.1.4.1.1466.20036"))
    assert read_message(message(goodbye, message_id=0)) == Notice(0, 52, "1.3.6.1.4.1.1466.20036")


def test_an_answer_to_no_search_is_refused() -> None:
    with pytest.raises(MalformedBer, match="answers no search"):
        read_message(message(result(0x69, 0)))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = read_message(ber.encode(ber.SEQUENCE, data))
    except MalformedBer:
        return
    assert found.message_id is not None


@given(st.data())
def test_a_flipped_byte_never_breaks_the_reader(data: st.DataObject) -> None:
    whole = bytearray(message(entry("uid=a", attribute("cn", b"Anna"))))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    try:
        found = read_message(bytes(whole))
    except MalformedBer:
        return
    assert found.message_id is not None


def test_a_request_is_what_ldap3_would_send() -> None:
    """Guards the two internal functions of ldap3 that are used; the bytes are RFC 4511, section 4.5.1."""
    request = encode_search("dc=x", "(|(a=b)(c=*))", ["cn"])
    assert request.hex() == ("6328040464633d780a01020a0100020100020100010100a10ba30604016104016287016330040402636e")
    sent = search_message(3, request, [("1.2", b"v")])
    assert sent == message(
        request, ber.encode(0xA0, ber.encode(ber.SEQUENCE, octets("1.2") + b"\x01\x01\xff" + octets(b"v"))), 3
    )


@pytest.mark.parametrize("text", ["(a=b", "a=b)", "", "(&)", "()"])
def test_a_filter_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsRefused):
        encode_search("dc=x", text, ["cn"])
