# SPDX-License-Identifier: EUPL-1.2
"""The people and groups of the demonstration city, as directory entries. All invented."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SUFFIX: Final = "dc=stadt,dc=example"
PEOPLE: Final = f"ou=people,{SUFFIX}"
GROUPS: Final = f"ou=groups,{SUFFIX}"
ADMIN_DN: Final = f"cn=admin,{SUFFIX}"
SERVICE_DN: Final = f"cn=cardservice,{SUFFIX}"


@dataclass(frozen=True)
class Citizen:
    """One employee; `disabled` and `expired_on_day` (days since 1970-01-01) as the directory says it."""

    login: str
    given: str
    surname: str
    number: str
    disabled: bool = False
    expired_on_day: int | None = None

    @property
    def name(self) -> str:
        """Given name and surname."""
        return f"{self.given} {self.surname}"

    @property
    def dn(self) -> str:
        """The entry's distinguished name."""
        return f"uid={self.login},{PEOPLE}"


# Works in the building office; the card is "anna".
ANNA: Final = Citizen("schmidt", "Anna", "Schmidt", "10017")
CITIZENS: Final = (
    ANNA,
    Citizen("yilmaz", "Mehmet", "Yılmaz", "10023"),
    Citizen("krueger", "Sabine", "Krüger", "10042"),
    Citizen("weber", "Jonas", "Weber", "10058"),
    Citizen("vogt", "Petra", "Vogt", "10061", disabled=True),
    Citizen("lange", "Karl", "Lange", "10064", expired_on_day=20_000),
    Citizen("nowak", "Tomasz", "Nowak", "10071"),
    Citizen("berger", "Ute", "Berger", "10085"),
)

# Group -> logins and nested groups (written with a leading @).
MEMBERS: Final[Mapping[str, Sequence[str]]] = {
    "Rathaus": ("@Bauamt", "@IT", "@Bürgerbüro", "vogt", "lange", "weber", "berger"),
    "Bauamt": ("schmidt", "nowak"),
    "IT": ("yilmaz",),
    "Bürgerbüro": ("krueger",),
    "Gäste anderer Behörden": ("berger",),
}


def entries(password: str) -> list[tuple[str, dict[str, list[str]]]]:
    """Return every entry as (DN, attributes); the service account signs in with `password`."""
    roots = [
        (SUFFIX, {"objectClass": ["dcObject", "organization"], "dc": ["stadt"], "o": ["Stadt Musterstadt"]}),
        (PEOPLE, {"objectClass": ["organizationalUnit"], "ou": ["people"]}),
        (GROUPS, {"objectClass": ["organizationalUnit"], "ou": ["groups"]}),
        (
            SERVICE_DN,
            {
                "objectClass": ["organizationalRole", "simpleSecurityObject"],
                "cn": ["cardservice"],
                "userPassword": [password],
            },
        ),
    ]
    return roots + [_person(citizen) for citizen in CITIZENS] + [_group(name) for name in MEMBERS]


def _person(citizen: Citizen) -> tuple[str, dict[str, list[str]]]:
    attributes = {
        "objectClass": ["inetOrgPerson", "shadowAccount"],
        "uid": [citizen.login],
        "cn": [citizen.name],
        "sn": [citizen.surname],
        "givenName": [citizen.given],
        "displayName": [citizen.name],
        "mail": [f"{citizen.login}@stadt.example"],
        "employeeNumber": [citizen.number],
        "userPassword": [password_of(citizen.login)],
    }
    if citizen.disabled:
        attributes["pwdAccountLockedTime"] = ["000001010000Z"]
    if citizen.expired_on_day is not None:
        attributes["shadowExpire"] = [str(citizen.expired_on_day)]
    return citizen.dn, attributes


def password_of(login: str) -> str:
    """Return the published password of somebody in this city."""
    return f"{login}-demo"


def group_dn(name: str) -> str:
    """Return the distinguished name of a group."""
    return f"cn={name},{GROUPS}"


def _group(name: str) -> tuple[str, dict[str, list[str]]]:
    by_login = {citizen.login: citizen.dn for citizen in CITIZENS}
    members = [group_dn(member[1:]) if member.startswith("@") else by_login[member] for member in MEMBERS[name]]
    return group_dn(name), {"objectClass": ["groupOfNames"], "cn": [name], "member": members}
