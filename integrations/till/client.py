# SPDX-License-Identifier: EUPL-1.2
"""What a till does to be paid by card: one request, kept on its own disk until its outcome is known.

The key of a payment is made and stored before the request leaves. Whatever happens then (no answer, the network gone,
the till switched off), asking again with the same key tells what came of it and books nothing a second time.
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx2

# A till has nothing else to do meanwhile, and a service that has just come back is not overrun.
_RETRY_S: Final = 0.5
_SPARE_S: Final = 10.0
# Answers after which asking again may help, unless the service itself says that what was asked for is away.
_TRY_AGAIN: Final = frozenset({502, 503, 504})
_AWAY: Final = frozenset({"terminal_away"})
# Refusals that the service makes knowing what became of the key: nothing was booked with it.
_SETTLES: Final = frozenset({409, 422})


class TillError(Exception):
    """The service refuses the request itself; nothing was booked. `code` is the problem's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class UnknownOutcome(Exception):
    """It may have been done or not.

    A payment stays on the till's disk, and `settle_open` asks again; a void or a refund is asked for again as it was.
    """


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a payment; `payment` names it for a void or a refund."""

    status: str
    amount_cents: int
    payment: str | None
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Open:
    """A payment whose outcome is not known yet, as it stands on the disk."""

    key: str
    terminal: str
    body: dict[str, Any]


class Till:
    """One till at one terminal. `open_file` belongs to it alone; at most one payment is open at a time."""

    def __init__(self, url: str, token: str, terminal: str, open_file: Path) -> None:
        self._http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10.0)
        self._terminal = terminal
        self._open_file = open_file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def pay(
        self, amount_cents: int, *, wait_s: int = 30, lines: Sequence[Mapping[str, Any]] = (), subsidised: bool = False
    ) -> Outcome:
        """Ask for a card at the terminal and return what came of it: paid, refused, timed_out or cancelled.

        Raises:
            TillError: the service refuses the request; nothing was booked.
            UnknownOutcome: no answer that settles it; the payment stays open.
        """
        if self._open_file.exists():
            raise TillError("payment_open", "an earlier payment is still open; settle it first")
        body = {"amount_cents": amount_cents, "lines": list(lines), "subsidised": subsidised, "timeout_s": wait_s}
        wanted = _Open(_new_key(), self._terminal, body)
        self._store(wanted)
        return self._settle(wanted, fresh=True)

    def settle_open(self) -> Outcome | None:
        """Find out what came of a payment that was open when the till went off; None if there is none.

        Raises:
            TillError, UnknownOutcome: as `pay`.
        """
        if not self._open_file.exists():
            return None
        return self._settle(_Open(**json.loads(self._open_file.read_text("utf-8"))), fresh=False)

    def cancel(self) -> None:
        """Stop waiting for a card; `pay` then answers `cancelled`, or `paid` if the card was faster.

        Raises:
            TillError: the service refuses, or nothing waits there.
            UnknownOutcome: no answer; `pay` tells what came of it.
        """
        try:
            response = self._http.delete(f"/api/v1/canteen/terminals/{self._terminal}/payments")
        except httpx2.RequestError as error:
            raise UnknownOutcome("the service does not answer") from error
        _settled(response, fresh=True)

    def void(self, payment: str) -> Mapping[str, Any]:
        """Take back a whole payment.

        Raises:
            TillError, UnknownOutcome: as `pay`.
        """
        return self._repeat(f"/api/v1/canteen/payments/{payment}/void", f"void-{payment}", None)

    def refund(self, payment: str, amount_cents: int, *, key: str) -> Mapping[str, Any]:
        """Give back part of a payment; `key` is the till's own number of this refund, the same when it is tried again.

        Raises:
            TillError, UnknownOutcome: as `pay`.
        """
        body = {"amount_cents": amount_cents}
        return self._repeat(f"/api/v1/canteen/payments/{payment}/refunds", key, body)

    def _settle(self, wanted: _Open, *, fresh: bool) -> Outcome:
        path = f"/api/v1/canteen/terminals/{wanted.terminal}/payments"
        try:
            answer = self._repeat(path, wanted.key, wanted.body, wait_s=wanted.body["timeout_s"], fresh=fresh)
        except TillError:
            self._open_file.unlink(missing_ok=True)
            raise
        outcome = Outcome(answer["status"], answer["amount_cents"], answer.get("payment"), answer)
        self._open_file.unlink(missing_ok=True)
        return outcome

    def _repeat(
        self, path: str, key: str, body: Mapping[str, Any] | None, *, wait_s: float = 0.0, fresh: bool = True
    ) -> Mapping[str, Any]:
        """Send until there is an answer, always with the same key; `fresh` while it has never been sent."""
        until_s = time.monotonic() + wait_s + _SPARE_S
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                response = self._http.post(path, json=body, headers={"Idempotency-Key": key}, timeout=left_s)
            except httpx2.RequestError:
                pass
            else:
                if response.status_code not in _TRY_AGAIN or _code(response) in _AWAY:
                    return _settled(response, fresh=fresh)
            fresh = False
            time.sleep(min(_RETRY_S, left_s))  # so that a service that comes back is not overrun
        raise UnknownOutcome("the service does not answer")

    def _store(self, wanted: _Open) -> None:
        """Write the open payment so that it survives a power cut, before the request leaves."""
        beside = self._open_file.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(asdict(wanted), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._open_file)
        folder = os.open(self._open_file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _new_key() -> str:
    """Return a key nobody else makes; it begins with the time: the service finds those of a day side by side."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def _settled(response: httpx2.Response, *, fresh: bool) -> Mapping[str, Any]:
    """Return an answer; `fresh` if nothing sent before it can have been booked.

    Raises:
        TillError: it says that nothing was booked.
        UnknownOutcome: it says nothing about that, such as a token refused at a repetition, or an error inside.
    """
    if response.is_success:
        with contextlib.suppress(ValueError):
            answer = response.json()
            if isinstance(answer, dict):
                return answer
        raise UnknownOutcome("what answers is not the service")
    code = _code(response)
    if response.status_code in _SETTLES or code in _AWAY or (fresh and response.is_client_error):
        raise TillError(code, _detail(response))
    raise UnknownOutcome(f"{code}: {_detail(response)}")


def _problem(response: httpx2.Response, name: str, otherwise: str) -> str:
    try:
        value = response.json().get(name)
    except (ValueError, AttributeError):
        return otherwise
    return value if isinstance(value, str) else otherwise


def _code(response: httpx2.Response) -> str:
    return _problem(response, "code", f"http_{response.status_code}")


def _detail(response: httpx2.Response) -> str:
    return _problem(response, "detail", f"the service answered {response.status_code}")
