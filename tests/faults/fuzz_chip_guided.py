# SPDX-License-Identifier: EUPL-1.2
"""The fuzzer that is guided by coverage, as a process of its own: libFuzzer's options are its arguments.

The first byte of an input says which reader gets the rest. With `--planted` a reader with a defect is the only one: the
run has to find it.
"""

import sys

import atheris

with atheris.instrument_imports(include=["cardservice.chip"]):
    from faults.fuzz_chip import EVERYTHING

    from cardservice.chip.tlv import parse

NAMES = tuple(EVERYTHING)
PLANTED = "--planted"


@atheris.instrument_func
def one_input(data: bytes) -> None:
    """Any other error than a declared one ends the run."""
    if data:
        EVERYTHING[NAMES[data[0] % len(NAMES)]].takes(data[1:])


@atheris.instrument_func
def with_a_defect(data: bytes) -> None:
    """A reader that believes how long a member is."""
    try:
        members = parse(data)
    except EVERYTHING["tlv"].refusals:
        return
    for member in members:
        if member.tag == 0x7C and member.value:
            member.value[member.value[0]]


def main() -> None:
    """Fuzz until libFuzzer's own limits end it."""
    arguments = [argument for argument in sys.argv if argument != PLANTED]
    atheris.Setup(arguments, with_a_defect if PLANTED in sys.argv else one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
