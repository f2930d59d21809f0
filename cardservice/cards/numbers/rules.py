# SPDX-License-Identifier: EUPL-1.2
"""One old card number in all usual ways of writing it. Pure.

A reader, a list and the print on the card rarely agree: bytes in one order or the other, hexadecimal or decimal, or
the facility and number that a Wiegand line carries. Whoever brings a list says how it is written; each line is shown
in every other way before anything is stored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from cardservice.cards.rules import OLD_MARK

_UID_LENGTHS: Final = (4, 7)
_MAX_TEXT: Final = 40
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}(?:[ :.-]?[0-9A-Fa-f]{2})*")
_PAIR: Final = re.compile(r"([0-9]{1,5})[:/ -]([0-9]{1,5})")
_DIGITS: Final = re.compile(r"[0-9]+")


@unique
class Written(StrEnum):
    """How a number is written: most significant byte first, unless it says reversed."""

    HEX = "hex"
    HEX_REVERSED = "hex_reversed"
    DECIMAL = "decimal"
    DECIMAL_REVERSED = "decimal_reversed"
    # facility:number; 8 and 16 bits.
    WIEGAND_26 = "wiegand_26"
    # facility:number; 16 and 16 bits.
    WIEGAND_34 = "wiegand_34"


class NumberRefused(ValueError):
    """It is no number written so; says why."""


@dataclass(frozen=True, slots=True)
class OldNumber:
    """An old number: its bytes (3 of a Wiegand-26 line, 4 or 7 of a chip's UID or a Wiegand-34 line)."""

    value: bytes

    def number(self) -> bytes:
        """Return it as the number of a use, 12 bytes: its length goes with it, so that no two are one."""
        return OLD_MARK + bytes((len(self.value),)) + self.value.rjust(7, b"\0")

    def in_all_ways(self) -> Mapping[str, str]:
        """Return it as each reader and list would write it."""
        turned = self.value[::-1]
        ways: dict[str, str] = {
            Written.HEX: self.value.hex().upper(),
            Written.HEX_REVERSED: turned.hex().upper(),
            Written.DECIMAL: str(int.from_bytes(self.value)),
            Written.DECIMAL_REVERSED: str(int.from_bytes(turned)),
        }
        low = int.from_bytes(self.value[-2:])
        ways[Written.WIEGAND_26] = f"{self.value[-3]}:{low}"
        if len(self.value) >= 4:
            ways[Written.WIEGAND_34] = f"{int.from_bytes(self.value[-4:-2])}:{low}"
        return ways


def read_number(text: str, written: Written, length: int = 4) -> OldNumber:
    """Return the number a text means; `length` is how many bytes a decimal one has: 4 or 7.

    Raises:
        NumberRefused: it is none, or longer than that.
    """
    text = text.strip()
    if not text or len(text) > _MAX_TEXT or not text.isascii():
        raise NumberRefused(f"1 to {_MAX_TEXT} digits or letters")
    if written in {Written.WIEGAND_26, Written.WIEGAND_34}:
        return _pair(text, 1 if written is Written.WIEGAND_26 else 2)
    value = _hexadecimal(text) if written in {Written.HEX, Written.HEX_REVERSED} else _decimal(text, length)
    if not any(value):
        raise NumberRefused("a number of zeros is no card's")
    return OldNumber(value[::-1] if written in {Written.HEX_REVERSED, Written.DECIMAL_REVERSED} else value)


def _hexadecimal(text: str) -> bytes:
    if _HEX.fullmatch(text) is None:
        raise NumberRefused("pairs of hexadecimal digits")
    value = bytes.fromhex(re.sub(r"[ :.-]", "", text))
    if len(value) not in _UID_LENGTHS:
        raise NumberRefused(f"{len(value)} bytes; a chip's number has 4 or 7")
    return value


def _decimal(text: str, length: int) -> bytes:
    if length not in _UID_LENGTHS:
        raise NumberRefused("length: 4 or 7")
    if _DIGITS.fullmatch(text) is None:
        raise NumberRefused("decimal digits alone")
    try:
        return int(text).to_bytes(length)
    except OverflowError:
        raise NumberRefused(f"more than {length} bytes can hold") from None


def _pair(text: str, facility_bytes: int) -> OldNumber:
    found = _PAIR.fullmatch(text)
    if found is None:
        raise NumberRefused("facility:number, both decimal")
    try:
        value = int(found[1]).to_bytes(facility_bytes) + int(found[2]).to_bytes(2)
    except OverflowError:
        raise NumberRefused(f"a facility of {facility_bytes} bytes and a number of 2") from None
    if not any(value):
        raise NumberRefused("a number of zeros is no card's")
    return OldNumber(value)
