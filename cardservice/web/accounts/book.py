# SPDX-License-Identifier: EUPL-1.2
"""The accounts in memory, for requests: read when the change log says so, never on the way of a request."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Connection, Engine

from cardservice.client_certificates import Authorities, ClientCertificate
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import DatabaseUnavailable
from cardservice.web.accounts import store
from cardservice.web.accounts.rules import DAY_MS, Account, Pace, reminders
from cardservice.web.accounts.service import Accounts
from cardservice.web.callers import Allowance, Bound, Caller, Callers

# When a key was used last is known to the hour.
NOTE_EVERY_MS: Final = 3_600_000
RETRY_S: Final = 1.0
_log = structlog.get_logger()


class AccountBook(Collector):
    """Keeps `callers` as the store has them; `refresh` from any thread.

    A thread of its own notes when keys were used, and reads again what could not be read.
    """

    def __init__(
        self, engine: Engine, clock: Clock, settled: Sequence[Caller], authorities: Authorities | None = None
    ) -> None:
        self._engine, self._clock, self._authorities = engine, clock, authorities
        required = authorities is not None and authorities.required
        notes = self._note_use, self._note_certificate
        self.callers = Callers(settled, clock, *notes, certificates_required=required)
        self._lock = threading.Lock()
        self._accounts: tuple[Account, ...] = ()
        self._allowances: dict[int, tuple[Pace, Allowance]] = {}
        self._noted_ms: dict[str, int] = {}
        self._trouble: str | None = None
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="accounts")

    def refresh(self) -> None:
        """Read all accounts anew.

        Raises:
            DatabaseUnavailable: those known so far stay.
        """
        # One after the other: what was read first must not be what counts last.
        with self._lock:
            with read(self._engine) as connection:
                accounts = tuple(store.accounts(connection))
                digests = store.digests(connection)
            self.callers.replace(*self._callers_of(accounts, digests))
            self._accounts, self._trouble = accounts, None

    def desk(self, changed: Callable[[], None]) -> Accounts:
        """Return what manages these accounts; `changed` makes this book look, and whoever else follows them."""
        return Accounts(self._engine, self._clock, self.callers.settled, changed, self._authorities)

    def refresh_soon(self) -> None:
        """Read all accounts anew, now or as soon as the store can be read; never raises."""
        try:
            self.refresh()
        except DatabaseUnavailable as error:
            self._trouble = "accounts: what changed cannot be read; a key that was revoked meanwhile still counts"
            _log.error("accounts.not_refreshed", error=str(error))
            if not self._closing.is_set():
                self._thread.submit(self._try_again)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._closing.set()
        self._thread.shutdown()

    def sentences(self) -> list[str]:
        """Return what an administrator is to do, one sentence each."""
        now_ms = self._clock.now_ms()
        found = [sentence for one in self._accounts for sentence in reminders(one, now_ms)]
        twice = {one.name for one in self._accounts} & {one.name for one in self.callers.settled}
        found += [
            f"account {name}: the settings name another one like it; rename one of them" for name in sorted(twice)
        ]
        return found if self._trouble is None else [self._trouble, *found]

    def collect(self) -> Iterable[Metric]:
        """Return the gauges as Prometheus reads them."""
        now_ms, enabled = self._clock.now_ms(), [one for one in self._accounts if not one.disabled]
        for what, ends_ms in (
            ("key", [one.last_end_ms() for one in enabled]),
            ("certificate", [one.last_certificate_end_ms() for one in enabled]),
        ):
            text = f"Days until the last {what} of an account ends (below 0: it has)"
            gauge = GaugeMetricFamily(f"cardservice_account_{what}_days_left", text, labels=["account"])
            for one, end_ms in zip(enabled, ends_ms, strict=True):
                if end_ms is not None:
                    gauge.add_metric([one.name], (end_ms - now_ms) / DAY_MS)
            yield gauge

    def _callers_of(self, accounts: Iterable[Account], digests: dict[str, bytes]) -> tuple[list[Caller], list[Bound]]:
        """Return what each key opens, and each certificate."""
        callers, bound, allowances, noted_ms = [], [], {}, {}
        for one in accounts:
            allowances[one.row] = self._allowance_of(one)
            whole = _caller_of(one, allowances[one.row][1])
            for key in one.keys if not one.disabled else ():
                if key.revoked_ms is None:
                    noted_ms[key.key] = key.last_used_ms or 0
                    times = replace(whole, begins_ms=key.begins_ms, expires_ms=key.expires_ms)
                    callers.append(replace(times, key=key.key, token_digest=digests[key.key]))
            for certificate in one.certificates:
                revoked = certificate.revoked_ms is not None
                noted_ms[certificate.certificate] = certificate.last_used_ms or 0
                if revoked or not one.disabled:
                    name, digest = certificate.certificate, certificate.key_digest
                    bound.append(Bound(digest, name, None if revoked else whole))
        self._allowances = allowances
        # What was noted here a moment ago may not be in the store yet.
        self._noted_ms = {name: max(at_ms, self._noted_ms.get(name, 0)) for name, at_ms in noted_ms.items()}
        return callers, bound

    def _allowance_of(self, account: Account) -> tuple[Pace, Allowance]:
        """Return what the keys of an account share; a change of something else fills nothing up."""
        pace = account.terms.pace
        kept = self._allowances.get(account.row)
        if kept is not None and kept[0] == pace:
            return kept
        return pace, Allowance(pace.per_s, pace.burst, self._clock)

    def _note_use(self, key: str, now_ms: int) -> None:
        if self._is_to_be_noted(key, now_ms):
            self._thread.submit(self._write_use, lambda connection: store.used(connection, key, now_ms))

    def _note_certificate(self, name: str, seen: ClientCertificate, now_ms: int) -> None:
        if self._is_to_be_noted(name, now_ms):
            self._thread.submit(
                self._write_use, lambda connection: store.certificate_used(connection, name, seen, now_ms)
            )

    def _is_to_be_noted(self, name: str, now_ms: int) -> bool:
        if now_ms - self._noted_ms.get(name, 0) < NOTE_EVERY_MS or self._closing.is_set():
            return False
        self._noted_ms[name] = now_ms
        return True

    def _write_use(self, write_it: Callable[[Connection], None]) -> None:
        try:
            with write(self._engine) as connection:
                write_it(connection)
        except DatabaseUnavailable as error:
            # The next request after an hour notes it again.
            _log.warning("accounts.use_not_noted", error=str(error))

    def _try_again(self) -> None:
        while not self._closing.wait(RETRY_S):
            try:
                self.refresh()
            except DatabaseUnavailable as error:
                _log.warning("accounts.still_not_refreshed", error=str(error))
                continue
            return


def _caller_of(account: Account, allowance: Allowance) -> Caller:
    """Return the caller that an account is, whatever it is proved with."""
    return Caller(
        name=account.name,
        token_digest=b"",
        uses=frozenset(str(scope) for scope in account.terms.scopes),
        attested_points=account.terms.attested_points,
        bounds=account.terms.reach,
        allowance=allowance,
        needs_both=account.terms.needs_both,
    )
