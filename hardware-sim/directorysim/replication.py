# SPDX-License-Identifier: EUPL-1.2
"""Answers a search with the Sync Request control (RFC 4533): the refresh, and the changes that follow it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from directorysim.entry import Entry
from directorysim.errors import OperationError, ResultCode
from directorysim.messages import (
    Response,
    SearchRequest,
    encode_control,
    encode_intermediate,
    encode_message,
    encode_result,
)
from directorysim.search import Answer, encode_entry, is_in_scope, matching_entries, search_done
from directorysim.store import ChangeEvent, Directory
from directorysim.sync import (
    SYNC_DONE_OID,
    SYNC_INFO_OID,
    SYNC_STATE_OID,
    LoggedChange,
    SyncMode,
    SyncRequest,
    SyncState,
    done_value,
    encode_cookie,
    id_set_infos,
    new_cookie_info,
    refresh_done_info,
    state_value,
)

_NO_ATTRIBUTES = b"\x30\x00"


@dataclass(frozen=True, slots=True)
class Refresh:
    """What brings a consumer up to date: identifier sets, then entries, then the end of the refresh."""

    id_sets: tuple[bytes, ...]
    entries: tuple[Entry, ...]
    cookie: bytes | None
    refresh_deletes: bool


def plan_refresh(directory: Directory, request: SearchRequest, sync: SyncRequest) -> Refresh:
    """Work out the refresh for a consumer with this cookie.

    Raises:
        OperationError: there is no base entry, or the consumer has seen changes this server has not.
    """
    current = directory.context_csn
    directory.require(request.base)
    if sync.csn is None:
        entries = tuple(matching_entries(directory, request))
        return Refresh((), entries, encode_cookie(current), refresh_deletes=not sync.foreign)
    if sync.csn > current:
        raise OperationError(ResultCode.UNWILLING_TO_PERFORM, "consumer state is newer than provider!")
    if sync.csn == current:
        return Refresh((), (), None, refresh_deletes=True)
    changes = directory.session_log.since(sync.csn)
    if changes is None:
        return _present_phase(directory, request, sync.csn)
    return _replay(directory, request, sync.csn, changes)


def _replay(
    directory: Directory, request: SearchRequest, consumer_csn: str, changes: Sequence[LoggedChange]
) -> Refresh:
    """Tell what the session log knows: as slapd does, every entry that is gone in a set of its own."""
    last_change = {change.uuid: change.csn for change in changes}
    changed: list[Entry] = []
    gone: list[bytes] = []
    for uuid, csn in sorted(last_change.items(), key=itemgetter(1)):
        entry = directory.by_uuid(uuid)
        if entry is not None and _matches(request, entry):
            changed.append(entry)
        else:
            cookie = encode_cookie(consumer_csn, deleted_up_to=csn)
            gone += id_set_infos([uuid], cookie, refresh_deletes=True)
    return Refresh(tuple(gone), tuple(changed), encode_cookie(directory.context_csn), refresh_deletes=True)


def _present_phase(directory: Directory, request: SearchRequest, consumer_csn: str) -> Refresh:
    """Name every entry of the content, then send those that changed; whoever is not named is gone."""
    entries = matching_entries(directory, request)
    present = id_set_infos([entry.uuid for entry in entries], None, refresh_deletes=False)
    changed = tuple(entry for entry in entries if entry.csn > consumer_csn)
    return Refresh(tuple(present), changed, encode_cookie(directory.context_csn), refresh_deletes=False)


def _matches(request: SearchRequest, entry: Entry) -> bool:
    return is_in_scope(entry.dn.key, entry.dn.parent_key, request) and request.filter(entry) is True


def _info(message_id: int, value: bytes) -> bytes:
    return encode_message(message_id, encode_intermediate(SYNC_INFO_OID, value))


def refresh_messages(refresh: Refresh, answer: Answer, mode: SyncMode) -> Iterator[bytes]:
    """Yield the messages of a refresh; in persist mode the last one says that the refresh is done.

    Raises:
        OperationError: the search met its size or time limit; nothing has been sent for that yet.
    """
    message_id = answer.message_id
    for id_set in refresh.id_sets:
        yield _info(message_id, id_set)
    for entry in refresh.entries:
        answer.budget.spend()
        control = encode_control(SYNC_STATE_OID, state_value(SyncState.ADD, entry.uuid))
        yield encode_entry(message_id, entry, answer.selection.encode(entry, answer.directory), [control])
    if mode is SyncMode.REFRESH_ONLY:
        value = done_value(refresh.cookie, refresh_deletes=refresh.refresh_deletes)
        yield search_done(message_id, [encode_control(SYNC_DONE_OID, value)])
    else:
        yield _info(message_id, refresh_done_info(refresh.cookie, refresh_deletes=refresh.refresh_deletes))


class PersistentSearch:
    """One refreshAndPersist search: holds changes back during the refresh, then sends each at once."""

    def __init__(
        self,
        request: SearchRequest,
        answer: Answer,
        *,
        send: Callable[[bytes], None],
        overflow: Callable[[], None],
        max_waiting: int,
    ) -> None:
        self._request = request
        self._answer = answer
        self._send = send
        self._overflow = overflow
        self._max_waiting = max_waiting
        self._waiting: list[bytes] | None = []

    def refreshed(self) -> None:
        """Send what was held back; from now on changes go out at once."""
        waiting, self._waiting = self._waiting or [], None
        if waiting:
            self._send(b"".join(waiting))

    def on_change(self, event: ChangeEvent) -> None:
        """Tell the consumer about a completed write: the change of its content, or just the new cookie."""
        message = self._message(event)
        if message is None:
            return
        if self._waiting is None:
            self._send(message)
        elif len(self._waiting) < self._max_waiting:
            self._waiting.append(message)
        else:
            self._overflow()

    def _message(self, event: ChangeEvent) -> bytes | None:
        answer, request = self._answer, self._request
        before = event.before if event.before is not None and _matches(request, event.before) else None
        after = event.after if event.after is not None and _matches(request, event.after) else None
        cookie = encode_cookie(event.csn)
        if after is not None:
            state = SyncState.MODIFY if before is not None else SyncState.ADD
            control = encode_control(SYNC_STATE_OID, state_value(state, after.uuid, cookie))
            attributes = answer.selection.encode(after, answer.directory)
            return encode_entry(answer.message_id, after, attributes, [control])
        if before is not None:
            control = encode_control(SYNC_STATE_OID, state_value(SyncState.DELETE, before.uuid, cookie))
            return encode_entry(answer.message_id, event.after or before, _NO_ATTRIBUTES, [control])
        # slapd sends the new cookie for every change of other entries, but not when one of them is deleted
        return _info(answer.message_id, new_cookie_info(cookie)) if event.after is not None else None


def limit_reached(message_id: int, error: OperationError) -> bytes:
    """Encode the result of a synchronisation that met a limit: no Sync Done control, so no new cookie."""
    return encode_message(message_id, encode_result(Response.SEARCH_DONE, error.code, error.text))
