# SPDX-License-Identifier: EUPL-1.2
"""Looks at a directory once and says in plain words whether the service can work with it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from cardservice.people.rules import DirectoryGroup
from integrations.ldap.asking import Patience, entries, messages
from integrations.ldap.connection import Channel, encode_search, open_channel
from integrations.ldap.content_sync import CONTENT_SYNC
from integrations.ldap.content_sync_search import ROOT_ATTRIBUTES, Root, read_root, with_own_attributes
from integrations.ldap.controls import SYNC_REQUEST_OID, SyncMode, sync_request
from integrations.ldap.dirsync import DIRSYNC, check_rights
from integrations.ldap.domain_policy import UNREADABLE, with_domain_policy
from integrations.ldap.errors import LdapTrouble, SearchRefused
from integrations.ldap.following import Mode
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.mapping_attributes import USUAL_ATTRIBUTES, spelt
from integrations.ldap.messages import Entry
from integrations.ldap.modes import named_mode, read_offer
from integrations.ldap.polling import POLLING
from integrations.ldap.polling_pages import PagedSearch
from integrations.ldap.polling_stamps import KINDS
from integrations.ldap.refresh import EntryReader, entry_csn
from integrations.ldap.settings import LdapSettings, Server
from integrations.ldap.syncrepl import SYNCREPL

_WHY = {
    "syncrepl": "content synchronisation, RFC 4533",
    "content-sync": "content synchronisation of 389-ds",
    "dirsync": "Active Directory",
    "polling": "it offers no synchronisation",
}
_WHAT_IT_TAKES = "OpenLDAP: overlay syncprov; 389-ds: plugin Content Synchronization"
_CRITICAL_UNAVAILABLE = 12
_READ_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about the directory and how serious it is."""

    severity: Literal["ok", "warning", "error"]
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}"


@dataclass(slots=True)
class _Count:
    """What was seen while reading everything once."""

    people: int = 0
    groups: int = 0
    disabled: int = 0
    without_id: int = 0
    without_csn: int = 0
    without_stamp: int = 0
    without_login: int = 0
    without_member: int = 0
    showing: Counter[str] = field(default_factory=Counter)
    reader: EntryReader | None = None
    skipped: int = field(default=0)


def check(settings: LdapSettings) -> list[Finding]:
    """Connect to every configured server once and return what was found; never raises for what a server does."""
    findings: list[Finding] = []
    try:
        servers = settings.ordered_servers()
        settings.search_base()
        named_mode(settings)
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
        mode, about_mode = _check_mode(settings, channel)
        findings += about_mode
        if mode is CONTENT_SYNC:
            settings = with_own_attributes(settings)
        if with_domain_policy(settings, channel, Patience(_READ_LIMIT_S)) is None and not settings.mapping.lock_out_ms:
            findings.append(Finding("warning", f"{server.url}: {UNREADABLE}."))
        return findings + _describe(server, _read_everything(settings, channel, mode), mode, settings)
    finally:
        channel.close()


def _check_mode(settings: LdapSettings, channel: Channel) -> tuple[Mode, list[Finding]]:
    """Return the mode this server would be followed in, why, and which rights it lacks."""
    offer = read_offer(channel, _READ_LIMIT_S)
    named = named_mode(settings)
    mode = named or offer.mode()
    why = "as the settings say" if named else _WHY[mode.name]
    findings: list[Finding] = []
    if mode in {SYNCREPL, CONTENT_SYNC} and not _synchronises(settings, channel):
        text = f"{channel.url}: offers no content synchronisation here ({_WHAT_IT_TAKES})."
        findings = [Finding("error" if named else "warning", text)]
        mode, why = named or POLLING, why if named else "all that is left"
    if not offer.readable:
        text = f"{channel.url}: does not let this account read what the server supports."
        findings.append(Finding("warning", text))
    findings.append(Finding("ok", f"{channel.url}: would be followed in mode {mode.name} ({why})."))
    return mode, findings + _check_rights(settings, channel, mode)


def _check_rights(settings: LdapSettings, channel: Channel, mode: Mode) -> list[Finding]:
    """Return what a mode needs and does not find."""
    if mode is CONTENT_SYNC and _read_root(channel) is None:
        text = "shows no number of its last change (389-ds: retro changelog plugin); it cannot be proved current"
        return [Finding("error", f"{channel.url}: {text}.")]
    if mode is DIRSYNC:
        return [Finding("warning", sentence) for sentence in check_rights(channel, settings)]
    if mode is POLLING:
        text = f"deletions are noticed every {settings.timing.list_s:g} s only, when everything is listed"
        return [Finding("warning", f"{channel.url}: {text}.")]
    return []


def _synchronises(settings: LdapSettings, channel: Channel) -> bool:
    """Ask for the synchronisation of nobody: OpenLDAP offers for all databases what only one of them may have."""
    request = encode_search(settings.search_base(), "(&(objectClass=person)(!(objectClass=person)))", ("1.1",))
    control = (SYNC_REQUEST_OID, sync_request(SyncMode.REFRESH_ONLY, None))
    try:
        for _ in entries(channel, channel.search(request, (control,)), Patience(_READ_LIMIT_S)):
            pass
    except SearchRefused as error:
        if error.code != _CRITICAL_UNAVAILABLE:
            raise
        return False
    return True


def _read_root(channel: Channel) -> Root | None:
    request = encode_search("", "(objectClass=*)", ROOT_ATTRIBUTES, whole_tree=False)
    found = list(entries(channel, channel.search(request), Patience(_READ_LIMIT_S)))
    return read_root(found[0].attributes) if found else None


def _read_everything(settings: LdapSettings, channel: Channel, mode: Mode) -> _Count:
    count = _Count(reader=EntryReader(settings))
    attributes = dict.fromkeys((*settings.mapping.attributes(), *(kind.attribute for kind in KINDS)))
    request = encode_search(settings.search_base(), settings.search_filter(), attributes)
    for entry in _found(channel, request, mode):
        _count_entry(count, entry, settings)
    count.showing[settings.mapping.photo.lower()] = _count_photos(settings, channel, mode)
    return count


def _count_photos(settings: LdapSettings, channel: Channel, mode: Mode) -> int:
    """Return how many people have a photo; not one of them is read."""
    if not settings.mapping.photo:
        return 0
    wanted = f"(&{settings.people_filter}({settings.mapping.photo}=*))"
    request = encode_search(settings.people_base, wanted, ("1.1",))
    return sum(1 for _ in _found(channel, request, mode))


def _found(channel: Channel, request: bytes, mode: Mode) -> Iterator[Entry]:
    """Yield what a search finds, in pages where the server gives out no long lists."""
    if mode in {POLLING, DIRSYNC}:
        return _paged_entries(channel, request)
    return entries(channel, channel.search(request), Patience(_READ_LIMIT_S))


def _count_entry(count: _Count, entry: Entry, settings: LdapSettings) -> None:
    stable_id = read_stable_id(entry.attributes, settings.mapping.stable_id)
    count.without_id += stable_id is None
    count.without_csn += not entry_csn(entry)
    count.without_stamp += all(kind.of(entry.attributes) is None for kind in KINDS)
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
        count.showing.update(name for name, values in entry.attributes.items() if values)


def _describe(server: Server, count: _Count, mode: Mode, settings: LdapSettings) -> list[Finding]:
    text = f"{server.url}: {count.people} people ({count.disabled} disabled) and {count.groups} groups."
    findings = [Finding("ok" if count.people and count.groups else "error", text)]
    unreadable = count.reader.unreadable if count.reader else {}
    warnings = (
        (count.without_id, f"entries show no {spelt(settings.mapping.stable_id)}; the account may not read it"),
        (count.without_csn if mode is SYNCREPL else 0, "entries show no entryCSN; the account may not read it"),
        (
            count.without_stamp if mode is POLLING else 0,
            "entries do not show when they were changed; changes too are noticed only when everything is listed",
        ),
        (count.without_login, "people show no login; the account may not read it, or the attribute is another"),
        (count.without_member, "groups show no member; the account may not read it, or the attribute is another"),
        *((number, f"values of {name} cannot be read") for name, number in sorted(unreadable.items())),
    )
    findings += [Finding("warning", f"{server.url}: {number} {what}.") for number, what in warnings if number]
    if count.skipped:
        # Usual on Active Directory, whose own groups lie beside those of the city.
        text = f"{count.skipped} entries fit the filters, lie outside the bases and are left out"
        findings.append(Finding("ok", f"{server.url}: {text}."))
    return findings + _describe_mapping(server, count, settings)


def _describe_mapping(server: Server, count: _Count, settings: LdapSettings) -> list[Finding]:
    """Say how many people show each attribute that something is taken from; the settings' own must be there."""
    names = dict.fromkeys(name for sources in settings.mapping.sources().values() for name in sources)
    if not count.people:
        return []
    shown = ", ".join(f"{name} {number}" for name in names if (number := count.showing[name.lower()]))
    unseen = [name for name in names if not count.showing[name.lower()]]
    text = f"of {count.people} people show: {shown}"
    if unseen:
        text += f"; nobody shows {', '.join(unseen)}"
    warnings = (
        f"{name}, which the settings name ([directory.mapping]), is shown by nobody; it is called otherwise, or "
        "the account may not read it"
        for name in unseen
        if name.lower() not in USUAL_ATTRIBUTES
    )
    return [
        Finding("ok", f"{server.url}: {text}."),
        *(Finding("warning", f"{server.url}: {warning}.") for warning in warnings),
    ]


def _paged_entries(channel: Channel, request: bytes) -> Iterator[Entry]:
    search = PagedSearch(channel, request)
    for message in messages(channel, Patience(_READ_LIMIT_S)):
        entry = search.take(message)
        if entry is not None:
            yield entry
        if search.ended:
            return
