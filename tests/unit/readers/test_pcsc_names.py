# SPDX-License-Identifier: EUPL-1.2
"""Reader names pcscd gives twice: told as a fault, never guessed at."""

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
