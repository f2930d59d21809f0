# SPDX-License-Identifier: EUPL-1.2
"""A service with one person for each role and one with all of them; accounts likewise, by scopes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.service import ADMIN_PASSWORD, SERVICE_PASSWORD, CityFiles, DirectoryThread, ServiceThread

from cardservice.web.operations import Role, Scope
from city import people
from directorysim.server import DirectoryServer

EVERYTHING = "everything"


def login_of(role: str) -> str:
    """Return the login of whoever has this role alone, or of whoever has `EVERYTHING`."""
    return f"role-{role.replace('_', '-')}"


def token_of(scope: str) -> str:
    """Return the token of the account with this scope alone, or of the one with `EVERYTHING`."""
    return f"{scope}-token"


def staff() -> Iterator[tuple[str, dict[str, list[str]]]]:
    """One person for each role, one with all, and a group for each role."""
    for role in (*Role, EVERYTHING):
        login = login_of(role)
        values = {"uid": [login], "cn": [login], "sn": [login], "userPassword": [people.password_of(login)]}
        yield f"uid={login},{people.PEOPLE}", {"objectClass": ["inetOrgPerson"], **values}
    for role in set(Role) - {Role.EMPLOYEE}:
        members = [f"uid={login_of(one)},{people.PEOPLE}" for one in (role, EVERYTHING)]
        yield (
            f"cn=card {role},{people.GROUPS}",
            {"objectClass": ["groupOfNames"], "cn": [f"card {role}"], "member": members},
        )


def settings(folder: Path) -> dict[str, dict[str, object]]:
    """Return what differs from an ordinary city; with printing, so that its pages are there: nobody prints."""
    callers = []
    for name, scopes in {**{scope.value: [scope.value] for scope in Scope}, EVERYTHING: list(map(str, Scope))}.items():
        token = folder / f"{name}.token"
        token.write_text(token_of(name) + "\n")
        token.chmod(0o600)
        callers.append({"name": f"only-{name}", "token_file": str(token), "uses": scopes})
    roles = [{"role": role.value, "group": f"card {role}"} for role in Role if role is not Role.EMPLOYEE]
    return {"": {"callers": callers, "roles": roles}, "printing": {"socket": str(folder / "no-cups.sock")}}


@contextmanager
def running_office(folder: Path) -> Iterator[tuple[ServiceThread, CityFiles]]:
    """Run it while the context lasts."""
    entries = [*people.entries(SERVICE_PASSWORD), *staff()]
    server = DirectoryServer(people.SUFFIX, entries, admin_dn=people.ADMIN_DN, admin_password=ADMIN_PASSWORD)
    with server.run_in_thread() as switches:
        files = CityFiles(folder / "city", DirectoryThread(switches).address, changes=settings(folder))
        files.upgrade()
        service = ServiceThread(files)
        service.start()
        try:
            service.wait_health(lambda state: state.get("status") == "ready")
            points = files.seed()
            service.wait_health(lambda state: state["points"] == points)
            yield service, files
        finally:
            service.stop()
