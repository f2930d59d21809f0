# SPDX-License-Identifier: EUPL-1.2
"""What is kept of people in which table, by which limit it ends, and whether the clock is believed that says so. Pure.

`TABLES` names every table of both stores. A table that is not named here fails a test: whoever adds one says what of
it concerns people, and what ends it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
# How much later than its limit something may go before somebody is told.
GRACE_MS: Final = DAY_MS
# A wall clock that is further ahead of what another witness says is not believed: nothing is erased by it alone.
MOST_AHEAD_MS: Final = 3 * DAY_MS
# One transaction erases so many lines: taps wait no longer for it than for each other.
AT_ONCE: Final = 100

# What ends by itself whatever the settings say: days.
FIXED: Final[Mapping[str, int]] = MappingProxyType({"sessions": 0, "answers": 2, "door_requests": 7, "deliveries": 7})

# Limits of which the days count from the end of the calendar year, as § 147 (4) AO has it, by German time.
BY_YEARS: Final = frozenset({"canteen_books"})
_ZONE: Final = ZoneInfo("Europe/Berlin")

# Stream of the journal -> the limits of its personal parts: where it matters, the second is for points of high
# protection.
STREAMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "door": ("doors", "doors_high"),
        "workstation": ("workstations",),
        "timeclock": ("timeclock_taps",),
        "printer": ("printing",),
        "canteen": ("canteen_taps",),
        "system": ("unknown_points",),
        "sign_in": ("security_log",),
        "audit": ("security_log",),
        "access": ("lookups",),
    }
)
# What ends the personal parts of a stream that nobody has named.
OTHER_STREAMS: Final = ("security_log",)

# What ends a column besides a limit of the settings; each is carried out by whoever is named.
UNTIL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "session": "the session ends; erased within the hour",
        "answer": "two days after the request; erased within the hour",
        "door_request": "a week after the request; erased within the hour",
        "delivery": "it is delivered or given up, a week after the event at the latest",
        "window": "the mover's window ends; the running service removes it",
        "pin": "the PIN is reset, the person leaves, or the last card ends; the service removes it within the hour",
        "tries": "the right PIN, the end of the lock, or the end of the card",
        "hold": "the hold is decided or over",
        "lockdown": "the lockdown ends",
        "exception": "the exception is taken out of the model",
        "account": "the account is changed by somebody else",
        "grant": "the grant is taken out; who it is for has no name any more after they left",
        "card": "for good: the number of a person who has no name any more after they left",
        "present": "the directory no longer says so",
        "outsider": "the people outside the directory are erased a set time after their end",
        "certificate": "a month after its end or its revocation; the service erases it within minutes",
        "request": "the city's PKI has answered, or the card asks anew",
        "list": "the list after the next one is made",
        "wallet": "the account is closed: its holder left (limit leavers) and it holds nothing; the sums stay",
        "subject": "its line's personal part is erased",
        "for good": "it names nobody by itself: a number or a key that leads nowhere once the rest is erased",
    }
)

# Table -> what of it concerns people: column -> a limit of `keeping.LIMITS`, a name of `UNTIL`, or a class of streams.
# Empty: nothing of it does.
TABLES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        # State.
        "organisation": {},
        "person": {
            "stable_id": "for good",
            "dn": "leavers",
            "name": "leavers",
            "login": "leavers",
            "mail": "leavers",
            "personnel_number": "leavers",
            "upn": "leavers",
            "sid": "leavers",
            "department": "leavers",
            "cost_centre": "leavers",
            "locked_until_ms": "leavers",
            "valid_from_ms": "leavers",
            "valid_until_ms": "leavers",
            "groups": "leavers",
        },
        "directory_group": {"members": "present"},
        "directory_copy": {},
        "directory_hold": {"decided_by": "decisions"},
        "directory_hold_person": {"person_id": "hold"},
        "directory_window": {"person_id": "window", "ended_by": "window"},
        "card": {"person_id": "card", "state_reason": "leavers"},
        "credential": {"key": "card"},
        "card_delivery": {},
        "card_event": {"actor": "decisions", "second_actor": "decisions", "reason": "decisions"},
        "card_batch": {"made_by": "decisions", "made_by_id": "card"},
        "card_batch_line": {"person_id": "card"},
        # Of cards; a badge number leads nowhere once the card is nobody's.
        "card_badge": {"number": "card"},
        "card_application": {"number": "card"},
        "encoding_job": {"actor": "decisions"},
        # That a number was issued, and why it counts no more, stays: others ask.
        "card_certificate": {"card_id": "card", "serial": "card", "reason": "card", "der": "certificate"},
        "certificate_request": {"card_id": "request", "der": "request"},
        "revocation_list": {"der": "list"},
        "card_generation": {},
        "key_closing": {},
        "holder_pin": {"person_id": "pin", "verifier": "pin"},
        "pin_tries": {"card_id": "tries"},
        "zone": {},
        "schedule": {},
        "schedule_interval": {},
        "schedule_special": {},
        "schedule_special_interval": {},
        "special_day_group": {},
        "special_day": {},
        "point_class": {},
        "point_class_level": {},
        "point": {},
        "level_exception": {"reason": "exception"},
        "door_lockdown": {"by": "lockdown", "reason": "lockdown"},
        "door_request": {"key": "door_request", "message": "door_request"},
        "access_rule": {"person_id": "grant"},
        "grant_owner": {},
        "zone_owner": {},
        "access_review": {"begun_by": "decisions"},
        "access_review_item": {"answered_by": "decisions", "reason": "decisions"},
        "agent": {},
        "changes": {},
        "api_answer": {"caller": "answer", "answer": "answer"},
        "service_account": {"reason": "account", "created_by": "account", "changed_by": "account"},
        "service_key": {"created_by": "decisions", "revoked_by": "decisions"},
        "web_session": {"person_id": "session", "identity": "session"},
        "service_certificate": {"created_by": "decisions", "revoked_by": "decisions"},
        "approval": {
            "content": "decisions",
            "reason": "decisions",
            "asked_by_id": "decisions",
            "asked_by": "decisions",
            "answered_by_id": "decisions",
            "answered_by": "decisions",
            "answer_reason": "decisions",
        },
        "outsider": {
            "person_id": "for good",
            "sponsor_id": "for good",
            "company": "outsider",
            "reason": "outsider",
            "created_by": "decisions",
            "changed_by": "decisions",
        },
        "webhook": {},
        "webhook_delivery": {"body": "delivery"},
        "webhook_cursor": {},
        "webhook_condition": {},
        # Record.
        "journal_epoch": {},
        "journal_entry": {"sealed": "subject"},
        "journal_subject": {"pseudonym": "subject"},
        "journal_subject_key": {"pseudonym": "subject", "wrapped_key": "subject"},
        "journal_head": {},
        "journal_count": {},
        "agent_event": {},
        "event_gap": {},
        "timeclock_booking": {"pseudonym": "time_bookings", "event": "time_bookings"},
        "timeclock_unbooked": {"pseudonym": "unbooked_taps", "event": "unbooked_taps"},
        "print_release": {"pseudonym": "printing", "event": "printing"},
        "canteen_payment": {"wallet": "canteen_books", "event": "canteen_books"},
        "ledger_account": {"owner": "wallet"},
        "ledger_transfer": {},
        # Its account; what it moved stays.
        "ledger_entry": {"account_id": "canteen_books"},
        "ledger_request": {"caller": "canteen_requests", "answer": "canteen_requests"},
        "departure": {"person": "for good"},
        "retention_pass": {},
        "retention_clock": {},
    }
)


def counted_from_ms(name: str, at_ms: int) -> int:
    """Return from when on the days of a limit count for something of this instant (Unix ms)."""
    return _year_begin_ms(_year_of(at_ms) + 1) if name in BY_YEARS else at_ms


def last_over_ms(name: str, counted_ms: int) -> int:
    """Return the latest instant of which the days of a limit have counted since `counted_ms` or before."""
    return _year_begin_ms(_year_of(counted_ms)) - 1 if name in BY_YEARS else counted_ms


def _year_of(at_ms: int) -> int:
    return datetime.fromtimestamp(at_ms / 1_000, _ZONE).year


def _year_begin_ms(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=_ZONE).timestamp() * 1_000)


class Moment(NamedTuple):
    """The wall clock, and beside it a clock that never jumps."""

    wall_ms: int
    steady_ms: int


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What speaks for or against the wall clock.

    `anchor` is a moment of this process that was believed, `seen_ms` the latest wall clock that was ever believed,
    `confirmed_ms` the wall clock that an administrator confirmed last, `synchronised` whether the system says that its
    clock follows a time server.
    """

    anchor: Moment | None
    seen_ms: int | None
    confirmed_ms: int | None
    synchronised: bool


def doubt(now: Moment, witnesses: Witnesses) -> str | None:
    """Return why nothing is erased by this clock, None if it is believed.

    A clock that is behind erases nothing early. One that is ahead would: it is believed as far as this process has
    itself measured, or, after a pause, if the system's clock follows a time server or somebody has confirmed it.
    """
    confirmed = witnesses.confirmed_ms
    if confirmed is not None and abs(now.wall_ms - confirmed) <= MOST_AHEAD_MS:
        return None
    if witnesses.anchor is not None:
        passed_ms = now.steady_ms - witnesses.anchor.steady_ms
        ahead_ms = now.wall_ms - witnesses.anchor.wall_ms - passed_ms
        return None if ahead_ms <= MOST_AHEAD_MS else _sentence(ahead_ms, "jumped ahead by")
    if witnesses.seen_ms is None or witnesses.synchronised:
        return None
    ahead_ms = now.wall_ms - witnesses.seen_ms
    return None if ahead_ms <= MOST_AHEAD_MS else _sentence(ahead_ms, "is ahead of the last run by")


def _sentence(ahead_ms: int, what: str) -> str:
    return (
        f"the clock {what} {ahead_ms // DAY_MS} days: nothing is erased until it is right, or until somebody says "
        "'cardservice retention confirm-clock'"
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How one limit is kept: what is the oldest, and what the last run erased (None: there was none)."""

    name: str
    days: int
    usual_days: int
    reason: str | None
    oldest_ms: int | None
    ran_ms: int | None
    erased: int | None

    def ends_ms(self) -> int | None:
        """Return when the oldest is erased; None: there is nothing."""
        return None if self.oldest_ms is None else counted_from_ms(self.name, self.oldest_ms) + self.days * DAY_MS

    def overdue_ms(self, now_ms: int) -> int:
        """Return for how long the oldest should be gone; 0: it should not yet."""
        ends_ms = self.ends_ms()
        return 0 if ends_ms is None else max(0, now_ms - ends_ms)


def is_late(overdue_ms: int) -> bool:
    """Tell whether something should be gone for so long that somebody has to look."""
    return overdue_ms > GRACE_MS
