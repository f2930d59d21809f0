# SPDX-License-Identifier: EUPL-1.2
"""What the sink is told about the source, without repeating itself."""

import time
from collections import Counter
from dataclasses import replace

import structlog

from cardservice.people.ports import DirectorySink, SourceState

_log = structlog.get_logger()


class StateReport:
    """Tells the sink each new state once. What is special about a connection is part of its state."""

    def __init__(self, sink: DirectorySink, mode: str = "") -> None:
        self._sink = sink
        self._mode = mode
        self._last: SourceState | None = None
        self._server = ""
        self._remarks: dict[str, str] = {}
        self._comparison: str | None = None

    def connected(self, server: str, remark: str | None, mode: str | None = None) -> None:
        """Signed in to `server`, which is followed in `mode`; `remark` says what is special about it."""
        self._server = server
        self._mode = mode if mode is not None else self._mode
        self._remarks = {"start": remark} if remark else {}
        self._comparison = None
        _log.info("directory.connected", server=server, mode=self._mode, remark=remark)
        self._tell_connected()

    def lost(self, server: str, trouble: str) -> None:
        """Not connected, because of `trouble`."""
        if self._last is None or self._last.connected or self._last.trouble != trouble:
            _log.warning("directory.lost", server=server, mode=self._mode, trouble=trouble)
        self._tell(connected=False, server=server, trouble=trouble)

    def unreadable(self, attributes: Counter[str]) -> None:
        """Remark on values that could not be read, by attribute name."""
        names = ", ".join(sorted(attributes))
        count = attributes.total()
        text = f"{count} values cannot be read ({names}); people with a doubtful status count as disabled."
        if self._remark("unreadable", text if count else None):
            _log.warning("directory.unreadable", server=self._server, values=count, attributes=names)

    def comparison(self, trouble: str | None) -> None:
        """The last comparison of everything failed, or no longer did."""
        if self._comparison == trouble:
            return
        self._comparison = trouble
        self._tell_connected()
        if trouble:
            _log.warning("directory.comparison_failed", server=self._server, trouble=trouble)

    def compared(self) -> None:
        """Everything was compared: how the connection began is of no interest any more."""
        self._remark("start", None)

    def special(self, kind: str, text: str | None) -> None:
        """Say what is special about this connection, or take it back; one text per `kind`."""
        if self._remark(kind, text):
            _log.warning("directory.remark", server=self._server, kind=kind, remark=text)

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
        failed = self._comparison
        self._tell(
            connected=True,
            server=self._server,
            trouble=f"The comparison with the whole directory failed: {failed}" if failed else None,
            remark=" ".join(self._remarks.values()) or None,
        )

    def _tell(self, *, connected: bool, server: str, trouble: str | None, remark: str | None = None) -> None:
        state = SourceState(connected, server, self._mode, time.time_ns() // 1_000_000, trouble, remark)
        last = self._last
        if last is not None and _condition(last) == _condition(state):
            # Another server that cannot be reached either, or another sentence, is not the beginning of a new trouble.
            state = replace(state, since_ms=last.since_ms)
        if state != last:
            self._last = state
            self._sink.state(state)


def _condition(state: SourceState) -> tuple[bool, bool]:
    """Return what makes a new beginning when it changes."""
    return state.connected, state.connected and state.trouble is not None
