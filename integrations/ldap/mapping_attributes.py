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

    A lock after wrong passwords is `password_policy_lock` or `lockout_time`, when it began, or `unlock_time`, when it
    ends; `lock_out_ms` is how long one lasts of which only the beginning is said, None: no end is known.

    `stable_id` is entryUUID, objectGUID or nsUniqueId, `change_number` what a server counts an entry's changes with.
    The names from `account_control` on are Active Directory's. An empty name means that there is no such attribute;
    for the cost centre there is no usual one. `photo` is never part of the copy: it is read when somebody needs it.
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
    photo: str = "jpegphoto"
    password_policy_lock: str = "pwdaccountlockedtime"  # noqa: S105 - the name of an attribute
    unlock_time: str = ""
    lock_out_ms: int | None = None
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
        """Return every attribute to ask for, operational ones by name; not the photo."""
        return self._lower_once("objectclass", *self._stored(), self.change_number, self.computed_control)

    def stored_attributes(self) -> tuple[str, ...]:
        """Return those whose changes a server can tell about: all but what it computes or counts by itself."""
        return self._lower_once(*self._stored())

    def _stored(self) -> tuple[str, ...]:
        return (
            *(self.stable_id, *self.member, *self.group_name, *self.person_name),
            *(self.login, self.mail, self.personnel_number, self.department, self.cost_centre),
            *(self.password_policy_lock, self.unlock_time, self.shadow_expire, self.valid_from, self.valid_until),
            *(status.name for status in self.status),
            *(self.account_control, self.lockout_time, self.account_expires, self.upn, self.sid, self.primary_group),
        )

    def sources(self) -> dict[str, tuple[str, ...]]:
        """Return field of a person (or "photo") -> the attributes it may come from, in the order they are tried.

        They are written as the manuals or the settings write them. Of the fields that decide about access every
        attribute counts, whatever the others say.
        """
        disabling = (*(status.name for status in self.status), self.account_control)
        locking = self.computed_control, self.lockout_time
        found = {
            "name": self.person_name,
            "login": (self.login,),
            "mail": (self.mail,),
            "personnel_number": (self.personnel_number,),
            "upn": (self.upn,),
            "sid": (self.sid,),
            "department": (self.department,),
            "cost_centre": (self.cost_centre,),
            "enabled": (self.password_policy_lock, *disabling),
            "locked_until_ms": (self.password_policy_lock, self.unlock_time, *locking),
            "valid_from_ms": (self.valid_from,),
            "valid_until_ms": (self.valid_until, self.shadow_expire, self.account_expires),
            "photo": (self.photo,),
        }
        return {field: tuple(spelt(name) for name in dict.fromkeys(names) if name) for field, names in found.items()}

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
        photo="thumbnailphoto",
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
        unlock_time="accountunlocktime",
        shadow_expire="",
        status=(StatusAttribute("nsaccountlock", disabled_values=("true",), enabled_values=("false",)),),
        stable_id="nsuniqueid",
        change_number="",
    ),
    "(objectClass=inetOrgPerson)",
    "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))",
)

PRESETS: Final = MappingProxyType({"openldap": OPENLDAP, "active-directory": ACTIVE_DIRECTORY, "389": DS389})

_USUAL_SPELLINGS: Final = (
    *(
        "accountExpires",
        "accountUnlockTime",
        "departmentNumber",
        "displayName",
        "employeeNumber",
        "entryUUID",
        "jpegPhoto",
        "lockoutTime",
    ),
    *("msDS-User-Account-Control-Computed", "nsAccountLock", "nsUniqueId", "objectGUID", "objectSid"),
    *("pwdAccountLockedTime", "sAMAccountName", "shadowExpire", "thumbnailPhoto", "userAccountControl"),
    "userPrincipalName",
)
_SPELLINGS: Final = MappingProxyType({name.lower(): name for name in _USUAL_SPELLINGS})


def spelt(attribute: str) -> str:
    """Return an attribute's name as the manuals write it."""
    return _SPELLINGS.get(attribute.lower(), attribute)


USUAL_ATTRIBUTES: Final = frozenset(
    name.lower() for preset in PRESETS.values() for names in preset.mapping.sources().values() for name in names
)
"""What some preset takes for something: that nobody has one of them is no sign of a mistake."""
