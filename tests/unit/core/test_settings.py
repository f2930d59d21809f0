# SPDX-License-Identifier: EUPL-1.2
"""Settings: what is wrong is said with its place and what is allowed; the example file is true."""

import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from cardservice.errors import SettingsError
from cardservice.settings import Settings, example, load, read_secret, read_secret_text
from cardservice.settings_check import contradictions
from cardservice.web.operations import Scope

DEFAULTS = Settings.model_construct().model_dump()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.upper().startswith("CARDSERVICE_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cardservice.toml"


def load_text(file: Path, text: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    return load(file)


def test_without_file_and_environment_there_are_defaults() -> None:
    settings = load(None)
    assert settings.service.port == 8443
    assert settings.service.host == "127.0.0.1"
    assert settings.demonstration is False


def test_the_file_counts_and_the_environment_counts_more(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[service]\nport = 1\nhost = "::1"\n'
    assert load_text(file, text).service.port == 1
    monkeypatch.setenv("CARDSERVICE_SERVICE__PORT", "2")
    settings = load_text(file, text)
    assert (settings.service.port, settings.service.host) == (2, "::1")


def test_settings_do_not_change_once_read() -> None:
    settings = load(None)
    with pytest.raises(ValidationError):
        settings.demonstration = True
    with pytest.raises(ValidationError):
        settings.service.port = 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[service]\nprot = 1", "service.prot: there is no such setting; allowed here: host, port"),
        (
            "[sevice]\nport = 1",
            "sevice: there is no such setting; allowed here: access, api, callers, database, demonstration, ",
        ),
        (
            "[directory.mapping]\nx = 1",
            "directory.mapping.x: there is no such setting; allowed here: cost_centre, department, ",
        ),
        ('[service]\nport = "many"', "service.port: Input should be a valid integer"),
        ("[service]\nport = 65536", "service.port: Input should be less than or equal to 65535"),
        ("[service]\nport = -1", "service.port: Input should be greater"),
        ("service = 1", "service: "),
        ('[directory]\nbeat_s = "fast"', "directory.beat_s: "),
        ("[directory]\nbeat_s = nan", "directory.beat_s: "),
        ("[directory]\nbeat_s = inf", "directory.beat_s: "),
        ("[directory]\ndead_s = 0.2", "directory.dead_s: "),
        ("[directory]\nservers = 5", "directory.servers: "),
        ('[directory]\nname = "Stadt Köln"', "directory.name: "),
        ('[directory]\nservers = ["a","a","a","a","a","a","a","a","a"]', "directory.servers: "),
        ('[logging]\nlevel = "loud"', "logging.level: Input should be 'debug', 'info', 'warning' or 'error'"),
        ('demonstration = "perhaps"', "demonstration: "),
        ('[access]\nlock_out_stops = ["office"]', "access.lock_out_stops.0: Input should be 'door', 'workstation', "),
        ("[directory]\nlock_out_s = 0", "directory.lock_out_s: "),
    ],
)
def test_what_is_wrong_is_named_with_its_place(file: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_text(file, text)
    assert str(raised.value).startswith(f"{file}: {message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a)(uid=*", "two words", "-x", "1.2.", "a" * 101, "ä"])
def test_what_is_no_attribute_s_name_is_refused(file: Path, name: str) -> None:
    """Names of attributes end up in searches."""
    with pytest.raises(SettingsError, match=r"directory\.mapping\.mail: "):
        load_text(file, f'[directory.mapping]\nmail = "{name}"\n')


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('disabled_attribute = "x"', True),
        ('disabled_values = ["x"]', True),
        ('disabled_attribute = "x"\ndisabled_values = ["y"]', False),
        ('disabled_attribute = "x"\nenabled_values = ["y"]', False),
    ],
)
def test_an_attribute_that_disables_needs_its_values(file: Path, text: str, *, refused: bool) -> None:
    """Without them it would disable nobody, and nobody would notice."""
    settings = load_text(file, f'[directory]\nservers = ["ldaps://x"]\n[directory.mapping]\n{text}\n')
    assert any("belongs together" in sentence for sentence in contradictions(settings)) is refused


@pytest.mark.parametrize("use", ["door", "canteen", "payroll", "directory", "access"])
def test_a_caller_may_have_what_a_route_asks_for(file: Path, use: str) -> None:
    (caller,) = load_text(file, f'[[callers]]\nname = "one"\ntoken_file = "token"\nuses = ["{use}"]\n').callers
    assert caller.uses == (use,)


@pytest.mark.parametrize("use", ["timeclock", "workstation", "printer", "", "Door"])
def test_a_use_that_no_route_asks_for_is_refused(file: Path, use: str) -> None:
    """Nobody is given a right that opens nothing."""
    *names, last = (f"'{scope}'" for scope in Scope)
    allowed = f"{', '.join(names)} or {last}"
    with pytest.raises(SettingsError, match=rf"callers\.0\.uses\.0: Input should be {allowed}"):
        load_text(file, f'[[callers]]\nname = "one"\ntoken_file = "token"\nuses = ["{use}"]\n')


def test_every_mistake_has_a_line(file: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load_text(file, '[service]\nport = "x"\nprot = 1\n[logging]\nlevel = "loud"\n')
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize("text", ["[service", "a = ", "port 8443", "a = 1\na = 2", "\0"])
def test_what_is_not_toml_is_refused(file: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_text(file, text)


def test_a_file_in_another_encoding_is_refused(file: Path) -> None:
    file.write_bytes(b'[organisation]\nname = "K\xf6ln"\n')
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml: No such file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(SettingsError, match="Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CARDSERVICE_SEVICE__PORT", "1", "CARDSERVICE_SEVICE__PORT: there is no such setting"),
        ("CARDSERVICE_", "1", "there is no such setting"),
        ("CARDSERVICE_PORT", "1", "there is no such setting"),
        ("cardservice_sevice__port", "1", "there is no such setting"),
        ("CARDSERVICE_SERVICE__PROT", "1", "service.prot: there is no such setting"),
        ("CARDSERVICE_SERVICE__PORT", "many", "service.port: Input should be a valid integer"),
        ("CARDSERVICE_SERVICE__PORT", "", "service.port: "),
        ("CARDSERVICE_DIRECTORY__SERVERS", "ldaps://a", "environment: .*directory.*JSON"),
        ("CARDSERVICE_DIRECTORY", "{", "environment: .*directory.*JSON"),
    ],
)
def test_the_environment_is_checked_as_strictly(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    """A misspelt variable is refused, not passed over."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=message):
        load(None)


@pytest.mark.parametrize("variable", ["CARDSERVICE_AGENT_NAME", "CARDSERVICE_REQUIRE_ALL", "CARDSERVICES", "PATH"])
def test_variables_of_others_do_not_disturb(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    assert load(None).model_dump() == DEFAULTS


def test_a_list_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDSERVICE_DIRECTORY__SERVERS", '["ldaps://a", "ldaps://b"]')
    assert load(None).directory.servers == ("ldaps://a", "ldaps://b")


def test_empty_means_not_set(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the current directory, which an empty path would be."""
    assert load_text(file, '[directory]\nca_file = ""\n').directory.ca_file is None
    monkeypatch.setenv("CARDSERVICE_SERVICE__TLS_KEY", "")
    assert load(None).service.tls_key is None
    assert load_text(file, '[directory]\nbind_dn = ""\n').directory.bind_dn == ""


def test_the_example_as_it_is_changes_nothing(file: Path) -> None:
    assert load_text(file, example()).model_dump() == DEFAULTS


def test_the_example_without_its_signs_says_the_defaults(file: Path) -> None:
    """Every setting is in it, commented out, and its value is the default."""
    uncommented = re.sub(r"(?m)^#(\w+ = )", r"\1", example())
    assert uncommented.count("\n") == example().count("\n")
    assert load_text(file, uncommented).model_dump() == DEFAULTS
    assigned = re.findall(r"(?m)^(\w+) = ", uncommented)
    names = re.findall(r"(?m)^(?:demonstration|port|url|store|beat_s|disabled_values|code|level) = ", uncommented)
    assert len(names) == 10
    assert len(assigned) == len(re.findall(r"(?m)^# .*\n#\w+ = ", example())), "each setting is explained"


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, dict[str, object]]:
    """Settings that contradict nothing."""
    for name in ("ca", "password", "store", "passphrase", "cert", "key"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    return {
        "directory": {
            "servers": ("ldaps://ldap.example.org",),
            "bind_dn": "cn=a",
            "people_base": "ou=p",
            "groups_base": "ou=g",
            "password_file": tmp_path / "password",
            "ca_file": tmp_path / "ca",
        },
        "keys": {"store": tmp_path / "store", "passphrase_file": tmp_path / "passphrase"},
        "service": {},
        "piv": {},
    }


def test_sound_settings_contradict_nothing(sound: dict[str, dict[str, object]]) -> None:
    assert contradictions(Settings(**sound)) == []


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("service", {"tls_certificate": "{here}/cert"}, "service.tls_certificate and service.tls_key: set both"),
        ("service", {"tls_key": "{here}/key"}, "service.tls_certificate and service.tls_key: set both"),
        ("service", {"host": "0.0.0.0"}, "service.host: without TLS"),
        ("service", {"host": "127.0.0.1.example.org"}, "service.host: without TLS"),
        ("directory", {"servers": ()}, "directory.servers: name at least one server"),
        ("directory", {"bind_dn": ""}, "directory.bind_dn: must be set"),
        ("directory", {"people_base": ""}, "directory.people_base: must be set"),
        ("directory", {"groups_base": ""}, "directory.groups_base: must be set"),
        ("directory", {"password_file": None}, "directory.password_file: must name"),
        ("directory", {"ca_file": "{here}/nothing"}, "directory.ca_file: {here}/nothing: there is no such file"),
        ("keys", {"store": "{here}"}, "keys.store: {here}: there is no such file"),
        ("keys", {"passphrase_file": "{here}/nothing"}, "keys.passphrase_file: {here}/nothing"),
        ("piv", {"trusted_ca_files": ("{here}/ca", "{here}/nothing")}, "piv.trusted_ca_files[1]: {here}/nothing"),
    ],
)
def test_each_contradiction_is_one_sentence(
    sound: dict[str, dict[str, object]], tmp_path: Path, section: str, change: dict[str, object], message: str
) -> None:
    def placed(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(placed(one) for one in value)
        return value.format(here=tmp_path) if isinstance(value, str) else value

    sound[section] |= {name: placed(value) for name, value in change.items()}
    found = contradictions(Settings(**sound))
    assert len(found) == 1
    assert found[0].startswith(message.format(here=tmp_path))


def test_with_tls_the_service_may_listen_anywhere(sound: dict[str, dict[str, object]], tmp_path: Path) -> None:
    sound["service"] = {"host": "0.0.0.0", "tls_certificate": tmp_path / "cert", "tls_key": tmp_path / "key"}
    assert contradictions(Settings(**sound)) == []


def write_secret(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.parametrize(("content", "secret"), [(b"pw", b"pw"), (b" p w \r\nnext\n", b"p w"), (b"pw\n", b"pw")])
def test_a_secret_is_the_first_line(tmp_path: Path, content: bytes, secret: bytes) -> None:
    write_secret(tmp_path / "secret", content)
    assert read_secret(tmp_path / "secret", "keys.passphrase_file") == secret


@pytest.mark.parametrize("content", [b"", b"\n", b" \nsecond", None])
def test_a_secret_that_is_not_there_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        write_secret(tmp_path / "secret", content)
    with pytest.raises(SettingsError, match=r"keys\.passphrase_file: .*secret: (the file is empty|No such file)"):
        read_secret(tmp_path / "secret", "keys.passphrase_file")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
def test_a_secret_that_everybody_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    write_secret(tmp_path / "secret", b"pw", mode)
    with pytest.raises(SettingsError, match=f"has mode {mode:04o}; everybody may read it: chmod 600") as raised:
        read_secret(tmp_path / "secret", "keys.passphrase_file")
    assert "pw" not in str(raised.value).replace(str(tmp_path), "")


def test_a_secret_that_is_text_is_utf8(tmp_path: Path) -> None:
    write_secret(tmp_path / "secret", "Schlüssel\n".encode())
    assert read_secret_text(tmp_path / "secret", "directory.password_file") == "Schlüssel"
    write_secret(tmp_path / "secret", "Schlüssel".encode("latin-1"))
    with pytest.raises(SettingsError, match="not UTF-8 text"):
        read_secret_text(tmp_path / "secret", "directory.password_file")


def test_a_secret_is_not_read_without_end(tmp_path: Path) -> None:
    write_secret(tmp_path / "secret", b"x" * 10_000_000)
    assert len(read_secret(tmp_path / "secret", "keys.passphrase_file")) <= 65_536


def test_a_proxy_before_the_service_is_named() -> None:
    """Otherwise everybody who signs in would share the proxy's address, and its limit of wrong passwords."""
    behind = {"behind_tls_proxy": True}
    unnamed = contradictions(Settings(sign_in=behind))
    named = contradictions(Settings(sign_in=behind, service={"trusted_proxies": ("192.0.2.7", "2001:db8::/64")}))
    assert [one.split(":")[0] for one in unnamed if one not in named] == ["service.trusted_proxies"]


@pytest.mark.parametrize(
    ("api", "service", "callers", "said"),
    [
        ({"client_ca_file": "ca.pem"}, {"trusted_proxies": ("192.0.2.7",)}, (), None),
        ({"client_ca_file": "ca.pem"}, {"tls_certificate": "c.pem", "tls_key": "k.pem"}, (), None),
        ({"client_ca_file": "ca.pem"}, {}, (), "nobody can show a certificate"),
        ({"client_certificates": "required"}, {}, (), "must be set where api.client_certificates is required"),
        (
            {"client_ca_file": "ca.pem", "client_certificates": "required"},
            {"trusted_proxies": ("192.0.2.7",)},
            ({"name": "till-1", "token_file": "till", "uses": ("canteen",)},),
            "callers of the settings have none",
        ),
    ],
)
def test_certificates_that_nobody_could_show_are_not_asked_for(api, service, callers, said: str | None) -> None:
    """Each sentence says what to set."""
    found = [one for one in contradictions(Settings(api=api, service=service, callers=callers)) if "no such" not in one]
    about = [one for one in found if one.startswith(("api.", "callers"))]
    assert (about == []) if said is None else (len(about) == 1 and said in about[0])
