# SPDX-License-Identifier: EUPL-1.2
"""Roles from groups of a real directory copy: nested groups, how far a role reaches, and the moment it ends."""

from collections.abc import Iterator

import pytest
from service_http.conftest import City, build
from support.service import directory_in_thread
from support.signing_in import Visitor
from support.waiting import wait_until

from city import people
from city.people import group_dn

ANNA, MEHMET, JONAS = people.ANNA.login, "yilmaz", "weber"
OPEN = "/api/v1/doors/{}/open"
ROLES = [
    # Anna is in Bauamt, which is in Rathaus.
    {"role": "facility", "group": "Rathaus", "zones": ["bauamt"]},
    {"role": "facility", "group": "IT"},
    {"role": "auditor", "group": "Bauamt", "organisations": ["elsewhere"]},
    {"role": "administrator", "group": "Nobody called it so"},
]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with directory_in_thread() as directory:
        made = build_degraded(directory, tmp_path_factory.mktemp("office"))
        yield made
        made.close()


def build_degraded(directory, folder) -> City:
    """Begin with roles whose groups are all there, then name one that is not."""
    made = build(directory, folder, None, **{"": {"roles": ROLES[:3]}})
    made.service.stop()
    made.files.configure({"": {"roles": ROLES}})
    made.service.start()
    return made


def opened(visitor: Visitor, door: str) -> tuple[int, str]:
    headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": f"open-{door}-at-the-desk"}
    answer = visitor.post(OPEN.format(door), json={"reason": "Probe"}, headers=headers)
    return answer.status_code, answer.json().get("code", "")


def test_a_role_reaches_as_far_as_the_settings_say(office: City) -> None:
    """Through a nested group, in its zone alone; by another group, everywhere; where nothing fits, nothing."""
    anna, mehmet = office.visitor(ANNA), office.visitor(MEHMET)
    seen = {door["zone"] for door in anna.get("/api/v1/doors").json()["doors"]}
    assert seen == {"bauamt"}
    assert len({door["zone"] for door in mehmet.get("/api/v1/doors").json()["doors"]}) > 1
    assert opened(anna, "serverraum.aussen") == (403, "foreign_point")
    # Allowed, and nobody is at the door to do it.
    assert opened(anna, "bauamt.aussen") == opened(mehmet, "serverraum.aussen") == (503, "agent_away")
    refused = anna.get("/api/v1/access/reviews")
    assert (refused.status_code, refused.json()["code"]) == (403, "foreign_point")
    assert mehmet.get("/api/v1/access/reviews").json()["code"] == "foreign_role"


def test_a_role_ends_with_the_membership_and_the_session_does_not(office: City) -> None:
    """At the next request, wherever in the nesting it was: the session itself goes on."""
    jonas = office.visitor(JONAS)
    dn = f"uid={JONAS},{people.PEOPLE}"
    assert jonas.get("/api/v1/doors").status_code == 200
    office.directory.editor.set_member(group_dn("Rathaus"), dn, member=False)
    wait_until(lambda: jonas.get("/api/v1/doors").status_code == 403)
    assert jonas.get("/my/doors").status_code == 200
    office.directory.editor.set_member(group_dn("IT"), dn, member=True)
    wait_until(lambda: jonas.get("/api/v1/doors").status_code == 200)
    office.directory.editor.set_member(group_dn("IT"), dn, member=False)
    office.directory.editor.set_member(group_dn("Rathaus"), dn, member=True)
    wait_until(lambda: {door["zone"] for door in jonas.get("/api/v1/doors").json().get("doors", [])} == {"bauamt"})


def test_a_group_that_nobody_knows_is_told(office: City) -> None:
    """In words, where operations look; everything else works."""
    state = office.service.wait_health(lambda state: state.get("status") == "degraded")
    assert state["degraded"] == [
        "roles: no directory names the group 'Nobody called it so': nobody has the role administrator by it"
    ]
