# SPDX-License-Identifier: EUPL-1.2
"""What the sink is told about the source, without repeating itself."""

import time
from collections import Counter

import structlog

from cardservice.people.ports import DirectorySink, SourceState

_log = structlog.get_logger()


class StateReport:
    """Tells the sink each new state once. The standing remark of a connection is part of its state."""

    def __init__(self, sink: DirectorySink, mode: str) -> None:
        self._sink = sink
        self._mode = mode
        self._last: SourceState | None = None
        self._server = ""
        self._remarks: dict[str, str] = {}

    def connected(self, server: str, remark: str | None) -> None:
        """Signed in to `server`; `remark` says what is special about it."""
        self._server = server
        self._remarks = {"start": remark} if remark else {}
        _log.info("directory.connected", server=server, mode=self._mode, remark=remark)
        self._tell_connected()

    def lost(self, server: str, trouble: str) -> None:
        """Not connected, because of `trouble`."""
        if self._last is None or self._last.connected or self._last.trouble != trouble:
            _log.warning("directory.lost", server=server, mode=self._mode, trouble=trouble)
        self._tell(server, connected=False, trouble=trouble)

    def unreadable(self, attributes: Counter[str]) -> None:
        """Remark on values that could not be read, by attribute name."""
        names = ", ".join(sorted(attributes))
        count = attributes.total()
        text = f"{count} values cannot be read ({names}); people with a doubtful status count as disabled."
        if self._remark("unreadable", text if count else None):
            _log.warning("directory.unreadable", server=self._server, values=count, attributes=names)

    def comparison(self, trouble: str | None) -> None:
        """Remark on the comparison of everything that failed."""
        text = f"The comparison with the whole directory failed: {trouble}" if trouble else None
        if self._remark("comparison", text):
            _log.warning("directory.comparison_failed", server=self._server, trouble=trouble)

    def _remark(self, kind: str, text: str | None) -> bool:
        """Set or clear a remark; True if there is a new one."""
        if self._remarks.get(kind) == text:
            return False
        if text is None:
            del self._remarks[kind]
        else:
            self._remarks[kind] = text
        self._tell_connected()
        return text is not None

    def _tell_connected(self) -> None:
        self._tell(self._server, connected=True, trouble=" ".join(self._remarks.values()) or None)

    def _tell(self, server: str, *, connected: bool, trouble: str | None) -> None:
        last = self._last
        same = last is not None and (last.connected, last.server) == (connected, server)
        if last is not None and same and last.trouble == trouble:
            return
        since_ms = last.since_ms if last is not None and same else time.time_ns() // 1_000_000
        self._last = SourceState(connected, server, self._mode, since_ms, trouble)
        self._sink.state(self._last)
