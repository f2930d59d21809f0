# SPDX-License-Identifier: EUPL-1.2
"""Faults of a DESFire's memory, ordered by a test: a write that power cuts in two, a cell that takes no bytes."""

from dataclasses import dataclass

from cardsim.desfire_status import DesfireError, DesfireStatus
from cardsim.errors import CardPulled


@dataclass
class Weakness:
    """What goes wrong with the next write to a data file without backup; then the memory is sound again.

    Args:
        tears_after_bytes: so many bytes of the data arrive before the card leaves the field.
        refuses: the card answers 91EE and nothing changes.
    """

    tears_after_bytes: int | None = None
    refuses: bool = False

    def strike(self, content: bytearray, offset: int, data: bytes) -> None:
        """Let the write fail if it shall.

        Raises:
            CardPulled: after part of the data was written.
            DesfireError: memory error.
        """
        kept, refuses = self.tears_after_bytes, self.refuses
        self.tears_after_bytes, self.refuses = None, False
        if refuses:
            raise DesfireError(DesfireStatus.MEMORY_ERROR)
        if kept is not None:
            written = data[:kept]
            content[offset : offset + len(written)] = written
            raise CardPulled(f"the card left after {len(written)} of {len(data)} bytes")
