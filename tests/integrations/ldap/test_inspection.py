# SPDX-License-Identifier: EUPL-1.2
"""`cardservice directory person`: what the copy knows of somebody beside what a real slapd says at this moment."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.directory_source import LOCKED_FOR_GOOD
from contracts.directory_source import replace as write
from support.command import run_cli
from support.service import CityFiles, DirectoryAddress, ServiceThread
from support.slapd import SUFFIX, Slapd, group, person

from cardservice.parts import inspect_person, ldap_settings
from cardservice.people.inspection import Inspection
from integrations.ldap.errors import LdapTrouble
from integrations.ldap.live import LiveReader, ask_once, by_login

pytestmark = pytest.mark.slapd

PEOPLE = f"ou=people,{SUFFIX}"
ANNA, BERT = f"uid=anna,{PEOPLE}", f"uid=bert,{PEOPLE}"
AWKWARD = r"a*)(uid=*\,(&|=#"
JPEG = b"\xff\xd8\xff\xe0" + b"somebody's face" * 9 + b"\xff\xd9"


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    people = [person("anna", "Anna Arndt", departmentNumber="Bauamt"), person("bert")]
    server = Slapd(
        tmp_path / "slapd", [*people, group("inner", [ANNA]), group("outer", [f"cn=inner,ou=groups,{SUFFIX}"])]
    )
    yield server.start()
    server.stop()


@pytest.fixture
def city(tmp_path: Path, slapd: Slapd) -> CityFiles:
    """A service that has read the directory once, and does not run."""
    bases = PEOPLE, f"ou=groups,{SUFFIX}"
    files = CityFiles(
        tmp_path / "city", DirectoryAddress(slapd.url, slapd.ca_file, slapd.bind_dn, *bases, slapd.password)
    )
    files.configure({"directory.mapping": {"cost_centre": "roomNumber"}})
    files.upgrade()
    service = ServiceThread(files)
    service.start()
    service.wait_health(lambda state: state.get("status") == "ready")
    service.stop()
    return files


def inspected(city: CityFiles, login: str, limit_s: float = 5.0) -> list[Inspection]:
    with city.stores() as databases:
        return inspect_person(city.settings(), databases.state, login, limit_s=limit_s)


def told(city: CityFiles, *arguments: str) -> tuple[int, str, str]:
    done = run_cli("directory", "person", *arguments, "--config", str(city.config))
    return done.returncode, done.stdout, done.stderr


def test_it_says_in_plain_words_what_is_known_and_from_where(city: CityFiles, slapd: Slapd) -> None:
    """Every field with its attribute, the effective groups, and that the directory says the same; never a secret."""
    code, text, _ = told(city, "anna")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert code == 0
    assert lines[0] == "directory city: in the copy"
    for line in (
        "name Anna Arndt from cn",
        "enabled yes pwdAccountLockedTime: not there",
        "valid until - shadowExpire: not there",
        "valid from - no attribute is mapped",
        "department Bauamt from departmentNumber",
        "cost centre - roomNumber: not there",
        "mail anna@stadt.example from mail",
        "groups 2",
        "photo jpegPhoto, read only when it is asked for (--photo FILE)",
        f"{slapd.url} says the same now",
    ):
        assert line in lines
    assert "WRONG" not in text
    assert slapd.password not in text


def test_it_tells_where_copy_and_directory_differ(city: CityFiles, slapd: Slapd) -> None:
    """The copy is that of a service that does not run; the directory is asked at this moment."""
    with slapd.admin() as admin:
        write(admin, ANNA, departmentNumber="Hochbau", pwdAccountLockedTime=LOCKED_FOR_GOOD)
    (one,) = inspected(city, "ANNA")
    assert set(one.differences) == {"department", "enabled"}
    assert one.troubles() == [
        "enabled differs: the copy has yes, the directory says no",
        "department differs: the copy has Bauamt, the directory says Hochbau",
    ]
    code, text, _ = told(city, "anna", "--json")
    (document,) = json.loads(text)
    assert code == 0
    assert (document["copy"]["enabled"], document["now"]["enabled"]) == (True, False)
    assert document["shown"]["enabled"] == ["pwdAccountLockedTime"]
    assert document["differences"] == ["enabled", "department"]
    assert document["copy"]["groups"] == 2


def test_who_is_gone_new_or_made_anew_is_told_apart(city: CityFiles, slapd: Slapd) -> None:
    """Somebody under an old name is somebody else."""
    (known,) = inspected(city, "bert")
    with slapd.admin() as admin:
        admin.delete(BERT)
        (gone,) = inspected(city, "bert")
        assert gone.troubles() == ["the copy has this person and the directory shows them no longer"]
        admin.add(BERT, "inetOrgPerson", {"cn": "Bert Zwei", "sn": "Z"})
    old, new = inspected(city, "bert")
    assert old.document()["stable_id"] == known.document()["stable_id"] != new.document()["stable_id"]
    assert (old.said.person, new.known) == (None, None)
    assert "the copy does not: does the service follow it?" in new.text()
    (nobody,) = inspected(city, "nobody")
    assert (nobody.known, nobody.said.person) == (None, None)
    assert "nobody has the login 'nobody'" in nobody.text()


def test_a_login_is_searched_for_and_never_read_as_a_filter(city: CityFiles, slapd: Slapd) -> None:
    """Whatever characters it has: it finds whoever has just this login, and nobody else (RFC 4515)."""
    assert [one.said.person for one in inspected(city, "*")] == [None]
    assert [one.said.person for one in inspected(city, AWKWARD)] == [None]
    with slapd.admin() as admin:
        admin.add(f"cn=awkward,{PEOPLE}", "inetOrgPerson", {"sn": "A", "uid": AWKWARD})
    (found,) = inspected(city, AWKWARD)
    assert found.said.person is not None
    assert found.said.person.login == AWKWARD


def test_a_hung_server_costs_its_limit_and_the_copy_is_shown(city: CityFiles, slapd: Slapd) -> None:
    slapd.pause()
    try:
        began_s = time.monotonic()
        (one,) = inspected(city, "anna", limit_s=0.3)
        took_s = time.monotonic() - began_s
    finally:
        slapd.resume()
    assert took_s < 3.0
    assert "could not be reached in time" in one.text()
    assert "Anna Arndt" in one.text()
    assert one.differences == ()


def test_the_next_server_is_asked_when_one_hangs(city: CityFiles, slapd: Slapd, tmp_path: Path) -> None:
    """Each has its own limit, so that a spare is reached; what no server answers is an error and never nobody."""
    other = Slapd(tmp_path / "other", [person("anna")]).start()
    settings = ldap_settings(city.settings().directory)
    authorities = tmp_path / "both.pem"
    authorities.write_bytes(slapd.ca_file.read_bytes() + other.ca_file.read_bytes())
    both = replace(settings, servers=(other.url, slapd.url), ca_file=authorities)

    def look(reader: LiveReader) -> str:
        return reader.look(by_login(settings, "anna"), 0.5).server

    other.pause()
    try:
        assert ask_once(both, look) == slapd.url
        with pytest.raises(LdapTrouble):
            ask_once(replace(both, servers=(other.url,)), look)
    finally:
        other.stop()


def test_the_photo_goes_into_a_new_file_that_only_its_owner_reads(
    city: CityFiles, slapd: Slapd, tmp_path: Path
) -> None:
    """It is read from the directory for this alone, and never shown; a file that is there is left alone."""
    target = tmp_path / "anna.jpg"
    code, _, error = told(city, "anna", "--photo", str(target))
    assert (code, target.exists()) == (66, False)
    assert "the directory shows none of this person" in error
    with slapd.admin() as admin:
        write(admin, ANNA, jpegPhoto=[JPEG])
    code, text, error = told(city, "anna", "--json", "--photo", str(target))
    assert code == 0, error
    assert target.read_bytes() == JPEG
    assert target.stat().st_mode & 0o777 == 0o600
    assert "image/jpeg" in error
    assert "face" not in text
    assert json.loads(text)[0]["shown"]["photo"] == []
    assert told(city, "anna", "--photo", str(target))[0] == 65
    with slapd.admin() as admin:
        write(admin, ANNA, jpegPhoto=[JPEG[:-1]])
    code, _, error = told(city, "anna", "--photo", str(tmp_path / "other.jpg"))
    assert (code, (tmp_path / "other.jpg").exists()) == (65, False)
    assert "cut off" in error
