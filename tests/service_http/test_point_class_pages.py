# SPDX-License-Identifier: EUPL-1.2
"""Pages of point classes over HTTP: made, changed, refused and removed by forms, by whoever may and by nobody else."""

import html
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx2
import pytest
from service_http.conftest import City, build
from support.desks import ANNA, MEHMET, SABINE, account, desks
from support.service import directory_in_thread
from support.signing_in import Visitor

from cardservice.access.plan.service import Plans
from cardservice.clock import SystemClock
from cardservice.places import OPTION_RULES

PAGES = "/access/point-classes"
NEW = "/access/new/point-class"
MADE = {"code": "probe", "name": "Probe", "level": "card", "people": "1", "method.desfire": "yes"}
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
FORMS = re.compile(r'<form method="(?:get|post)" action="([^"]+)">(.*?)</form>', re.DOTALL)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    folder = tmp_path_factory.mktemp("classes")
    with directory_in_thread() as directory:
        made = build(directory, folder / "city", None, **desks(folder))
        yield made
        made.close()


@pytest.fixture
def mehmet(office: City) -> Visitor:
    """He administers everything."""
    return office.visitor(MEHMET)


def exported(office: City) -> str:
    with office.files.stores() as stores:
        return Plans(stores.state, SystemClock(), OPTION_RULES).export()


def get(visitor: Visitor, path: str, **fields: str) -> httpx2.Response:
    address = f"{path}?{urlencode(fields)}" if fields else path
    return visitor.get(address, headers={"Accept-Language": "en"})


def hidden(text: str, action: str) -> dict[str, str]:
    """Return the hidden fields of the last form of a page that goes there."""
    (*_, inside) = [inside for address, inside in FORMS.findall(text) if address == action]
    return {name: html.unescape(value) for name, value in HIDDEN.findall(inside)}


def previewed(visitor: Visitor, path: str, **fields: str) -> str:
    """Type into a form as it stands and look at the effect; the marks say what it rests on."""
    marks = hidden(get(visitor, path).text, path).get("marks")
    answer = get(visitor, path, step="preview", **({} if marks is None else {"marks": marks}), **fields)
    assert answer.status_code == 200, answer.text
    return answer.text


def saved(visitor: Visitor, path: str, text: str) -> httpx2.Response:
    """Press the button of a page that stores."""
    (inside, *_) = [one for address, one in FORMS.findall(text) if address == path and "form_token" in one]
    fields = {name: html.unescape(value) for name, value in HIDDEN.findall(inside)}
    return visitor.post(path, data=fields, headers={"Accept-Language": "en"})


def tag(office: City) -> str:
    """Return the ETag of the class as the API has it."""
    with account(office, "planner") as planner:
        return str(planner.get("/point-classes/probe").headers["etag"])


def test_a_class_is_made_changed_and_removed_by_forms(office: City, mehmet: Visitor) -> None:
    """What was typed is what the API says; its ETag moves with each change; in the end the model is the one before."""
    before = exported(office)
    text = previewed(mehmet, NEW, **MADE)
    assert exported(office) == before
    assert saved(mehmet, NEW, text).status_code == 303
    with account(office, "planner") as planner:
        made = planner.get("/point-classes/probe").json()
    assert (made["name"], made["level"], made["people"], made["methods"]) == ("Probe", "card", 1, ["desfire"])
    first = tag(office)
    text = previewed(mehmet, f"{PAGES}/probe/change", **(MADE | {"level": "card_pin", "people": "2"}))
    assert saved(mehmet, f"{PAGES}/probe/change", text).status_code == 303
    with account(office, "planner") as planner:
        changed = planner.get("/point-classes/probe").json()
        stale = planner.put("/point-classes/probe", json={"name": "Alt"}, headers={"If-Match": first})
        assert (stale.status_code, stale.json()["code"]) == (412, "changed_meanwhile")
    assert changed == made | {"level": "card_pin", "people": 2}
    assert "Probe" in get(mehmet, PAGES).text
    assert saved(mehmet, f"{PAGES}/probe/remove", get(mehmet, f"{PAGES}/probe/remove").text).status_code == 303
    assert get(mehmet, f"{PAGES}/probe").status_code == 404
    assert exported(office) == before


def test_a_form_that_rests_on_what_somebody_changed_meanwhile_stores_nothing(office: City, mehmet: Visitor) -> None:
    """The page says so instead; the other change stays."""
    before = exported(office)
    saved(mehmet, NEW, previewed(mehmet, NEW, **MADE))
    seen = previewed(mehmet, f"{PAGES}/probe/change", **(MADE | {"name": "Meins"}))
    with account(office, "planner") as planner:
        body = {"name": "Ihres", "level": "card", "methods": ["desfire"]}
        theirs = planner.put("/point-classes/probe", json=body, headers={"If-Match": tag(office)})
        assert theirs.status_code == 200, theirs.text
        answer = saved(mehmet, f"{PAGES}/probe/change", seen)
        assert answer.status_code != 303
        assert planner.get("/point-classes/probe").json()["name"] == "Ihres"
        removed = planner.delete("/point-classes/probe", headers={"If-Match": tag(office)})
        assert removed.status_code == 204
    assert exported(office) == before


@pytest.mark.parametrize(
    "wrong", [{"level": "strong"}, {"people": "3"}, {"people": "two"}, {"name": ""}, {"code": "Not A Code"}], ids=str
)
def test_what_cannot_be_is_said_at_its_field_and_not_stored(
    office: City, mehmet: Visitor, wrong: dict[str, str]
) -> None:
    """The form comes back with what was typed, the field marked, and no button that stores."""
    before = exported(office)
    text = get(mehmet, NEW, step="preview", **(MADE | wrong)).text
    assert 'aria-invalid="true"' in text
    assert f'id="{next(iter(wrong))}-fault"' in text
    assert 'id="preview"' not in text
    assert exported(office) == before


def test_a_class_with_points_is_not_removed(office: City, mehmet: Visitor) -> None:
    """Neither by the page nor by the form that somebody makes up."""
    before = exported(office)
    with account(office, "planner") as planner:
        used = planner.get("/points").json()["points"][0]["point_class"]
    path = f"{PAGES}/{used}/remove"
    shown = get(mehmet, path).text
    assert "It is still in use" in shown
    assert "Remove for good" not in shown
    marks = hidden(get(mehmet, f"{PAGES}/{used}/change").text, f"{PAGES}/{used}/change")["marks"]
    made_up = {"form_token": mehmet.form_token(), "marks": marks}
    answer = mehmet.post(path, data=made_up, headers={"Accept-Language": "en"})
    assert "It is still in use" in answer.text
    assert exported(office) == before


@pytest.mark.parametrize("login", [ANNA, SABINE])
def test_who_is_bound_to_a_building_or_has_another_role_changes_no_class(office: City, login: str) -> None:
    """Classes hold everywhere: Anna, who administers one building, may read them; Sabine, who helps, sees none."""
    before = exported(office)
    visitor = office.visitor(login)
    assert get(visitor, PAGES).status_code == (200 if login == ANNA else 403)
    for path in (NEW, f"{PAGES}/high/change", f"{PAGES}/high/remove"):
        fields = {**MADE, "form_token": visitor.form_token()}
        assert visitor.post(path, data=fields).status_code == 403, path
    assert "/change" not in get(visitor, f"{PAGES}/high").text
    assert exported(office) == before
