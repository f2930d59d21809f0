# SPDX-License-Identifier: EUPL-1.2
"""What the pages of batches need from outside."""

from typing import Protocol


class ListShelf(Protocol):
    """Keeps lists for a while that somebody looks at before they begin; nobody finds those of somebody else."""

    def lay(self, owner: int, content: bytes) -> str:
        """Keep a file for a while; return its name."""

    def take(self, owner: int, name: str) -> bytes:
        """Return a file.

        Raises:
            NotFound: it is not there any more, or never was.
        """
