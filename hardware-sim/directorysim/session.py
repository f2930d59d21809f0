# SPDX-License-Identifier: EUPL-1.2
"""One client's LDAP session without its socket: who is bound, and what each request is answered with."""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from directorysim import ber, messages
from directorysim.dn import Dn
from directorysim.errors import BerError, OperationError, ResultCode
from directorysim.messages import Message, Request, Response, SearchRequest
from directorysim.names import attribute_key
from directorysim.replication import PersistentSearch, limit_reached, plan_refresh, refresh_messages
from directorysim.schema import is_password, normalise
from directorysim.search import (
    Answer,
    Budget,
    Pages,
    Selection,
    matching_entries,
    page_control,
    parse_page_request,
    take_page,
)
from directorysim.service import MANAGE_DSA_IT_OID, PAGED_RESULTS_OID, START_TLS_OID, WHO_AM_I_OID, Service
from directorysim.store import Scope
from directorysim.sync import SYNC_REQUEST_OID, SyncMode, parse_sync_request

_ANSWER_TO: Final = {
    Request.BIND: Response.BIND,
    Request.SEARCH: Response.SEARCH_DONE,
    Request.MODIFY: Response.MODIFY,
    Request.ADD: Response.ADD,
    Request.DELETE: Response.DELETE,
    Request.RENAME: Response.RENAME,
    Request.COMPARE: Response.COMPARE,
    Request.EXTENDED: Response.EXTENDED,
}
_WRITES: Final = frozenset({Request.MODIFY, Request.ADD, Request.DELETE, Request.RENAME})
_SEARCH_CONTROLS: Final = frozenset({SYNC_REQUEST_OID, PAGED_RESULTS_OID})
_DEREFERENCES_IN_SEARCH: Final = frozenset({1, 3})


class Outlet(Protocol):
    """What a session needs from its connection."""

    @property
    def tls_active(self) -> bool:
        """Whether the connection is encrypted."""

    @property
    def tls_available(self) -> bool:
        """Whether the connection could be encrypted."""

    def send(self, data: bytes) -> None:
        """Write messages."""

    def deliver(self, message_id: int, stream: Iterator[bytes], finished: Callable[[], None]) -> None:
        """Write a stream of messages as fast as the client reads, then call `finished`."""

    def cancel(self, message_id: int) -> None:
        """Stop delivering a stream."""

    def start_tls(self, answer: bytes) -> None:
        """Write the answer and switch to TLS."""

    def abort(self) -> None:
        """Drop the connection at once."""


class Session:
    """Handles the requests of one connection in the order they come."""

    def __init__(self, service: Service, outlet: Outlet) -> None:
        self._service = service
        self._directory = service.directory
        self._outlet = outlet
        self._persistent: dict[int, PersistentSearch] = {}
        self._running: set[int] = set()
        self._pages: Pages | None = None
        self.identity: Dn | None = None
        self._handlers: dict[Request, Callable[[Message], bytes | None]] = {
            Request.BIND: self._bind,
            Request.SEARCH: self._search,
            Request.MODIFY: self._modify,
            Request.ADD: self._add,
            Request.DELETE: self._delete,
            Request.RENAME: self._rename,
            Request.COMPARE: self._compare,
            Request.EXTENDED: self._extended,
        }

    def handle(self, message: Message) -> None:
        """Answer one request; Unbind is the connection's own business.

        Raises:
            BerError: the identifier of a running operation is used again.
        """
        if message.request is Request.ABANDON:
            self._abandon(message)
            return
        if message.message_id in self._running:
            raise BerError("message identifier is in use")
        response = _ANSWER_TO[message.request]
        try:
            self._check(message)
            operation = self._handlers[message.request](message)
        except OperationError as error:
            operation = messages.encode_error(response, error)
        except BerError:
            operation = messages.encode_result(response, ResultCode.PROTOCOL_ERROR, "decoding error")
        if operation is not None:
            self._outlet.send(messages.encode_message(message.message_id, operation))

    def close(self) -> None:
        """End every operation of this session without an answer."""
        for message_id in tuple(self._running):
            self._end(message_id)

    def _check(self, message: Message) -> None:
        known = _SEARCH_CONTROLS if message.request is Request.SEARCH else frozenset()
        for control in message.controls:
            if control.critical and control.oid not in known and control.oid != MANAGE_DSA_IT_OID:
                raise OperationError(ResultCode.UNAVAILABLE_CRITICAL_EXTENSION, "critical extension is not recognized")
        if len({control.oid for control in message.controls}) != len(message.controls):
            raise OperationError(ResultCode.PROTOCOL_ERROR, "a control is given twice")
        if len(self._running) >= self._service.options.limits.max_operations:
            raise OperationError(ResultCode.BUSY, "too many operations at once on this connection")
        if message.request in _WRITES and self.identity is None:
            raise OperationError(ResultCode.STRONGER_AUTH_REQUIRED, "modifications require authentication")

    def _end(self, message_id: int) -> None:
        self._outlet.cancel(message_id)
        self._forget(message_id)

    def _forget(self, message_id: int) -> None:
        self._running.discard(message_id)
        persistent = self._persistent.pop(message_id, None)
        if persistent is not None:
            self._directory.listeners.remove(persistent.on_change)

    def _abandon(self, message: Message) -> None:
        content = message.operation.content
        if 1 <= len(content) <= 4:
            self._end(int.from_bytes(content, "big"))

    def _bind(self, message: Message) -> bytes:
        self.close()
        self.identity = None
        self._pages = None
        request = messages.decode_bind(message.operation)
        if request.version != 3:
            raise OperationError(ResultCode.PROTOCOL_ERROR, "only protocol version 3 is supported")
        if request.password is None:
            raise OperationError(ResultCode.AUTH_METHOD_NOT_SUPPORTED, "only simple binds are supported")
        if not request.dn and not request.password:
            raise OperationError(ResultCode.INAPPROPRIATE_AUTHENTICATION, "anonymous bind disallowed")
        dn = messages.decode_dn(ber.Element(ber.OCTET_STRING, request.dn.encode(), ()))
        if not request.password:
            raise OperationError(
                ResultCode.UNWILLING_TO_PERFORM, "unauthenticated bind (DN with no password) disallowed"
            )
        self.identity = self._service.authenticate(dn, password=request.password)
        return messages.encode_result(Response.BIND, ResultCode.SUCCESS)

    def _actor(self) -> str:
        """Return the name of the administrator, the only one who may write."""
        if self.identity is None or not self._service.is_admin(self.identity):
            raise OperationError(ResultCode.INSUFFICIENT_ACCESS)
        return self.identity.text

    def _reader(self) -> Dn:
        """Return who is bound; to anybody else no entry exists, as OpenLDAP answers."""
        if self.identity is None:
            raise OperationError(ResultCode.NO_SUCH_OBJECT)
        return self.identity

    def _add(self, message: Message) -> bytes:
        dn, attributes = messages.decode_add(message.operation)
        self._directory.add(dn, attributes, actor=self._actor())
        return messages.encode_result(Response.ADD, ResultCode.SUCCESS)

    def _modify(self, message: Message) -> bytes:
        dn, changes = messages.decode_modify(message.operation)
        self._directory.require(dn)
        self._directory.modify(dn, changes, actor=self._actor())
        return messages.encode_result(Response.MODIFY, ResultCode.SUCCESS)

    def _delete(self, message: Message) -> bytes:
        dn = messages.decode_dn(message.operation)
        self._directory.require(dn)
        self._directory.delete(dn, actor=self._actor())
        return messages.encode_result(Response.DELETE, ResultCode.SUCCESS)

    def _rename(self, message: Message) -> bytes:
        renaming = messages.decode_rename(message.operation)
        self._directory.require(renaming.dn)
        self._directory.rename(renaming, actor=self._actor())
        return messages.encode_result(Response.RENAME, ResultCode.SUCCESS)

    def _compare(self, message: Message) -> bytes:
        dn, name, value = messages.decode_compare(message.operation)
        self._reader()
        key = attribute_key(name)
        try:
            form = normalise(key, value)
        except ValueError as error:
            raise OperationError(ResultCode.INVALID_ATTRIBUTE_SYNTAX) from error
        entry = self._directory.require(dn)
        if is_password(key):
            raise OperationError(ResultCode.INSUFFICIENT_ACCESS)
        attribute = entry.named(key)
        if attribute is None:
            raise OperationError(ResultCode.NO_SUCH_ATTRIBUTE)
        equal = attribute.matches(form)
        return messages.encode_result(Response.COMPARE, ResultCode.COMPARE_TRUE if equal else ResultCode.COMPARE_FALSE)

    def _extended(self, message: Message) -> bytes | None:
        name = messages.decode_extended(message.operation)
        if name == WHO_AM_I_OID:
            who = f"dn:{self.identity.text}" if self.identity is not None else ""
            value = ber.encode_octets(who.encode(), 0x8B)
            return messages.encode_result(Response.EXTENDED, ResultCode.SUCCESS, extra=value)
        if name == START_TLS_OID:
            self._start_tls(message.message_id)
            return None
        raise OperationError(ResultCode.PROTOCOL_ERROR, "unsupported extended operation")

    def _start_tls(self, message_id: int) -> None:
        if self._outlet.tls_active:
            raise OperationError(ResultCode.OPERATIONS_ERROR, "TLS already started")
        if not self._outlet.tls_available:
            raise OperationError(ResultCode.UNAVAILABLE, "TLS is not configured")
        if self._running:
            raise OperationError(ResultCode.OPERATIONS_ERROR, "cannot start TLS when operations are outstanding")
        name = ber.encode_octets(START_TLS_OID.encode("ascii"), 0x8A)
        operation = messages.encode_result(Response.EXTENDED, ResultCode.SUCCESS, extra=name)
        self._outlet.start_tls(messages.encode_message(message_id, operation))

    def _search(self, message: Message) -> None:
        request = messages.decode_search(message.operation)
        if not request.base.key and request.scope is Scope.BASE:
            self._search_root(message, request)
            return
        identity = self._reader()
        budget = Budget(
            self._service,
            size_limit=self._service.size_limit(identity, request.size_limit),
            time_limit_s=request.time_limit_s,
        )
        selection = Selection(request.attributes, types_only=request.types_only)
        answer = Answer(message.message_id, selection, budget, self._directory)
        if message.control(SYNC_REQUEST_OID) is not None:
            self._synchronise(message, request, answer)
        elif message.control(PAGED_RESULTS_OID) is not None:
            self._search_page(message, request, answer)
        else:
            entries = matching_entries(self._directory, request)
            self._deliver(message.message_id, answer.messages(entries))

    def _deliver(self, message_id: int, stream: Iterator[bytes]) -> None:
        self._running.add(message_id)
        self._outlet.deliver(message_id, stream, lambda: self._running.discard(message_id))

    def _search_root(self, message: Message, request: SearchRequest) -> None:
        if any(control.critical and control.oid in _SEARCH_CONTROLS for control in message.controls):
            raise OperationError(ResultCode.UNAVAILABLE_CRITICAL_EXTENSION, "critical control unavailable in context")
        root = self._service.root_dse(with_tls=self._outlet.tls_available)
        budget = Budget(self._service, size_limit=0, time_limit_s=0)
        selection = Selection(request.attributes, types_only=request.types_only)
        answer = Answer(message.message_id, selection, budget, self._directory)
        found = [root] if request.filter(root) else []
        self._outlet.send(b"".join(answer.messages(found)))

    def _search_page(self, message: Message, request: SearchRequest, answer: Answer) -> None:
        control = message.control(PAGED_RESULTS_OID)
        page = parse_page_request(control.value if control is not None else None)
        pages, self._pages = self._pages, None
        if not page.cookie:
            pages = Pages(b"", matching_entries(self._directory, request), answer.budget)
        elif pages is None or pages.cookie != page.cookie:
            raise OperationError(ResultCode.UNWILLING_TO_PERFORM, "paged results cookie is invalid or old")
        elif page.size == 0:
            pages.entries = []
        pages.budget.renew_time(request.time_limit_s)
        entries = take_page(pages, page.size)
        self._pages = pages if pages.cookie else None
        paged_answer = Answer(message.message_id, answer.selection, pages.budget, self._directory)
        self._deliver(message.message_id, paged_answer.messages(entries, [page_control(pages.cookie)]))

    def _synchronise(self, message: Message, request: SearchRequest, answer: Answer) -> None:
        control = message.control(SYNC_REQUEST_OID)
        sync = parse_sync_request(control.value if control is not None else None)
        if request.dereference in _DEREFERENCES_IN_SEARCH:
            raise OperationError(ResultCode.PROTOCOL_ERROR, "illegal value for derefAliases")
        if message.control(PAGED_RESULTS_OID) is not None:
            raise OperationError(ResultCode.UNWILLING_TO_PERFORM, "a synchronisation cannot be paged")
        stream = refresh_messages(plan_refresh(self._directory, request, sync), answer, sync.mode)
        if sync.mode is SyncMode.REFRESH_ONLY:
            self._deliver(message.message_id, _until_limit(message.message_id, stream, lambda: None))
            return
        persistent = PersistentSearch(
            request,
            answer,
            send=self._outlet.send,
            overflow=self._outlet.abort,
            max_waiting=self._service.options.limits.max_waiting_changes,
        )
        message_id = message.message_id
        self._persistent[message_id] = persistent
        self._directory.listeners.append(persistent.on_change)
        self._running.add(message_id)
        limited = _until_limit(message_id, stream, lambda: self._forget(message_id))
        self._outlet.deliver(message_id, limited, lambda: self._refreshed(message_id))

    def _refreshed(self, message_id: int) -> None:
        """Go on to the persist stage, unless the refresh met a limit."""
        persistent = self._persistent.get(message_id)
        if persistent is not None:
            persistent.refreshed()


def _until_limit(message_id: int, stream: Iterator[bytes], limit_met: Callable[[], None]) -> Iterator[bytes]:
    """Yield a refresh; when it meets a limit, the result that says so ends it."""
    try:
        yield from stream
    except OperationError as error:
        limit_met()
        yield limit_reached(message_id, error)
