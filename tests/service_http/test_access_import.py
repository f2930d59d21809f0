# SPDX-License-Identifier: EUPL-1.2
"""The access model from a file by the pages: what it would change and for whom, refused with its line, had back."""

import html
import re
from collections.abc import Iterator

import pytest
from service_http.conftest import City
from service_http.test_access_pages import exported, page, running, saved
from support.desks import ANNA, MEHMET
from support.signing_in import Visitor

from cardservice.access.model.shelf import KEPT_MS, MAX_ALL, MAX_OF_ONE, Shelf
from cardservice.errors import NotFound
from cardservice.journal.store import journal_entry

PATH = "/access/import"
ENGLISH = {"Accept-Language": "en"}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with running(tmp_path_factory.mktemp("import")) as made:
        yield made


@pytest.fixture
def mehmet(office: City) -> Visitor:
    """He administers everything."""
    return office.visitor(MEHMET)


def sent(visitor: Visitor, content: str, **fields: str) -> str:
    """Send a file as the form does; return the address that leads to."""
    token = {"form_token": visitor.form_token()} | fields
    files = {"file": ("access.toml", content.encode(), "application/toml")}
    answer = visitor.request("POST", PATH, data=token, files=files, headers=ENGLISH)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def taken(visitor: Visitor, address: str, **more: str) -> str:
    """Press "Take over" on a page with a preview; return where that leads."""
    text = page(visitor, address)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text.split('id="preview"')[1]))
    answer = visitor.post(address, data={**fields, **more}, headers=ENGLISH)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def imports(office: City) -> int:
    return sum("model_imported" in row.payload for row in office.files.rows(journal_entry))


def test_a_file_is_looked_at_taken_over_and_taken_back(office, mehmet):
    """The preview says what and for whom and stores nothing; afterwards the file from before leads back."""
    before = exported(office)
    address = sent(mehmet, before + '\n[[grant]]\ngroup = "IT"\npoint = "bauamt.aussen"\n')
    said = html.unescape(page(mehmet, address))
    assert "+ grant for 'IT' at point bauamt.aussen" in said
    assert "May pass who could not before" in said
    assert exported(office) == before
    assert imports(office) == 0
    back = taken(mehmet, address)
    assert exported(office) != before
    assert imports(office) == 1
    offered = re.findall(r'href="(/access/import/[0-9a-f]{32}(?:/file)?)"', page(mehmet, back.replace("&amp;", "&")))
    assert mehmet.get(offered[0]).text == before
    returned = page(mehmet, offered[1])
    assert "1 entry that the file lacks is to be removed" in returned
    unsaid = mehmet.post(
        offered[1],
        data={"form_token": mehmet.form_token(), "marks": re.findall(r'name="marks" value="(\w+)"', returned)[0]},
    )
    assert unsaid.status_code == 200
    assert exported(office) != before
    taken(mehmet, offered[1], removing="yes")
    assert exported(office) == before


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ('\n[[grant]]\ngroup = "IT"\npoint = 7\n', "line"),
        ('\n[[grant]]\ngroup = "Nobody knows"\npoint = "bauamt.aussen"\n', "Nobody knows"),
        ("\n[[block\n", "no TOML"),
    ],
    ids=["a value", "a name", "a text"],
)
def test_what_cannot_be_is_said_with_its_place(office, mehmet, wrong, place):
    """The page says where in the file and what is allowed there; nothing can be taken over."""
    before = exported(office)
    said = html.unescape(page(mehmet, sent(mehmet, before + wrong)))
    assert place in said.split('id="error"')[1].split("</pre>")[0]
    assert 'id="preview"' not in said
    assert exported(office) == before


def test_what_somebody_changed_meanwhile_is_not_overwritten(office, mehmet):
    """A file rests on the model that its preview was made from."""
    address = sent(mehmet, exported(office) + '\n[[block]]\ngroup = "IT"\nzone = "bauamt"\n')
    seen = re.findall(r'name="marks" value="(\w+)"', page(mehmet, address))[0]
    other = page(mehmet, "/access/new/grant", step="preview", effect="block", group="Bürgerbüro", zone="bauamt")
    assert saved(mehmet, "/access/new/grant", other).status_code == 303
    refused = mehmet.post(
        address, data={"form_token": mehmet.form_token(), "marks": seen, "removing": "yes"}, headers=ENGLISH
    )
    assert refused.status_code == 200
    assert "Somebody changed the model meanwhile" in refused.text
    assert "Bürgerbüro" in exported(office)


def test_only_whoever_administers_everything_sends_files_from_our_own_page(office, mehmet):
    """Bound to a zone: refused; without the token of the page: refused; too long: said, and nothing kept."""
    assert office.visitor(ANNA).get(PATH).status_code == 403
    files = {"file": ("a.toml", b"format = 1\n")}
    unsigned = mehmet.request("POST", PATH, data={"form_token": "0" * 64}, files=files)
    assert (unsigned.status_code, unsigned.json()["code"]) == (403, "form_token")
    long = {"file": ("a.toml", b"#" * (2 * 1024 * 1024 + 1))}
    told = mehmet.request("POST", PATH, data={"form_token": mehmet.form_token()}, files=long, headers=ENGLISH)
    assert "The file is too long" in told.text
    longer = {"file": ("a.toml", b"#" * (4 * 1024 * 1024))}
    assert mehmet.request("POST", PATH, data={"form_token": mehmet.form_token()}, files=longer).status_code == 413
    assert mehmet.get(f"{PATH}/{'0' * 32}", headers=ENGLISH).status_code == 404


class Present:
    """A clock that is set."""

    at_ms = 0

    def now_ms(self) -> int:
        return self.at_ms


def test_a_shelf_holds_a_few_files_of_each_for_a_while():
    """The oldest go first, nobody finds another one's, and an hour later there is none."""
    clock = Present()
    shelf = Shelf(clock)  # type: ignore[arg-type]  # what it asks of a clock
    names = [shelf.lay(1, b"%d" % number) for number in range(MAX_OF_ONE + 1)]
    assert [shelf.has(1, name) for name in names] == [False] + [True] * MAX_OF_ONE
    assert not shelf.has(2, names[-1])
    for owner in range(2, MAX_ALL + 2):
        shelf.lay(owner, b"x")
    assert not shelf.has(1, names[-1])
    clock.at_ms = KEPT_MS
    assert not shelf.has(MAX_ALL + 1, shelf.lay(MAX_ALL + 1, b"y")[:-1])
    with pytest.raises(NotFound):
        shelf.take(MAX_ALL, names[-1])
