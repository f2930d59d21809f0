# SPDX-License-Identifier: EUPL-1.2
"""Data fields of the PIV commands taken apart (SP 800-73-4 part 2 section 3)."""

from collections.abc import Callable

from cardsim import tlv
from cardsim.apdu import ApduError, CommandApdu, StatusWord
from cardsim.piv_keys import RSA_ALGORITHMS, RSA_EXPONENT
from cardsim.piv_objects import BIOMETRIC_TEMPLATES, DISCOVERY
from cardsim.piv_reference import REFERENCE_LENGTH

TAG_LIST, CONTENT = 0x5C, 0x53
CONTROL_TEMPLATE, MECHANISM, PARAMETER = 0xAC, 0x80, 0x81


def requested_tag(command: CommandApdu) -> bytes:
    """The tag GET DATA asks for.

    Raises:
        ApduError: 6A86 for other parameters, 6A80 for anything but one tag list.
    """
    _require_whole_file(command)
    request = decoded(command.data)
    if set(request) != {TAG_LIST}:
        raise ApduError(StatusWord.WRONG_DATA)
    return request[TAG_LIST]


def object_to_store(command: CommandApdu) -> tuple[bytes, bytes, bool]:
    """Tag and whole object of PUT DATA, and whether its content is empty.

    Raises:
        ApduError: 6A86 for other parameters, 6A80 for a data field of another shape.
    """
    _require_whole_file(command)
    data = command.data
    for tag in (DISCOVERY, BIOMETRIC_TEMPLATES):
        if data.startswith(tag):
            # Of the tag 7F61 only the last byte is read: after it length and value follow as after any other.
            (content,) = decoded(data[len(tag) - 1 :]).values() or (b"",)
            return tag, data, not content
    parts = decoded(data)
    if list(parts) != [TAG_LIST, CONTENT]:
        raise ApduError(StatusWord.WRONG_DATA)
    return parts[TAG_LIST], tlv.encode(bytes([CONTENT]), parts[CONTENT]), not parts[CONTENT]


def mechanism_to_generate(data: bytes) -> tuple[int, dict[int, bytes]]:
    """The algorithm identifier of GENERATE ASYMMETRIC KEY PAIR, and the other members of its template.

    Raises:
        ApduError: 6A80 for a template of another shape, or an RSA exponent other than 65537.
    """
    outer = decoded(data)
    if set(outer) != {CONTROL_TEMPLATE}:
        raise ApduError(StatusWord.WRONG_DATA)
    members = decoded(outer[CONTROL_TEMPLATE])
    mechanism = members.pop(MECHANISM, b"")
    if len(mechanism) != 1:
        raise ApduError(StatusWord.WRONG_DATA)
    parameter = members.pop(PARAMETER, None)
    is_rsa = mechanism[0] in RSA_ALGORITHMS.values()
    if parameter is not None and (not is_rsa or int.from_bytes(parameter, "big") != RSA_EXPONENT):
        raise ApduError(StatusWord.WRONG_DATA)
    return mechanism[0], members


def two_secrets(command: CommandApdu) -> tuple[bytes, bytes]:
    """The secret in force and the new one.

    Raises:
        ApduError: 6A86 where P1 is not 00, 6A80 where they have not 16 bytes.
    """
    if command.p1 != 0:
        raise ApduError(StatusWord.INCORRECT_P1_P2)
    if len(command.data) != 2 * REFERENCE_LENGTH:
        raise ApduError(StatusWord.WRONG_DATA)
    return command.data[:REFERENCE_LENGTH], command.data[REFERENCE_LENGTH:]


def require_form(is_well_formed: Callable[[bytes], bool], *secrets: bytes) -> None:
    """Refuse what cannot be a secret before it is compared, so that it costs no try.

    Raises:
        ApduError: 6A80.
    """
    if not all(is_well_formed(secret) for secret in secrets):
        raise ApduError(StatusWord.WRONG_DATA)


def decoded(data: bytes) -> dict[int, bytes]:
    """The data objects that fill a data field.

    Raises:
        ApduError: 6A80 where they do not.
    """
    try:
        return tlv.decode(data)
    except ValueError as error:
        raise ApduError(StatusWord.WRONG_DATA) from error


def _require_whole_file(command: CommandApdu) -> None:
    if (command.p1, command.p2) != (0x3F, 0xFF):
        raise ApduError(StatusWord.INCORRECT_P1_P2)
