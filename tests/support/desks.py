# SPDX-License-Identifier: EUPL-1.2
"""A city whose desks reach differently far: accounts of systems, and roles bound to a building or a department."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
from service_http.conftest import City
from support.signing_in import Visitor

from city import people

# Account -> what it may use, and of which points; none: of all.
ACCOUNTS = {
    "identity": (["people", "cards"], []),
    "planner": (["model"], []),
    "annexe-planner": (["model"], ["bauamt.aussen"]),
    "annexe-identity": (["people", "cards"], ["bauamt.aussen"]),
    "till": (["canteen"], []),
}
# Mehmet administers everything; Anna does what she does in the building office; Sabine helps that office's people.
ROLES = [
    {"role": "administrator", "group": "IT"},
    {"role": "auditor", "group": "IT"},
    {"role": "administrator", "group": "Bauamt", "zones": ["bauamt"]},
    {"role": "auditor", "group": "Bauamt", "zones": ["bauamt"]},
    {"role": "issuer", "group": "Bauamt", "zones": ["bauamt"]},
    {"role": "helpdesk", "group": "Bürgerbüro", "units": ["Bauamt"]},
]
ANNA, MEHMET, SABINE = people.ANNA.login, "yilmaz", "krueger"


def desks(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of these accounts and roles."""
    folder.mkdir(parents=True, exist_ok=True)
    callers = []
    for name, (uses, points) in ACCOUNTS.items():
        token = folder / f"{name}.desk"
        token.write_text(f"{name}-canary-{len(name)}\n")
        token.chmod(0o600)
        callers.append({"name": name, "token_file": str(token), "uses": uses, "points": points})
    return {"": {"callers": callers, "roles": ROLES}}


def account(city: City, name: str) -> httpx2.Client:
    """Return what a system sees of the API; close it."""
    headers = {"Authorization": f"Bearer {name}-canary-{len(name)}"}
    return httpx2.Client(base_url=city.service.url + "/api/v1", headers=headers, timeout=20)


class Desk:
    """A person at the API, from a page of ours."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._token = {"X-Form-Token": visitor.form_token()}

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request."""
        headers = self._token | options.pop("headers", {})
        return self._visitor.request(method, f"/api/v1{path}", headers=headers, **options)

    def get(self, path: str, **wanted: Any) -> Any:
        """Return what a reading is answered."""
        return self.ask("GET", path, params=wanted).json()
