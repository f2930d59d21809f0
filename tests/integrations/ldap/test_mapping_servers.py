# SPDX-License-Identifier: EUPL-1.2
"""Every attribute of a person, from each real server: as the preset has it, and where the settings name another."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ldap3
import pytest
from contracts.directory_source import replace as write
from support.ds389 import Ds389
from support.samba import DISABLED, ENABLED, Tree, person_values, shared_domain, template_of_the_run
from support.slapd import SUFFIX, Slapd, person

from cardservice.parts import ldap_settings
from cardservice.people.photo.rules import MAX_PHOTO_BYTES, Photo, PhotoUnusable
from cardservice.people.rules import DirectoryPerson
from cardservice.settings import DirectorySection
from integrations.ldap import LdapSettings, check
from integrations.ldap.live import LiveReader, ask_once, by_login

JPEG = b"\xff\xd8\xff\xe0" + b"\x00\xff\xd8 one" * 20 + b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n" + b"two" * 20 + b"\x00\x00\x00\x00IEND\xaeB`\x82"
LIMIT_S = 5.0
IN_2027_MS, IN_2030_MS = 1_798_761_600_000, 1_893_456_000_000
# Names that every one of the three servers knows for a person, none of them usual for what it means here.
RENAMED = {
    "login": "carLicense",
    "name": "givenName",
    "mail": "labeledURI",
    "personnel_number": "roomNumber",
    "department": "title",
    "cost_centre": "preferredLanguage",
    "photo": "audio",
    "upn": "l",
    "sid": "description",
    "valid_from": "st",
    "valid_until": "postalCode",
    "disabled_attribute": "employeeType",
    "disabled_values": ["left"],
    "enabled_values": ["staff"],
}
RENAMED_VALUES: Mapping[str, str | bytes] = {
    "carLicense": "anna-2",
    "givenName": "Änne",
    "labeledURI": "aenne@stadt.example",
    "roomNumber": "P-2",
    "title": "Amt 61 (neu)",
    "preferredLanguage": "KST-2",
    "audio": PNG,
    "l": "aenne@corp.example",
    "description": "S-1-5-21-1-2-3-1104",
    "st": "20270101000000Z",
    "postalCode": "20300101000000Z",
    "employeeType": "staff",
}
USUAL_VALUES: Mapping[str, str | bytes] = {
    "displayName": "Anna Arndt",
    "mail": "anna@stadt.example",
    "employeeNumber": "P-1",
}


@dataclass(frozen=True, slots=True)
class Directory:
    """A running server with Anna, who has every attribute, as the service is told to read it.

    `usual` is what the preset must find; `disabling` and `enabling` are the server's own ways.
    """

    kind: str
    server: Any
    dn: str
    people_base: str
    groups_base: str
    usual: Mapping[str, Any]
    disabling: Mapping[str, str | list[str]]
    enabling: Mapping[str, str | list[str]]

    def settings(self, secret: Path, **mapping: Any) -> LdapSettings:
        """Return what the service makes of a settings file with this `[directory.mapping]`."""
        secret.write_text(self.server.password)
        secret.chmod(0o600)
        section = DirectorySection(
            kind=self.kind,
            servers=(self.server.url,),
            bind_dn=self.server.bind_dn,
            password_file=secret,
            ca_file=self.server.ca_file,
            people_base=self.people_base,
            groups_base=self.groups_base,
            mapping=mapping,
        )
        return ldap_settings(section)


@pytest.fixture(scope="module")
def openldap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    server = Slapd(tmp_path_factory.mktemp("slapd"), [person("anna")]).start()
    dn = f"uid=anna,ou=people,{SUFFIX}"
    own = {"departmentNumber": "Amt 61", "jpegPhoto": JPEG, "shadowExpire": "20000", "objectClass": "shadowAccount"}
    try:
        with server.admin() as admin:
            _give(admin, dn, {**USUAL_VALUES, **own, **RENAMED_VALUES})
    except BaseException:
        server.stop()
        raise
    usual = {"department": "Amt 61", "valid_until_ms": 20_000 * 86_400_000}
    locked, open_ = {"pwdAccountLockedTime": "000001010000Z"}, {"pwdAccountLockedTime": []}
    bases = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
    yield Directory("openldap", server, dn, *bases, usual, locked, open_)
    server.stop()


@pytest.fixture(scope="module")
def ds389() -> Iterator[Directory]:
    server = Ds389()
    dn = f"uid=anna,ou=people,{SUFFIX}"
    try:
        server.start().prepare()
        server.fill([person("anna")])
        with server.admin() as admin:
            _give(admin, dn, {**USUAL_VALUES, "departmentNumber": "Amt 61", "jpegPhoto": JPEG, **RENAMED_VALUES})
        bases = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
        locked, open_ = {"nsAccountLock": "true"}, {"nsAccountLock": []}
        yield Directory("389", server, dn, *bases, {"department": "Amt 61"}, locked, open_)
    finally:
        server.close()


@pytest.fixture(scope="module")
def active_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    base = tmp_path_factory.getbasetemp()
    with shared_domain(template_of_the_run(base), base / "dc-mapping") as domain:
        tree = Tree(domain, "mapping")
        in_2030 = str((IN_2030_MS // 1_000 + 11_644_473_600) * 10_000_000)
        own = {"department": "Amt 61", "thumbnailPhoto": JPEG, "userPrincipalName": "anna@corp.example"}
        with domain.admin() as admin:
            for dn in (tree.suffix, f"ou=people,{tree.suffix}", f"ou=groups,{tree.suffix}"):
                admin.add(dn, "organizationalUnit")
            admin.add(tree.person_dn("anna"), "user", person_values("anna"))
            _give(admin, tree.person_dn("anna"), {**USUAL_VALUES, **own, "accountExpires": in_2030, **RENAMED_VALUES})
            sid = _sid(admin, tree.person_dn("anna"))
        usual = {"department": "Amt 61", "upn": "anna@corp.example", "valid_until_ms": IN_2030_MS, "sid": sid}
        bases = f"ou=people,{tree.suffix}", f"ou=groups,{tree.suffix}"
        locked, open_ = {"userAccountControl": DISABLED}, {"userAccountControl": ENABLED}
        yield Directory("active-directory", tree, tree.person_dn("anna"), *bases, usual, locked, open_)


def _give(admin: ldap3.Connection, dn: str, values: Mapping[str, str | bytes]) -> None:
    """Set attributes; an object class is added."""
    changes = {
        name: [(ldap3.MODIFY_ADD if name == "objectClass" else ldap3.MODIFY_REPLACE, [value])]
        for name, value in values.items()
    }
    admin.modify(dn, changes)


def _sid(admin: ldap3.Connection, dn: str) -> str:
    admin.search(dn, "(objectClass=*)", ldap3.BASE, attributes=["objectSid"])
    raw = admin.response[0]["raw_attributes"]["objectSid"][0]
    return str(ldap3.protocol.formatters.formatters.format_sid(raw))


class OfEveryServer:
    """The promises; a subclass says which server."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        return tmp_path / "directory.secret"

    def test_the_preset_finds_everything(self, directory: Directory, secret: Path) -> None:
        """Name, login, mail, numbers, department, validity, UPN, SID and photo, from the attributes that are usual."""
        settings = directory.settings(secret)
        found = ask_once(settings, lambda reader: reader.look(by_login(settings, "anna"), LIMIT_S)).person
        assert isinstance(found, DirectoryPerson)
        expected = {"login": "anna", "name": "Anna Arndt", "mail": "anna@stadt.example", "personnel_number": "P-1"}
        assert {name: getattr(found, name) for name in (*expected, *directory.usual)} == {**expected, **directory.usual}
        assert found.enabled
        assert ask_once(settings, lambda reader: reader.photo(found.stable_id, LIMIT_S)) == Photo("image/jpeg", JPEG)

    def test_the_server_s_own_way_disables(self, directory: Directory, secret: Path) -> None:
        """And enables again."""
        settings = directory.settings(secret)
        reader = LiveReader(settings)
        try:
            with directory.server.admin() as admin:
                for values, enabled in ((directory.disabling, False), (directory.enabling, True)):
                    write(admin, directory.dn, **values)
                    found = reader.look(by_login(settings, "anna"), LIMIT_S).person
                    assert found is not None
                    assert found.enabled is enabled
        finally:
            reader.close()

    def test_every_attribute_can_be_another(self, directory: Directory, secret: Path) -> None:
        """Whatever `[directory.mapping]` names is what counts, the photo included."""
        settings = directory.settings(secret, **RENAMED)
        look = ask_once(settings, lambda reader: reader.look(by_login(settings, "anna-2"), LIMIT_S))
        found = look.person
        assert isinstance(found, DirectoryPerson)
        expected = DirectoryPerson(
            stable_id=found.stable_id,
            dn=found.dn,
            name="Änne",
            enabled=True,
            valid_from_ms=IN_2027_MS,
            valid_until_ms=min(IN_2030_MS, directory.usual.get("valid_until_ms", IN_2030_MS)),
            login="anna-2",
            mail="aenne@stadt.example",
            personnel_number="P-2",
            upn="aenne@corp.example",
            sid="S-1-5-21-1-2-3-1104",
            department="Amt 61 (neu)",
            cost_centre="KST-2",
        )
        assert found == expected
        assert look.unreadable == ()
        assert ask_once(settings, lambda reader: reader.photo(found.stable_id, LIMIT_S)) == Photo("image/png", PNG)

    @pytest.mark.parametrize(("value", "enabled"), [("staff", True), ("left", False), ("on leave?", False)])
    def test_a_status_of_the_city_s_own_counts(
        self, directory: Directory, secret: Path, value: str, enabled: bool
    ) -> None:
        settings = directory.settings(secret, **RENAMED)
        with directory.server.admin() as admin:
            write(admin, directory.dn, employeeType=value)
            found = ask_once(settings, lambda reader: reader.look(by_login(settings, "anna-2"), LIMIT_S)).person
            write(admin, directory.dn, employeeType="staff")
        assert found is not None
        assert found.enabled is enabled

    def test_the_check_counts_what_is_mapped_and_tells_what_never_matches(
        self, directory: Directory, secret: Path
    ) -> None:
        settings = directory.settings(secret, cost_centre="extensionAttribute7", department="title")
        findings = [(finding.severity, finding.text.partition(": ")[2]) for finding in check(settings)]
        (counted,) = [text for severity, text in findings if severity == "ok" and text.startswith("of 1 people show: ")]
        shown, _, unseen = counted.partition("; nobody shows ")
        for name in ("displayName 1", "mail 1", "employeeNumber 1", "title 1", "hoto 1"):
            assert name in shown
        assert "extensionAttribute7" in unseen
        warnings = [text for severity, text in findings if severity == "warning" and "[directory.mapping]" in text]
        assert [text.partition(",")[0] for text in warnings] == ["extensionAttribute7"]

    def test_the_photo_is_not_in_the_copy(self, directory: Directory, secret: Path) -> None:
        """No search that follows the directory asks for it."""
        mapping = directory.settings(secret).mapping
        assert mapping.photo
        assert mapping.photo not in {*mapping.attributes(), *mapping.stored_attributes()}


@pytest.mark.slapd
class TestOpenLdap(OfEveryServer):
    """Real slapd; the photos that cannot be used, too, since it stores whatever it is given."""

    @pytest.fixture
    def directory(self, openldap: Directory) -> Directory:
        return openldap

    @pytest.mark.parametrize(
        ("photo", "words"),
        [
            (JPEG[:-2] + b"\x00" * MAX_PHOTO_BYTES + b"\xff\xd9", "at most 524288"),
            (JPEG[:-1], "cut off"),
            (PNG[:-4], "cut off"),
            (b"\xff\xd8\xff\xd9", "cut off"),
            (b"BM" + JPEG[2:], "neither JPEG nor PNG"),
            (b"GIF89a;", "neither JPEG nor PNG"),
        ],
    )
    def test_what_is_no_photo_is_refused_with_the_reason(
        self, directory: Directory, secret: Path, photo: bytes, words: str
    ) -> None:
        self._with_photo(directory, secret, [photo], lambda read: _refused(read, words))

    def test_who_has_no_photo_has_none(self, directory: Directory, secret: Path) -> None:
        self._with_photo(directory, secret, [], lambda read: _is(read, None))

    def test_one_of_several_photos_is_taken(self, directory: Directory, secret: Path) -> None:
        self._with_photo(directory, secret, [PNG, JPEG], lambda read: _is(read, Photo("image/png", PNG)))

    def test_the_largest_photo_is_read(self, directory: Directory, secret: Path) -> None:
        largest = JPEG[:-2] + b"\x00" * (MAX_PHOTO_BYTES - len(JPEG)) + b"\xff\xd9"
        self._with_photo(directory, secret, [largest], lambda read: _is(read, Photo("image/jpeg", largest)))

    @staticmethod
    def _with_photo(
        directory: Directory, secret: Path, photos: list[bytes], then: Callable[[Callable[[], Photo | None]], None]
    ) -> None:
        settings = replace(directory.settings(secret))
        reader = LiveReader(settings)
        found = reader.look(by_login(settings, "anna"), LIMIT_S).person
        assert found is not None
        try:
            with directory.server.admin() as admin:
                admin.modify(directory.dn, {"jpegPhoto": [(ldap3.MODIFY_REPLACE, photos)]})
                then(lambda: reader.photo(found.stable_id, LIMIT_S))
                admin.modify(directory.dn, {"jpegPhoto": [(ldap3.MODIFY_REPLACE, [JPEG])]})
        finally:
            reader.close()


def _refused(read: Callable[[], Photo | None], words: str) -> None:
    with pytest.raises(PhotoUnusable, match=words) as raised:
        read()
    assert "anna" not in str(raised.value)


def _is(read: Callable[[], Photo | None], expected: Photo | None) -> None:
    assert read() == expected


@pytest.mark.ds389
class TestDs389(OfEveryServer):
    """Real ns-slapd."""

    @pytest.fixture
    def directory(self, ds389: Directory) -> Directory:
        return ds389


@pytest.mark.samba
class TestActiveDirectory(OfEveryServer):
    """Real Samba."""

    @pytest.fixture
    def directory(self, active_directory: Directory) -> Directory:
        return active_directory
