# SPDX-License-Identifier: EUPL-1.2
"""Which domain controller answers, what it holds, and what it lets our account see."""

import select
import time
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.dirsync_controls import DIRSYNC_OID, SHOW_DELETED_OID, dirsync_request
from integrations.ldap.dirsync_dialogue import Answer, Dialogue, Question, Rest, Script
from integrations.ldap.errors import AnswerBroken, SearchRefused, ServerSilent, SettingsRefused
from integrations.ldap.mapping import comparable_dn
from integrations.ldap.messages import Entry
from integrations.ldap.refresh import refuse
from integrations.ldap.settings import LdapSettings

ANYTHING: Final = "(objectClass=*)"
NOTHING: Final = "(&(objectClass=user)(!(objectClass=user)))"
BLIND_TO_DELETIONS: Final = (
    "The service's account may not list deleted objects (CN=Deleted Objects): who was deleted is found by comparing "
    "everything, every 30 s."
)
_ROOT_ATTRIBUTES: Final = ("dsservicename", "namingcontexts", "highestcommittedusn", "supportedcontrol")
_CHECK_LIMIT_S: Final = 60.0
NOT_ALLOWED: Final = frozenset({8, 50})

Asking = Generator[Question | Rest, Answer, "Controller"]


@dataclass(frozen=True, slots=True)
class Controller:
    """A domain controller: its own id, the naming context that holds the bases, its change counter, our rights."""

    identity: str
    context: str
    usn: int
    sees_deletions: bool


def ask_controller(settings: LdapSettings, url: str) -> Asking:
    """Ask a server who it is and what we may see.

    Raises:
        SearchRefused: it does not answer these questions.
        AnswerBroken: it is no domain controller.
        SettingsRefused: it does not hold what people and groups have in common.
    """
    root = yield from _ask_root(settings, url)
    if DIRSYNC_OID.encode() not in root.attributes.get("supportedcontrol", ()):
        raise AnswerBroken(f"{url} is no Active Directory domain controller: it offers no DirSync.")
    service = _text(root, "dsservicename")
    context = naming_context(settings, url, root.attributes.get("namingcontexts", ()))
    identity = yield from _ask_identity(settings, service)
    deleted = encode_search(f"CN=Deleted Objects,{context}", ANYTHING, ("objectclass",), whole_tree=False)
    answer = yield Question(deleted, settings.timing.dead_s, ((SHOW_DELETED_OID, b""),))
    # Without the right some servers do not show it, others show it without anything in it.
    sees = answer.code == 0 and any(entry.attributes.get("objectclass") for entry in answer.entries)
    return Controller(identity, context, read_usn(root, url), sees)


def _ask_root(settings: LdapSettings, url: str) -> Generator[Question, Answer, Entry]:
    request = encode_search("", ANYTHING, _ROOT_ATTRIBUTES, whole_tree=False)
    answer = yield Question(request, settings.timing.dead_s)
    if answer.code != 0:
        raise refuse(answer.code, url)
    if len(answer.entries) != 1:
        raise AnswerBroken(f"{url} does not say what it is (no root DSE).")
    return answer.entries[0]


def ask_usn(settings: LdapSettings, url: str) -> Generator[Question, Answer, int]:
    """Return the number of the last change the server has made.

    Raises:
        SearchRefused, AnswerBroken: it does not say.
    """
    root = yield from _ask_root(settings, url)
    return read_usn(root, url)


def read_usn(entry: Entry, url: str) -> int:
    """Return the highestCommittedUSN of a root DSE.

    Raises:
        AnswerBroken: there is none.
    """
    text = _text(entry, "highestcommittedusn")
    if not text.isdecimal() or len(text) > 19:
        raise AnswerBroken(f"{url} does not say how far it is (highestCommittedUSN).")
    return int(text)


def _ask_identity(settings: LdapSettings, service: str) -> Generator[Question, Answer, str]:
    """The invocation id is another one after a proper restore; where it may not be read, the server's name must do."""
    if not service:
        return "unknown"
    request = encode_search(service, ANYTHING, ("invocationid",), whole_tree=False)
    answer = yield Question(request, settings.timing.dead_s)
    for entry in answer.entries:
        values = entry.attributes.get("invocationid", ())
        if len(values) == 1 and len(values[0]) == 16:
            return str(uuid.UUID(bytes_le=values[0]))
    return str(uuid.uuid5(uuid.NAMESPACE_X500, service.lower()))


def naming_context(settings: LdapSettings, url: str, contexts: Sequence[bytes]) -> str:
    """Return which of a server's naming contexts holds people and groups.

    Raises:
        SettingsRefused: none does.
    """
    base = settings.search_base()
    for value in sorted(contexts, key=len, reverse=True):
        context = value.decode("utf-8", "replace")
        comparable = comparable_dn(context)
        if base == comparable or base.endswith(f",{comparable}"):
            return context
    raise SettingsRefused(f"{url} does not hold {base}.")


def _text(entry: Entry, name: str) -> str:
    return b"".join(entry.attributes.get(name, ())[:1]).decode("utf-8", "replace")


def refuse_dirsync(code: int, url: str) -> SearchRefused:
    """Return the error for a DirSync search that was not answered."""
    if code in NOT_ALLOWED:
        sentence = "the service's account may not follow changes (right 'Replicating Directory Changes')"
        return SearchRefused(f"{url} refused DirSync: {sentence}.", code)
    return refuse(code, url)


def check_rights(channel: Channel, settings: LdapSettings) -> list[str]:
    """Return what keeps Active Directory from being followed well, one plain sentence each; empty is all well.

    Raises:
        LdapTrouble: the connection failed, or it cannot be followed at all.
    """
    sentences: list[str] = []
    dialogue = Dialogue(channel, _check(settings, channel.url, sentences))
    deadline_s = time.monotonic() + _CHECK_LIMIT_S
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    while not dialogue.ended:
        if time.monotonic() > deadline_s:
            raise ServerSilent(f"{channel.url} did not finish within {_CHECK_LIMIT_S:g} s.")
        if not dialogue.step(time.monotonic()) and not dialogue.ended:
            poller.poll(100)
    return sentences


def _check(settings: LdapSettings, url: str, sentences: list[str]) -> Script:
    controller = yield from ask_controller(settings, url)
    if not controller.sees_deletions:
        sentences.append(f"{url}: {BLIND_TO_DELETIONS}")
    request = encode_search(controller.context, NOTHING, ("objectguid",))
    answer = yield Question(request, settings.timing.refresh_dead_s, ((DIRSYNC_OID, dirsync_request(b"")),))
    if answer.code != 0:
        raise refuse_dirsync(answer.code, url)
