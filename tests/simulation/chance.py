# SPDX-License-Identifier: EUPL-1.2
"""All chance of a world from one seed: the product's secrets too."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

from cardservice.randomness import random_bytes


@contextmanager
def secrets_from(seed: str) -> Iterator[None]:
    """Let `secrets`, `SystemRandom`, `os.urandom` and `uuid4` draw from `seed` while the context lasts."""
    draw = random.Random(f"secrets {seed}").randbytes
    before = random._urandom, os.urandom  # type: ignore[attr-defined]  # what SystemRandom draws from
    random._urandom = os.urandom = draw  # type: ignore[attr-defined]
    forget_stocks()
    try:
        yield
    finally:
        random._urandom, os.urandom = before  # type: ignore[attr-defined]
        forget_stocks()


def forget_stocks() -> None:
    """Throw away the random bytes that the product has fetched and not used: a program begins without any."""
    random_bytes.__self__.__init__()  # type: ignore[attr-defined]  # the method of the one stock there is


class Dice:
    """Chance for one purpose, apart from the others: what is planned does not depend on what happens."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._random = random.Random(f"{purpose} {seed}")
        self.random = self._random.random
        self.uniform = self._random.uniform
        self.randint = self._random.randint
        self.choice = self._random.choice
        self.choices = self._random.choices
        self.sample = self._random.sample

    def happens(self, chance: float) -> bool:
        """Return True with this probability."""
        return self.random() < chance

    def long_tailed(self, shortest: float, longest: float) -> float:
        """Return mostly short and sometimes long: every order of magnitude is as likely as another."""
        return shortest * (longest / shortest) ** self.random()
