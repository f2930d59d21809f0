# SPDX-License-Identifier: EUPL-1.2
"""Lists by pages: how many at most, and after which one to go on. Whoever reads to the end has seen each once."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Final, TypeVar

from fastapi import Query

MAX_PAGE: Final = 500
# Greater than any row's; JavaScript still counts exactly there.
MAX_NUMBER: Final = 2**53
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")]
AfterNumber = Annotated[
    str, Query(max_length=16, pattern=r"^[0-9]{1,16}$", description="The cursor of the page before.")
]
AfterCode = Annotated[
    str, Query(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$", description="The cursor of the page before.")
]
# What somebody looks for: no control characters, which no store would take.
Text = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Row = TypeVar("Row")


def first_that_fit(
    fetch: Callable[[int], Sequence[Row]], number_of: Callable[[Row], int], fits: Callable[[Row], bool], limit: int
) -> list[Row]:
    """Return the first rows that fit; `fetch` returns what follows a number, in order, and nothing at the end."""

    def rows() -> Iterator[Row]:
        after = 0
        while found := fetch(after):
            yield from found
            after = number_of(found[-1])

    return list(islice(filter(fits, rows()), limit))
