# SPDX-License-Identifier: EUPL-1.2
"""Follows a corporate directory over LDAP.

Modes: `syncrepl` (OpenLDAP, RFC 4533), `content-sync` (389, FreeIPA), `dirsync` (Active Directory, Samba), `polling`
(anything). `live.py` asks for one person at this moment.

ldap3 is imported below this package only. The error tree is drawn in `errors.py`.
"""

from integrations.ldap.check import Finding, check
from integrations.ldap.errors import LdapTrouble, SettingsRefused
from integrations.ldap.mapping import AttributeMapping, StatusAttribute
from integrations.ldap.mapping_attributes import PRESETS
from integrations.ldap.settings import LdapSettings
from integrations.ldap.source import LdapSource

__all__ = [
    "PRESETS",
    "AttributeMapping",
    "Finding",
    "LdapSettings",
    "LdapSource",
    "LdapTrouble",
    "SettingsRefused",
    "StatusAttribute",
    "check",
]
