# SPDX-License-Identifier: EUPL-1.2
"""What a workstation's settings mean, and what its holder is told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final, Literal, Self

Removal = Literal["none", "lock"]

REMOVALS: Final[tuple[Removal, ...]] = ("none", "lock")
OPTIONS: Final = frozenset({"removal", "grace_ms", "lock_confirm_ms"})
MAX_GRACE_MS: Final = 60_000
DEFAULT_CONFIRM_MS: Final = 1_000
MIN_CONFIRM_MS: Final = 100
MAX_CONFIRM_MS: Final = 10_000
MAX_LOGIN_LENGTH: Final = 200
# Facts of an answer, by name.
USER_FACT: Final = "user"


class WorkstationOptionsRefused(ValueError):
    """An option of a workstation's point is wrong; the message names it and what is allowed."""


@dataclass(frozen=True, slots=True)
class WorkstationOptions:
    """What happens when the card is taken away.

    `grace_ms` is how long the same card may be away before that; `lock_confirm_ms` how long the session may take to
    say that it is locked, before everything on the seat is.
    """

    removal: Removal = "lock"
    grace_ms: int = 0
    lock_confirm_ms: int = DEFAULT_CONFIRM_MS

    @classmethod
    def parse(cls, options: Mapping[str, int | bool | str]) -> Self:
        """Return what a point's options say; those of no workstation are ignored.

        Raises:
            WorkstationOptionsRefused: one of them is out of its bounds.
        """
        removal = options.get("removal", "lock")
        if removal not in REMOVALS:
            raise WorkstationOptionsRefused(f"removal: must be one of {', '.join(REMOVALS)}")
        grace_ms = _within(options, "grace_ms", 0, (0, MAX_GRACE_MS))
        confirm_ms = _within(options, "lock_confirm_ms", DEFAULT_CONFIRM_MS, (MIN_CONFIRM_MS, MAX_CONFIRM_MS))
        return cls(removal, grace_ms, confirm_ms)

    @classmethod
    def safest(cls) -> Self:
        """Return what holds where the options cannot be used: locked at once."""
        return cls()


def check_options(options: Mapping[str, int | bool | str]) -> WorkstationOptions:
    """Return what an administrator's options say, all of which must be options of a workstation.

    Raises:
        WorkstationOptionsRefused: one of them is unknown or out of its bounds.
    """
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise WorkstationOptionsRefused(f"{unknown[0]}: unknown; a workstation has {', '.join(sorted(OPTIONS))}")
    return WorkstationOptions.parse(options)


def _within(options: Mapping[str, int | bool | str], name: str, default: int, bounds: tuple[int, int]) -> int:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not bounds[0] <= value <= bounds[1]:
        raise WorkstationOptionsRefused(f"{name}: must be a whole number from {bounds[0]} to {bounds[1]}")
    return value


def login_from(facts: Mapping[str, int | bool | str]) -> str | None:
    """Return whose session an answer is for, None if it names nobody."""
    user = facts.get(USER_FACT)
    return user if isinstance(user, str) and 0 < len(user) <= MAX_LOGIN_LENGTH else None


@unique
class AnswerCode(StrEnum):
    """What came of a permitted tap at a workstation; closed."""

    # The centre's: whose session it is for is known, or not.
    UNLOCK = "unlock"
    NO_LOGIN = "no_login"
    # The agent's, at the PC.
    UNLOCKED = "unlocked"
    NO_SESSION = "no_session"
    OTHER_USER = "other_user"
    SESSION_FAULT = "session_fault"
    CARD_GONE = "card_gone"
    TWO_CARDS = "two_cards"
    NOT_LOCKED = "not_locked"


# (German, English).
SENTENCES: Final[Mapping[AnswerCode, tuple[str, str]]] = MappingProxyType(
    {
        AnswerCode.UNLOCK: ("Ihre Sitzung wird entsperrt.", "Your session is being unlocked."),
        AnswerCode.NO_LOGIN: (
            "Für Sie ist keine Anmeldung am PC hinterlegt.",
            "There is no login for you at this PC.",
        ),
        AnswerCode.UNLOCKED: ("Ihre Sitzung ist entsperrt.", "Your session is unlocked."),
        AnswerCode.NO_SESSION: ("Bitte melden Sie sich an diesem PC an.", "Please log on to this PC."),
        AnswerCode.OTHER_USER: (
            "An diesem PC ist jemand anderes angemeldet.",
            "Somebody else is logged on to this PC.",
        ),
        AnswerCode.SESSION_FAULT: (
            "Der PC antwortet nicht. Bitte entsperren Sie mit Ihrem Kennwort.",
            "The PC does not answer. Please unlock with your password.",
        ),
        AnswerCode.CARD_GONE: (
            "Karte zu früh entfernt, der PC bleibt gesperrt.",
            "Card removed too soon, the PC stays locked.",
        ),
        AnswerCode.TWO_CARDS: ("Bitte nur eine Karte einlegen.", "Please use one card only."),
        AnswerCode.NOT_LOCKED: (
            "Der PC hat sich nicht gesperrt. Bitte sperren Sie ihn von Hand.",
            "The PC did not lock. Please lock it by hand.",
        ),
    }
)
