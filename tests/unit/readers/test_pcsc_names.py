# SPDX-License-Identifier: EUPL-1.2
"""Reader names that cannot be used: told as a fault, never guessed at and never passed over."""

import pytest

from readers.ports import ReaderAppeared, ReaderFault, ReaderFaulted, ReaderVanished

pytestmark = pytest.mark.pcscd


def test_two_readers_of_one_name_are_a_fault_of_that_name():
    """The others go on; when one of the two leaves, the other is an ordinary reader."""
    # Only here: collecting the suite must not need pyscard.
    from readers import pcsc

    driver = pcsc.PcscDriver()
    assert driver._compare(["A", "Twin", "Twin"]) == [ReaderFaulted("Twin", pcsc.SAME_NAME), ReaderAppeared("A")]
    assert driver._compare(["A", "Twin", "Twin"]) == []
    assert {(state.name, state.fault) for state in driver.readers()} == {("A", None), ("Twin", pcsc.SAME_NAME)}
    with pytest.raises(ReaderFault, match="more than one reader"):
        driver.connect("Twin", exclusive=True)
    assert driver._compare(["A", "Twin"]) == [ReaderAppeared("Twin")]
    assert driver._compare(["Twin", "Twin"]) == [
        ReaderVanished("A"),
        ReaderVanished("Twin"),
        ReaderFaulted("Twin", pcsc.SAME_NAME),
    ]


def test_a_reader_whose_name_is_not_ascii_is_a_fault_of_its_escaped_name():
    """Told once, under a name that logs and the wire can hold; the others go on."""
    from readers import pcsc

    driver, name = pcsc.PcscDriver(), "Leser für Tür 🚪"
    escaped = r"Leser f\xfcr T\xfcr \U0001f6aa"
    assert driver._compare(["A", name]) == [ReaderFaulted(escaped, pcsc.NOT_ASCII), ReaderAppeared("A")]
    assert driver._compare(["A", name, name]) == []
    assert {(state.name, state.fault) for state in driver.readers()} == {("A", None), (escaped, pcsc.NOT_ASCII)}
    with pytest.raises(ReaderFault, match="not plain ASCII"):
        driver.connect(escaped, exclusive=True)
    (fault,) = driver._compare(["A", "ü" * 127])
    assert fault == ReaderFaulted((r"\xfc" * 127)[: pcsc.MAX_NAME], pcsc.NOT_ASCII)
    assert driver._compare(["A", escaped, name]) == [ReaderFaulted(escaped, pcsc.NOT_ASCII)]
    assert driver._compare(["A", escaped]) == [ReaderAppeared(escaped)]
