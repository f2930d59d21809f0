# SPDX-License-Identifier: EUPL-1.2
"""What a facility management system does with the doors."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import httpx2

# Whoever calls waits for the answer anyway, and a service that has just come back is not overrun.
_RETRY_S: Final = 0.5
_PATIENCE_S: Final = 15.0
# Answers after which asking again may help, unless the service itself says that what was asked for is away.
_TRY_AGAIN: Final = frozenset({502, 503, 504})
_AWAY: Final = frozenset({"agent_away"})
_PAGE: Final = 100


class FacilityError(Exception):
    """The service refuses; `code` is the problem's (RFC 9457)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Facility:
    """A caller with a token for the use `door`."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def doors(self) -> list[Mapping[str, Any]]:
        """Return every door of this caller: code, name, zone, what strike and contact say, alarm, lockdown.

        Raises:
            FacilityError: the service refuses or does not answer.
        """
        doors: list[Mapping[str, Any]] = self._checked("GET", "/api/v1/doors")["doors"]
        return doors

    def open_once(self, door: str, reason: str, *, key: str | None = None) -> Mapping[str, Any]:
        """Open a door once from the desk; tried again with the same key it opens no second time.

        Raises:
            FacilityError: the service refuses (locked down, not connected), or does not answer.
        """
        return self._checked("POST", f"/api/v1/doors/{door}/open", {"reason": reason}, key or str(uuid.uuid4()))

    def lock_down(self, zone: str, reason: str, passing: str | None = None) -> None:
        """Lock every door of a zone for everybody but the group `passing`; escape routes stay open from inside.

        Raises:
            FacilityError: the service refuses or does not answer.
        """
        self._checked("PUT", f"/api/v1/zones/{zone}/lockdown", {"reason": reason, "passing": passing})

    def end_lock_down(self, zone: str) -> None:
        """End a lockdown.

        Raises:
            FacilityError: the service refuses or does not answer.
        """
        self._checked("DELETE", f"/api/v1/zones/{zone}/lockdown")

    def lockdowns(self) -> list[Mapping[str, Any]]:
        """Return which zones are locked down, since when, and by which caller.

        Raises:
            FacilityError: the service refuses or does not answer.
        """
        lockdowns: list[Mapping[str, Any]] = self._checked("GET", "/api/v1/doors/lockdowns")["lockdowns"]
        return lockdowns

    def follow(self, cursor: str | None = None, *, pause_s: float = 1.0) -> Iterator[Mapping[str, Any]]:
        """Yield the doors' events in order, without end; each carries the `cursor` from which to go on after it.

        Raises:
            FacilityError: the service refuses or does not answer.
        """
        while True:
            after = f"&after={cursor}" if cursor else ""
            page = self._checked("GET", f"/api/v1/doors/events?limit={_PAGE}{after}")
            for event in page["events"]:
                cursor = event["cursor"]
                yield event
            if len(page["events"]) < _PAGE:
                time.sleep(pause_s)

    def _checked(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Mapping[str, Any]:
        """Send until there is an answer; every request here may be repeated."""
        until_s = time.monotonic() + _PATIENCE_S
        headers = {} if key is None else {"Idempotency-Key": key}
        while True:
            try:
                response = self._http.request(method, path, json=body, headers=headers)
            except httpx2.TransportError as lost:
                if time.monotonic() > until_s:
                    raise FacilityError("no_answer", "the service does not answer") from lost
                time.sleep(_RETRY_S)  # so that a service that comes back is not overrun
                continue
            if response.is_success:
                answer: Mapping[str, Any] = response.json() if response.content else {}
                return answer
            error = _error(response)
            if response.status_code not in _TRY_AGAIN or error.code in _AWAY or time.monotonic() > until_s:
                raise error
            time.sleep(_RETRY_S)  # so that a service that comes back is not overrun


def _error(response: httpx2.Response) -> FacilityError:
    try:
        problem = response.json()
        return FacilityError(str(problem["code"]), str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        return FacilityError(f"http_{response.status_code}", f"the service answered {response.status_code}")
