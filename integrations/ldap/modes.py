# SPDX-License-Identifier: EUPL-1.2
"""Which mode a server is followed in: by what its root DSE offers, or by its name in the settings."""

import threading
from dataclasses import dataclass
from typing import Final

from integrations.ldap.asking import Patience, entries
from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.content_sync import CONTENT_SYNC
from integrations.ldap.controls import SYNC_REQUEST_OID
from integrations.ldap.dirsync import DIRSYNC
from integrations.ldap.errors import SettingsRefused
from integrations.ldap.following import Mode
from integrations.ldap.polling import POLLING
from integrations.ldap.settings import AUTOMATIC, LdapSettings
from integrations.ldap.syncrepl import SYNCREPL

MODES: Final = {mode.name: mode for mode in (SYNCREPL, CONTENT_SYNC, DIRSYNC, POLLING)}

_ACTIVE_DIRECTORY: Final = "1.2.840.113556.1.4.800"
_DS389: Final = ("389 project", "389-directory", "fedora project", "red hat")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server's root DSE says it can do; `readable` is False where it says nothing at all."""

    readable: bool
    synchronises: bool
    is_active_directory: bool
    is_ds389: bool

    def mode(self) -> Mode:
        """Return the best mode; what says nothing can still be polled."""
        if self.is_active_directory:
            return DIRSYNC
        if self.synchronises:
            return CONTENT_SYNC if self.is_ds389 else SYNCREPL
        return POLLING


def named_mode(settings: LdapSettings) -> Mode | None:
    """Return the mode that the settings name, None for the automatic choice.

    Raises:
        SettingsRefused: there is no such mode.
    """
    if settings.mode == AUTOMATIC:
        return None
    if settings.mode not in MODES:
        raise SettingsRefused(f"'{settings.mode}' is no mode; there are {AUTOMATIC}, {', '.join(MODES)}.")
    return MODES[settings.mode]


def choose(channel: Channel, settings: LdapSettings, stop: threading.Event | None = None) -> Mode:
    """Return the mode for the server behind `channel`; nothing is asked when the settings name one.

    Raises:
        LdapTrouble: the server does not answer, `stop` was set meanwhile, or there is no such mode.
    """
    return named_mode(settings) or read_offer(channel, settings.timing.dead_s, stop).mode()


def read_offer(channel: Channel, limit_s: float, stop: threading.Event | None = None) -> Offer:
    """Read the root DSE.

    Raises:
        LdapTrouble: the server does not answer within `limit_s`, or `stop` was set meanwhile.
    """
    wanted = ("supportedcontrol", "supportedcapabilities", "vendorname", "vendorversion")
    message_id = channel.search(encode_search("", "(objectClass=*)", wanted, whole_tree=False))
    found: dict[str, list[bytes]] = {}
    for entry in entries(channel, message_id, Patience(limit_s, stop)):
        found = entry.attributes
    return _read(found)


def _read(attributes: dict[str, list[bytes]]) -> Offer:
    controls = attributes.get("supportedcontrol", [])
    vendor = b" ".join([*attributes.get("vendorname", []), *attributes.get("vendorversion", [])])
    return Offer(
        readable=bool(controls),
        synchronises=SYNC_REQUEST_OID.encode() in controls,
        is_active_directory=_ACTIVE_DIRECTORY.encode() in attributes.get("supportedcapabilities", []),
        is_ds389=any(name in vendor.decode("utf-8", "replace").lower() for name in _DS389),
    )
