# SPDX-License-Identifier: EUPL-1.2
"""Transfers and what holds for each of them. Pure.

Money is in whole cents. A transfer moves it between accounts, so its postings add up to 0. What went wrong is put right
by a further transfer that names the one it reverses, wholly or in part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_CENTS: Final = 10**12
MAX_POSTINGS: Final = 32
MAX_KIND_LENGTH: Final = 20
MAX_OWNER_LENGTH: Final = 64
MAX_CALLER_LENGTH: Final = 64
MAX_KEY_LENGTH: Final = 255
# The owner of the account, one of each kind, that takes entries nobody's account needs to name any more.
CARRIED: Final = "carried"


class AccountName(NamedTuple):
    """What an account is called: its kind ("wallet"), and whose or which one of that kind it is."""

    kind: str
    owner: str


class Posting(NamedTuple):
    """What one account gains; below 0: what it loses."""

    account: AccountName
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """One movement of money; `reverses` is the number of the transfer that it takes back, wholly or in part.

    Raises:
        ValueError: fewer than two postings or more than 32, one of nothing or of more than 10^12 cents, an account
            named twice, or they do not add up to 0.
    """

    kind: str
    postings: tuple[Posting, ...]
    at_ms: int
    reverses: int | None = None

    def __post_init__(self) -> None:
        amounts = [posting.amount_cents for posting in self.postings]
        if not 1 <= len(self.kind) <= MAX_KIND_LENGTH:
            raise ValueError(f"a transfer's kind has 1 to {MAX_KIND_LENGTH} characters")
        if not 2 <= len(amounts) <= MAX_POSTINGS:
            raise ValueError(f"a transfer has 2 to {MAX_POSTINGS} postings, not {len(amounts)}")
        if any(type(amount) is not int or not 0 < abs(amount) <= MAX_CENTS for amount in amounts):
            raise ValueError(f"a posting is of 1 to {MAX_CENTS} whole cents, gained or lost")
        if len({posting.account for posting in self.postings}) != len(amounts):
            raise ValueError("a transfer names each account once")
        if sum(amounts):
            raise ValueError(f"the postings add up to {sum(amounts)} cents, not to 0")


def is_within(rest: Mapping[AccountName, int], postings: Sequence[Posting]) -> bool:
    """Tell whether these postings take back no more than what is left of a transfer, account by account."""
    return all(
        abs(posting.amount_cents) <= abs(left) and posting.amount_cents * left < 0
        for posting, left in ((posting, rest.get(posting.account, 0)) for posting in postings)
    )
