# SPDX-License-Identifier: EUPL-1.2
"""Answers a search with the Sync Request control (RFC 4533): the refresh, and the changes that follow it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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


def plan_refresh(directory: Directory, request: SearchRequest, consumer_csn: str | None) -> Refresh:
    """Work out the refresh for a consumer whose cookie says `consumer_csn`.

    Raises:
        OperationError: there is no base entry, or the consumer has seen changes this server has not.
    """
    current = directory.context_csn
    directory.require(request.base)
    if consumer_csn is None:
        entries = tuple(matching_entries(directory, request))
        return Refresh((), entries, encode_cookie(current), refresh_deletes=True)
    if consumer_csn > current:
        raise OperationError(ResultCode.UNWILLING_TO_PERFORM, "consumer state is newer than provider!")
    if consumer_csn == current:
        return Refresh((), (), None, refresh_deletes=True)
    changes = directory.session_log.since(consumer_csn)
    if changes is None:
        return _present_phase(directory, request, consumer_csn)
    last_change = {change.uuid: change.csn for change in changes}
    changed: list[Entry] = []
    gone: list[bytes] = []
    for uuid in last_change:
        entry = directory.by_uuid(uuid)
        if entry is not None and _matches(request, entry):
            changed.append(entry)
        else:
            gone.append(uuid)
    newest = max((last_change[uuid] for uuid in gone), default=None)
    id_sets = id_set_infos(gone, encode_cookie(consumer_csn, deleted_up_to=newest), refresh_deletes=True)
    return Refresh(tuple(id_sets), tuple(changed), encode_cookie(current), refresh_deletes=True)


def _present_phase(directory: Directory, request: SearchRequest, consumer_csn: str) -> Refresh:
    entries = matching_entries(directory, request)
    unchanged = [entry.uuid for entry in entries if entry.csn <= consumer_csn]
    changed = tuple(entry for entry in entries if entry.csn > consumer_csn)
    id_sets = id_set_infos(unchanged, None, refresh_deletes=False)
    return Refresh(tuple(id_sets), changed, encode_cookie(directory.context_csn), refresh_deletes=False)


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


@dataclass(frozen=True, slots=True)
class Consumer:
    """What a synchronising client asked for."""

    request: SearchRequest
    sync: SyncRequest
    answer: Answer
    announce_cookies: bool


class PersistentSearch:
    """One refreshAndPersist search: holds changes back during the refresh, then sends each at once."""

    def __init__(
        self, consumer: Consumer, *, send: Callable[[bytes], None], overflow: Callable[[], None], max_waiting: int
    ) -> None:
        self._consumer = consumer
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
        """Tell the consumer about a completed write, as far as it concerns its content."""
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
        answer, request = self._consumer.answer, self._consumer.request
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
            return encode_entry(answer.message_id, before, _NO_ATTRIBUTES, [control])
        return _info(answer.message_id, new_cookie_info(cookie)) if self._consumer.announce_cookies else None


def limit_reached(message_id: int, error: OperationError) -> bytes:
    """Encode the result of a synchronisation that met a limit: no Sync Done control, so no new cookie."""
    return encode_message(message_id, encode_result(Response.SEARCH_DONE, error.code, error.text))
