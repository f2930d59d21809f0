# SPDX-License-Identifier: EUPL-1.2
"""Reviews of grants over HTTP and from the command line, beside a running service."""

import json
import time

import httpx2
import pytest
from support.command import run_cli
from support.service import CALLERS
from support.waiting import wait_until

from cardservice.access.record import STREAM
from cardservice.instants import MAX_INSTANT_MS
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry

ZONE = "rathaus"
DAY_MS = 86_400_000
BASE = "/api/v1/access"


@pytest.fixture
def api(city):
    """What an administrator's program sees; whatever runs is aborted in the end, so that every grant is as before."""
    headers = {"Authorization": f"Bearer {CALLERS['reviewer'][0]}"}
    with httpx2.Client(base_url=city.service.url + BASE, headers=headers, timeout=20) as client:
        yield client
        for review in client.get("/reviews", params={"limit": 500}).json()["reviews"]:
            client.post(f"/reviews/{review['code']}/abort", json={"reason": "Ende der Probe"})


def begin(api, code, **changes):
    deadline_ms = int(time.time() * 1_000) + 3 * DAY_MS - 60_000
    return api.put(f"/reviews/{code}", json={"name": "Probe", "deadline_ms": deadline_ms, "zone": ZONE} | changes)


def items(api, code, **wanted):
    return api.get(f"/reviews/{code}/items", params=wanted).json()["items"]


def lines(city, code):
    """The journal's lines of a review, as they stand open."""
    city.service.recorded()
    return [row.payload for row in city.files.rows(journal_entry) if row.stream == STREAM and code in row.payload]


def test_a_review_from_its_beginning_to_its_end(city, api):
    """Owners, items by pages, answers for a member, extending, aborting; the running service sees each at once."""
    assert api.put(f"/zones/{ZONE}/owner", json={"group": "Bauamt"}).status_code == 204
    begun = begin(api, "course")
    assert begun.status_code == 200, begun.text
    revision = city.service.health()["snapshot_revision"]
    assert begin(api, "course", deadline_ms=begun.json()["deadline_ms"]).json() == begun.json()
    found = items(api, "course")
    (due,) = begun.json()["due"]
    assert due == {"owner": "Bauamt", "unanswered": len(found)}
    assert len(found) > 2
    assert {(one["state"], one["ends_ms"]) for one in found} == {("open", begun.json()["deadline_ms"])}
    pages, after = [], "0"
    while after is not None:
        page = api.get("/reviews/course/items", params={"limit": 2, "after": after}).json()
        pages += page["items"]
        after = page["cursor"]
    assert pages == found
    first, second = (f"/reviews/course/items/{one['item']}" for one in found[:2])
    kept = api.post(f"{first}/keep", json={"reason": "Herr Krüger braucht es"}).json()
    assert (kept["state"], kept["ends_ms"], kept["answered_by"]) == ("kept", kept["before_ms"], "reviewer")
    wait_until(lambda: city.service.health()["snapshot_revision"] > revision)
    assert api.post(f"{first}/keep", json={}).json() == kept
    assert api.post(f"{first}/end", json={}).status_code == 409
    assert api.post(f"{second}/renew", json={"reason": "zu früh"}).status_code == 409
    assert api.post(f"{second}/keep", json={"login": "nobody.there"}).status_code == 404
    assert len(items(api, "course", unanswered=True)) == len(found) - 1
    assert items(api, "course", owner="Bauamt") == items(api, "course")
    assert items(api, "course", nobodys=True) == []
    later_ms = begun.json()["deadline_ms"] + DAY_MS
    extended = api.post("/reviews/course/extend", json={"deadline_ms": later_ms, "reason": "Urlaub"})
    assert extended.json()["deadline_ms"] == later_ms
    assert {one["ends_ms"] for one in items(api, "course", unanswered=True)} == {later_ms}
    assert api.post("/reviews/course/abort", json={"reason": "Probe"}).json()["aborted_ms"] is not None
    assert all(one["ends_ms"] == one["before_ms"] for one in items(api, "course"))
    assert api.put(f"/zones/{ZONE}/owner", json={"group": None}).status_code == 204
    text = "".join(lines(city, "course"))
    assert [text.count(kind) for kind in ("review_begun", "grant_kept", "review_aborted")] == [1, 1, 1]
    assert not any(name in text for name in ("reviewer", "Krüger", "Urlaub"))
    with city.files.stores() as stores:
        verify(stores.record)


def test_what_is_due_is_told_under_health_and_metrics(city, api):
    """A sentence and a number with the review's code; both end with the review."""
    begin(api, "due")
    count = len(items(api, "due"))
    (sentence,) = city.service.health()["degraded"]
    assert sentence.startswith(f"review due: {count} of {count} grants are unanswered, 3 days left; they end on 20")
    assert f'cardservice_review_unanswered{{review="due"}} {count}.0' in city.service.get("/metrics")[1]
    api.post("/reviews/due/abort", json={"reason": "Probe"})
    assert city.service.health()["degraded"] == []
    assert 'review="due"' not in city.service.get("/metrics")[1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/reviews/Wrong%20code", {"name": "x", "deadline_ms": 1}, 422),
        ("PUT", "/reviews/wrong", {"name": "x", "deadline_ms": 1}, 409),
        ("PUT", "/reviews/wrong", {"name": "x", "deadline_ms": MAX_INSTANT_MS}, 422),
        ("PUT", "/reviews/wrong", {"name": "x", "deadline_ms": 2**42, "zone": "nowhere"}, 404),
        ("PUT", "/reviews/wrong", {"name": "x", "deadline_ms": 2**42, "zone": ZONE, "group": "Bauamt"}, 409),
        ("PUT", "/reviews/wrong", {"name": "x", "deadline_ms": 2**42, "scope": "all"}, 422),
        ("GET", "/reviews/none/items", None, 404),
        ("GET", "/reviews?after=x", None, 422),
        ("GET", "/reviews?limit=0", None, 422),
        ("POST", "/reviews/none/items/1/keep", {}, 404),
        ("POST", "/reviews/none/items/1/forget", {}, 422),
        ("POST", "/reviews/none/items/9999999999999999999/keep", {}, 422),
        ("POST", "/reviews/none/abort", {"reason": "\n"}, 409),
        ("POST", "/reviews/none/items/1/keep", {"login": "\0"}, 409),
        ("GET", "/reviews/none/items?owner=%00", None, 409),
        ("PUT", "/zones/rathaus/owner", {"group": "\0"}, 409),
        ("PUT", "/grants/999999999/owner", {"group": "Bauamt"}, 404),
        ("PUT", "/zones/rathaus/owner", {"group": "Niemand"}, 404),
    ],
)
def test_what_makes_no_sense_is_a_problem_with_a_code(api, method, path, body, status):
    answer = api.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


# What the command line adds does not depend on the kind of database.
ONCE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="module")


def cli(city, *arguments):
    return run_cli("access", "review", *arguments, "--config", str(city.files.config))


@ONCE
def test_the_command_line_does_the_same_beside_the_service(city, api):
    """The running service follows; its journal and the command line's verify."""
    begun = cli(city, "begin", "shell", "--deadline", "2090-01-31", "--zone", ZONE, "--by", "Ute Klein")
    assert begun.returncode == 0, begun.stderr
    assert begun.stdout.startswith(f"shell  shell  zone {ZONE}  ends 2090-01-31T23:00:00+00:00\n")
    shown = json.loads(cli(city, "show", "shell", "--open", "--json").stdout)
    assert [one["item"] for one in shown] == [one["item"] for one in items(api, "shell")]
    number = str(shown[0]["item"])
    kept = cli(city, "keep", "shell", number, "--until", "2091-01-31", "--reason", "gebraucht")
    assert f"shell {number}  kept  by the command line  group " in kept.stdout
    assert "Ute Klein" not in "".join(lines(city, "shell"))
    assert len(lines(city, "shell")) == 2
    with city.files.stores() as stores:
        verify(stores.record)


@ONCE
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("begin", "x", "--deadline", "soon"), 78, "2027-03-31"),
        (("show", "none"), 66, "there is no review 'none'"),
        (("owner", "Bauamt"), 65, "a zone or of a grant"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(city, arguments, code, says):
    done = cli(city, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
