# SPDX-License-Identifier: EUPL-1.2
"""Who may do what: one line for each operation of the API and of the pages, written by hand and reviewed.

A route names its operation (`gate.Gate.allows`); one that is not in this table cannot be built. Nobody may do what no
line allows them. People act by roles, which are groups of the directory; systems by the scopes of their account.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final


@unique
class Role(StrEnum):
    """What somebody is here, by a group of the directory. `EMPLOYEE` is everybody who can sign in."""

    EMPLOYEE = "employee"
    HELPDESK = "helpdesk"
    ISSUER = "issuer"
    APPROVER = "approver"
    FACILITY = "facility"
    CANTEEN = "canteen"
    TIMEKEEPING = "timekeeping"
    AUDITOR = "auditor"
    STAFF_COUNCIL = "staff_council"
    DATA_PROTECTION = "data_protection"
    ADMINISTRATOR = "administrator"


@unique
class Scope(StrEnum):
    """What a system's account may be for."""

    DOOR = "door"
    CANTEEN = "canteen"
    PAYROLL = "payroll"
    DIRECTORY = "directory"
    ACCESS = "access"
    REVIEW = "review"
    TAP = "tap"
    PEOPLE = "people"
    CARDS = "cards"
    MODEL = "model"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Operation:
    """Who may do it.

    `roles` of people, of which one is enough, and the `scope` of systems; none: no system may. `changes`: people
    confirm their password shortly before, and a trace is kept first. `own_trace`: what it writes says who asked for it.
    `all_points`: not for somebody who is bound to some points.
    """

    roles: frozenset[Role]
    scope: Scope | None = None
    changes: bool = False
    all_points: bool = False
    own_trace: bool = False


def _reads(*roles: Role, scope: Scope | None = None, all_points: bool = False) -> Operation:
    return Operation(frozenset(roles), scope, changes=False, all_points=all_points)


def _changes(*roles: Role, scope: Scope | None = None, all_points: bool = False) -> Operation:
    return Operation(frozenset(roles), scope, changes=True, all_points=all_points)


_EMPLOYEE, _HELPDESK, _ISSUER, _FACILITY, _CANTEEN, _AUDITOR, _ADMINISTRATOR = (
    Role.EMPLOYEE,
    Role.HELPDESK,
    Role.ISSUER,
    Role.FACILITY,
    Role.CANTEEN,
    Role.AUDITOR,
    Role.ADMINISTRATOR,
)

# A queue stands there, and each booking names the till that asked for it.
_AT_TILLS = Operation(frozenset(), Scope.CANTEEN, changes=True, own_trace=True)

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        # Doors, for facilities.
        "doors.list": _reads(_FACILITY, _ADMINISTRATOR, scope=Scope.DOOR),
        "doors.events": _reads(_FACILITY, scope=Scope.DOOR),
        "doors.lockdowns": _reads(_FACILITY, _ADMINISTRATOR, scope=Scope.DOOR),
        "doors.open": _changes(_FACILITY, scope=Scope.DOOR),
        "doors.lock_down": _changes(_FACILITY, scope=Scope.DOOR, all_points=True),
        "doors.end_lockdown": _changes(_FACILITY, scope=Scope.DOOR, all_points=True),
        # A single door, of those that are theirs.
        "doors.lock_door": _changes(_FACILITY, scope=Scope.DOOR),
        "doors.end_door_lock": _changes(_FACILITY, scope=Scope.DOOR),
        # Readers without an agent. A tap leaves a line of its own in the journal; no person is a reader.
        "taps.assert": _reads(scope=Scope.TAP),
        # What happens now. Systems see the raw feed; people see taps of the uses their role is for (`live/rules.py`).
        "live.read": _reads(scope=Scope.LIVE),
        "live.show": _reads(_FACILITY, _AUDITOR),
        # The canteen's tills, and whoever fills wallets. Tills act by their account alone: no person is a till.
        "canteen.charge": _AT_TILLS,
        "canteen.cancel": _AT_TILLS,
        "canteen.void": _changes(_CANTEEN, scope=Scope.CANTEEN),
        "canteen.refund": _changes(_CANTEEN, scope=Scope.CANTEEN),
        "canteen.top_up": _changes(_CANTEEN, scope=Scope.PAYROLL),
        # The directory's holds: about everybody, so for nobody who is bound to a part of the city.
        "directory.holds": _reads(_ADMINISTRATOR, _AUDITOR, scope=Scope.DIRECTORY),
        "directory.confirm": _changes(_ADMINISTRATOR, scope=Scope.DIRECTORY, all_points=True),
        "directory.reject": _changes(_ADMINISTRATOR, scope=Scope.DIRECTORY, all_points=True),
        # Windows of movers.
        "directory.movers": _reads(_ADMINISTRATOR, _AUDITOR, scope=Scope.DIRECTORY),
        "directory.end_mover": _changes(_ADMINISTRATOR, scope=Scope.DIRECTORY, all_points=True),
        # Everything of it read again; or looked at once, beside the copy, which changes nothing and takes a minute.
        "directory.sync": _changes(_ADMINISTRATOR, scope=Scope.DIRECTORY, all_points=True),
        "directory.check": _reads(_ADMINISTRATOR, all_points=True),
        # The access model.
        "access.explain": _reads(_ADMINISTRATOR, _FACILITY, scope=Scope.ACCESS),
        "access.what_if": _reads(_ADMINISTRATOR, scope=Scope.ACCESS, all_points=True),
        # What a change of one entry would do to how many, before it is made; whoever may make none of it is refused.
        "access.preview": _reads(_ADMINISTRATOR),
        "access.export": _reads(_AUDITOR, _ADMINISTRATOR, all_points=True),
        # All of it at once, from a file that is looked at first; systems change single entries.
        "access.look_at_file": _reads(_ADMINISTRATOR, all_points=True),
        "access.import": _changes(_ADMINISTRATOR, all_points=True),
        # Systems alone: people have explanations.
        "authzen.evaluate": _reads(scope=Scope.ACCESS),
        "reviews.list": _reads(_ADMINISTRATOR, _AUDITOR, scope=Scope.REVIEW, all_points=True),
        "reviews.items": _reads(_ADMINISTRATOR, _AUDITOR, scope=Scope.REVIEW, all_points=True),
        "reviews.begin": _changes(_ADMINISTRATOR, scope=Scope.REVIEW, all_points=True),
        "reviews.extend": _changes(_ADMINISTRATOR, scope=Scope.REVIEW, all_points=True),
        "reviews.abort": _changes(_ADMINISTRATOR, scope=Scope.REVIEW, all_points=True),
        "reviews.answer": _changes(_ADMINISTRATOR, scope=Scope.REVIEW, all_points=True),
        "reviews.own_zone": _changes(_ADMINISTRATOR, scope=Scope.REVIEW, all_points=True),
        "reviews.own_grant": _changes(_ADMINISTRATOR, scope=Scope.REVIEW, all_points=True),
        # Accounts of systems, and their keys.
        "accounts.list": _reads(_ADMINISTRATOR),
        "accounts.show": _reads(_ADMINISTRATOR),
        "accounts.add": _changes(_ADMINISTRATOR),
        "accounts.change": _changes(_ADMINISTRATOR),
        "accounts.issue_key": _changes(_ADMINISTRATOR),
        "accounts.revoke_key": _changes(_ADMINISTRATOR),
        "accounts.bind_certificate": _changes(_ADMINISTRATOR),
        "accounts.revoke_certificate": _changes(_ADMINISTRATOR),
        # Who outside is told of what.
        "webhooks.list": _reads(_ADMINISTRATOR, all_points=True),
        "webhooks.add": _changes(_ADMINISTRATOR, all_points=True),
        "webhooks.remove": _changes(_ADMINISTRATOR, all_points=True),
        "webhooks.enable": _changes(_ADMINISTRATOR, all_points=True),
        "webhooks.disable": _changes(_ADMINISTRATOR, all_points=True),
        "webhooks.rotate": _changes(_ADMINISTRATOR, all_points=True),
        "webhooks.test": _changes(_ADMINISTRATOR, all_points=True),
        # Who is there, and their cards.
        "people.read": _reads(_HELPDESK, _ISSUER, _ADMINISTRATOR, scope=Scope.PEOPLE),
        # People whom no directory names. Systems may read them, as all people; who is added is a person's word.
        "outsiders.read": _reads(_HELPDESK, _ISSUER, _ADMINISTRATOR, scope=Scope.PEOPLE),
        "outsiders.add": _changes(_HELPDESK, _ISSUER, _ADMINISTRATOR),
        "outsiders.change": _changes(_HELPDESK, _ISSUER, _ADMINISTRATOR),
        "outsiders.end": _changes(_HELPDESK, _ISSUER, _ADMINISTRATOR),
        # Groups that grants name: whoever makes them does not give the grants to themselves.
        "outsiders.groups": _changes(_ADMINISTRATOR),
        "directories.read": _reads(_HELPDESK, _AUDITOR, _ADMINISTRATOR, scope=Scope.DIRECTORY),
        "cards.read": _reads(_HELPDESK, _ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        "cards.change": _changes(_HELPDESK, _ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        # Who gives cards, takes them back and erases them; a temporary one also whoever helps at the desk.
        "cards.issue": _changes(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        "cards.lend": _changes(_HELPDESK, _ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        "cards.stock": _reads(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS, all_points=True),
        "cards.deliver": _changes(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS, all_points=True),
        # What is printed on them, photos among it.
        "cards.badge": _reads(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        # Cards from before: what is left of them. Bringing some in, and ending them, is `cards.issue`.
        "cards.old": _reads(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        # PINs: handed out over the counter by people alone; nobody reads one.
        "pins.read": _reads(_HELPDESK, _ISSUER, _ADMINISTRATOR),
        "pins.hand_out": _changes(_HELPDESK, _ISSUER, _ADMINISTRATOR),
        "pins.unlock": _changes(_HELPDESK, _ISSUER, _ADMINISTRATOR),
        "pins.take_away": _changes(_HELPDESK, _ISSUER, _ADMINISTRATOR),
        # Lists of cards: looked at, and how far they are. Beginning and cancelling one is `cards.issue`.
        "batches.read": _reads(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        # Who writes cards at an encoder.
        "encoding.read": _reads(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        "encoding.order": _changes(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        "encoding.cancel": _changes(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        # Certificates: what has to be renewed and what waits; answers of the city's own PKI. Issuing is `cards.issue`.
        "certificates.read": _reads(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        "certificates.answer": _changes(_ISSUER, _ADMINISTRATOR, scope=Scope.CARDS),
        # Single entries of the access model. What points everywhere use is nobody's who is bound to some of them.
        "zones.read": _reads(_FACILITY, _AUDITOR, _ADMINISTRATOR, scope=Scope.MODEL),
        "zones.change": _changes(_ADMINISTRATOR, scope=Scope.MODEL),
        "points.read": _reads(_FACILITY, _AUDITOR, _ADMINISTRATOR, scope=Scope.MODEL),
        "points.change": _changes(_ADMINISTRATOR, scope=Scope.MODEL),
        "point_classes.read": _reads(_FACILITY, _AUDITOR, _ADMINISTRATOR, scope=Scope.MODEL),
        "point_classes.change": _changes(_ADMINISTRATOR, scope=Scope.MODEL, all_points=True),
        "schedules.read": _reads(_FACILITY, _AUDITOR, _ADMINISTRATOR, scope=Scope.MODEL),
        "schedules.change": _changes(_ADMINISTRATOR, scope=Scope.MODEL, all_points=True),
        "grants.read": _reads(_AUDITOR, _ADMINISTRATOR, scope=Scope.MODEL),
        "grants.change": _changes(_ADMINISTRATOR, scope=Scope.MODEL),
        # Agents, and what came of taps: the open part of the journal, which names nobody.
        # What works now and until when; of agents and taps as far as one's points go.
        "operations.read": _reads(_FACILITY, _ADMINISTRATOR),
        "agents.read": _reads(_FACILITY, _ADMINISTRATOR),
        "agents.lock": _changes(_ADMINISTRATOR),
        "taps.read": _reads(_AUDITOR),
        # What needs two people. Each kind of request says besides who may ask for it and who may approve it.
        # Whoever may ask for anything sees and withdraws their own.
        "approvals.read": _reads(
            Role.APPROVER, _ISSUER, _AUDITOR, Role.STAFF_COUNCIL, Role.DATA_PROTECTION, _ADMINISTRATOR
        ),
        "approvals.request": _changes(_AUDITOR, Role.DATA_PROTECTION),
        "approvals.decide": _changes(Role.APPROVER, Role.STAFF_COUNCIL, Role.DATA_PROTECTION),
        "approvals.withdraw": _changes(_ISSUER, _AUDITOR, Role.DATA_PROTECTION, _ADMINISTRATOR),
        # The record of what was asked for. Not for administrators: it is about what they do.
        "audit.read": _reads(_AUDITOR, Role.STAFF_COUNCIL, Role.DATA_PROTECTION, all_points=True),
        "journal.open": _changes(_AUDITOR, Role.DATA_PROTECTION, all_points=True),
        "journal.read_opened": _changes(_AUDITOR, Role.DATA_PROTECTION, all_points=True),
        # The cards' keys: which generation is how far. Nobody reads a key; two people close a generation.
        "keys.read": _reads(_AUDITOR, _ADMINISTRATOR, all_points=True),
        "keys.close": _changes(_ADMINISTRATOR, all_points=True),
        # How long what concerns people is kept: about everybody, and it names nobody.
        "retention.read": _reads(_AUDITOR, Role.STAFF_COUNCIL, Role.DATA_PROTECTION, all_points=True),
        # One's own pages: about whoever is signed in, and nobody else.
        "home": _reads(_EMPLOYEE),
        "my.card": _reads(_EMPLOYEE),
        "my.lost": _changes(_EMPLOYEE),
        "my.pin": _changes(_EMPLOYEE),
        "my.doors": _reads(_EMPLOYEE),
        "my.pc": _reads(_EMPLOYEE),
        "my.time": _reads(_EMPLOYEE),
        "my.canteen": _reads(_EMPLOYEE),
        "my.printing": _reads(_EMPLOYEE),
    }
)

# What anybody may ask without saying who they are.
PUBLIC: Final = frozenset(
    {"/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs", "/.well-known/authzen-configuration"}
    # What everybody is to know.
    | {"/privacy", "/accessibility"}
    # Signed already, and fetched by whoever meets a certificate.
    | {"/pki/{name}.crl", "/pki/{name}.cer", "/pki/ocsp", "/pki/ocsp/{asked:path}"}
)

# Where people prove who they are.
SIGNING_IN: Final = frozenset({"/login", "/login/oidc", "/login/oidc/back", "/logout", "/confirm", "/confirm/oidc"})


def operation_named(name: str) -> Operation:
    """Return the line of the table.

    Raises:
        KeyError: there is none; the route cannot be built.
    """
    return OPERATIONS[name]


def allowed(operation: Operation, roles: Iterable[Role]) -> bool:
    """Tell whether somebody with these roles may do it."""
    return not operation.roles.isdisjoint(roles)
