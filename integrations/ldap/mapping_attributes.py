# SPDX-License-Identifier: EUPL-1.2
"""Which attribute means what, as data: a preset for each kind of server, every name of which may be changed."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class StatusAttribute:
    """An attribute whose value says whether an account may be used; compared without case.

    With `enabled_values`, a value in neither list is unknown and disables. Without, every other value enables.
    """

    name: str
    disabled_values: tuple[str, ...]
    enabled_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttributeMapping:
    """Which attribute means what; the defaults are the preset for OpenLDAP with inetOrgPerson and ppolicy.

    `stable_id` is entryUUID, objectGUID or nsUniqueId, `change_number` what a server counts an entry's changes with.
    The names from `account_control` on are Active Directory's. An empty name means that there is no such attribute;
    for the cost centre there is no usual one.
    """

    group_classes: tuple[str, ...] = ("groupofnames", "groupofuniquenames", "groupofmembers")
    member: tuple[str, ...] = ("member", "uniquemember")
    group_name: tuple[str, ...] = ("cn",)
    person_name: tuple[str, ...] = ("displayname", "cn")
    login: str = "uid"
    mail: str = "mail"
    personnel_number: str = "employeenumber"
    department: str = "departmentnumber"
    cost_centre: str = ""
    password_policy_lock: str = "pwdaccountlockedtime"  # noqa: S105 - the name of an attribute
    shadow_expire: str = "shadowexpire"
    valid_from: str = ""
    valid_until: str = ""
    status: tuple[StatusAttribute, ...] = ()
    stable_id: str = "entryuuid"
    change_number: str = "entrycsn"
    account_control: str = ""
    computed_control: str = ""
    lockout_time: str = ""
    account_expires: str = ""
    upn: str = ""
    sid: str = ""
    primary_group: str = ""

    def attributes(self) -> tuple[str, ...]:
        """Return every attribute to ask for, operational ones by name."""
        return self._lower_once("objectclass", *self._stored(), self.change_number, self.computed_control)

    def stored_attributes(self) -> tuple[str, ...]:
        """Return those whose changes a server can tell about: all but what it computes or counts by itself."""
        return self._lower_once(*self._stored())

    def _stored(self) -> tuple[str, ...]:
        return (
            *(self.stable_id, *self.member, *self.group_name, *self.person_name),
            *(self.login, self.mail, self.personnel_number, self.department, self.cost_centre),
            *(self.password_policy_lock, self.shadow_expire, self.valid_from, self.valid_until),
            *(status.name for status in self.status),
            *(self.account_control, self.lockout_time, self.account_expires, self.upn, self.sid, self.primary_group),
        )

    @staticmethod
    def _lower_once(*names: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name.lower() for name in names if name))


@dataclass(frozen=True, slots=True)
class Preset:
    """What is usual for one kind of server: the attributes, and how its people and groups are found."""

    mapping: AttributeMapping
    people_filter: str
    groups_filter: str


OPENLDAP: Final = Preset(AttributeMapping(), "(objectClass=inetOrgPerson)", "(objectClass=groupOfNames)")
# Computers are users too; objectCategory leaves them out.
ACTIVE_DIRECTORY: Final = Preset(
    AttributeMapping(
        group_classes=("group",),
        member=("member",),
        login="samaccountname",
        department="department",
        password_policy_lock="",
        shadow_expire="",
        stable_id="objectguid",
        change_number="usnchanged",
        account_control="useraccountcontrol",
        computed_control="msds-user-account-control-computed",
        lockout_time="lockouttime",
        account_expires="accountexpires",
        upn="userprincipalname",
        sid="objectsid",
        primary_group="primarygroupid",
    ),
    "(&(objectCategory=person)(objectClass=user))",
    "(objectClass=group)",
)
# 389 and FreeIPA: an account without nsAccountLock is open.
DS389: Final = Preset(
    AttributeMapping(
        password_policy_lock="",
        shadow_expire="",
        status=(StatusAttribute("nsaccountlock", disabled_values=("true",), enabled_values=("false",)),),
        stable_id="nsuniqueid",
        change_number="",
    ),
    "(objectClass=inetOrgPerson)",
    "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))",
)

PRESETS: Final = MappingProxyType({"openldap": OPENLDAP, "active-directory": ACTIVE_DIRECTORY, "389": DS389})
