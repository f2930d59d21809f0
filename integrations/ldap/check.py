# SPDX-License-Identifier: EUPL-1.2
"""Looks at a directory once and says in plain words whether the service can work with it."""

import select
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from cardservice.people.rules import DirectoryGroup
from integrations.ldap.connection import Channel, encode_search, open_channel
from integrations.ldap.controls import SYNC_REQUEST_OID
from integrations.ldap.errors import LdapTrouble, ServerSilent
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.messages import Done, Entry
from integrations.ldap.refresh import EntryReader, entry_csn, refuse
from integrations.ldap.settings import LdapSettings, Server

_READ_LIMIT_S = 60.0
_MESSAGES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about the directory and how serious it is."""

    severity: Literal["ok", "warning", "error"]
    text: str


@dataclass(slots=True)
class _Count:
    """What was seen while reading everything once."""

    people: int = 0
    groups: int = 0
    disabled: int = 0
    without_id: int = 0
    without_csn: int = 0
    without_login: int = 0
    without_member: int = 0
    reader: EntryReader | None = None
    skipped: int = field(default=0)


def check(settings: LdapSettings) -> list[Finding]:
    """Connect to every configured server once and return what was found; never raises for what a server does."""
    findings: list[Finding] = []
    try:
        servers = settings.ordered_servers()
        settings.search_base()
    except LdapTrouble as error:
        return [Finding("error", str(error))]
    for server in servers:
        try:
            findings += _check_server(settings, server)
        except LdapTrouble as error:
            findings.append(Finding("error", str(error)))
    return findings


def _check_server(settings: LdapSettings, server: Server) -> list[Finding]:
    channel = open_channel(settings, server)
    try:
        findings = [Finding("ok", f"{server.url}: connected, certificate checked, signed in.")]
        if not server.tls and settings.plain_on_loopback:
            findings = [Finding("warning", f"{server.url}: signed in without TLS; this is for tests only.")]
        findings.append(_check_controls(channel))
        return findings + _describe(server, _read_everything(settings, channel))
    finally:
        channel.close()


def _check_controls(channel: Channel) -> Finding:
    request = encode_search("", "(objectClass=*)", ("supportedcontrol",), whole_tree=False)
    offered = {oid for entry in _entries(channel, request) for oid in entry.attributes.get("supportedcontrol", ())}
    if SYNC_REQUEST_OID.encode() in offered:
        return Finding("ok", f"{channel.url}: offers content synchronisation (RFC 4533).")
    if not offered:
        return Finding("warning", f"{channel.url}: does not let this account read what the server supports.")
    return Finding("error", f"{channel.url}: offers no content synchronisation (OpenLDAP: overlay syncprov).")


def _read_everything(settings: LdapSettings, channel: Channel) -> _Count:
    count = _Count(reader=EntryReader(settings))
    request = encode_search(settings.search_base(), settings.search_filter(), settings.mapping.attributes())
    for entry in _entries(channel, request):
        _count_entry(count, entry)
    return count


def _count_entry(count: _Count, entry: Entry) -> None:
    stable_id = read_stable_id(entry.attributes)
    count.without_id += stable_id is None
    count.without_csn += not entry_csn(entry)
    found = count.reader.read(stable_id or "", entry) if count.reader else None
    if found is None:
        count.skipped += 1
    elif isinstance(found, DirectoryGroup):
        count.groups += 1
        count.without_member += not found.member_dns
    else:
        count.people += 1
        count.disabled += not found.enabled
        count.without_login += found.login is None


def _describe(server: Server, count: _Count) -> list[Finding]:
    text = f"{server.url}: {count.people} people ({count.disabled} disabled) and {count.groups} groups."
    findings = [Finding("ok" if count.people and count.groups else "error", text)]
    unreadable = count.reader.unreadable if count.reader else {}
    warnings = (
        (count.without_id, "entries show no entryUUID; the account may not read it"),
        (count.without_csn, "entries show no entryCSN; the account may not read it"),
        (count.without_login, "people show no login; the account may not read it, or the attribute is another"),
        (count.without_member, "groups show no member; the account may not read it, or the attribute is another"),
        (count.skipped, "entries match the filters but lie outside the bases"),
        *((number, f"values of {name} cannot be read") for name, number in sorted(unreadable.items())),
    )
    findings += [Finding("warning", f"{server.url}: {number} {what}.") for number, what in warnings if number]
    return findings


def _entries(channel: Channel, request: bytes) -> Iterator[Entry]:
    """Yield what one search finds; any other end than success is an error, never "nobody"."""
    message_id = channel.search(request)
    deadline_s = time.monotonic() + _READ_LIMIT_S
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    while time.monotonic() < deadline_s:
        messages = channel.receive(_MESSAGES_AT_ONCE)
        for message in messages:
            if isinstance(message, Done) and message.message_id == message_id:
                if message.code != 0:
                    raise refuse(message.code, channel.url)
                return
            if isinstance(message, Entry):
                yield message
        if not messages:
            poller.poll(100)
    raise ServerSilent(f"{channel.url} did not finish within {_READ_LIMIT_S:g} s.")
