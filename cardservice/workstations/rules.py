# SPDX-License-Identifier: EUPL-1.2
"""What a workstation's settings mean, and what its holder is told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final, Literal, Self, TypeGuard

from cardservice.access.options.rules import Option, Options, one_of, require, usable, whole

Removal = Literal["none", "lock"]

OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {"removal": one_of("none", "lock"), "grace_ms": whole(0, 60_000), "lock_confirm_ms": whole(100, 10_000)}
)
MAX_LOGIN_LENGTH: Final = 200
# Facts of an answer, by name.
USER_FACT: Final = "user"


@dataclass(frozen=True, slots=True)
class WorkstationOptions:
    """What happens when the card is taken away; without options it is the safest, locked at once.

    `grace_ms` is how long the same card may be away before that; `lock_confirm_ms` how long the session may take to
    say that it is locked, before everything on the seat is.
    """

    removal: Removal = "lock"
    grace_ms: int = 0
    lock_confirm_ms: int = 1_000

    @classmethod
    def parse(cls, options: Options) -> Self:
        """Return what a point's options say; where one is unusable, its default holds."""
        said = usable(options, OPTIONS)
        usual = cls()
        return cls(
            removal="none" if said.get("removal") == "none" else "lock",
            grace_ms=int(said.get("grace_ms", usual.grace_ms)),
            lock_confirm_ms=int(said.get("lock_confirm_ms", usual.lock_confirm_ms)),
        )


def check_options(options: Options) -> None:
    """Refuse options a workstation does not have.

    Raises:
        ValueError: names the first that is unknown or out of its bounds, and what is allowed.
    """
    require(options, OPTIONS)


def is_login(user: object) -> TypeGuard[str]:
    """Tell whether this can be the name of a session."""
    return isinstance(user, str) and 0 < len(user) <= MAX_LOGIN_LENGTH


def login_from(facts: Mapping[str, int | bool | str]) -> str | None:
    """Return whose session an answer is for, None if it names nobody."""
    user = facts.get(USER_FACT)
    return user if is_login(user) else None


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
