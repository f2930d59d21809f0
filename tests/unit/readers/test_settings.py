# SPDX-License-Identifier: EUPL-1.2
"""Settings: the environment wins over the file, and every mistake is named."""

import pytest

from readers.errors import SettingsFault
from readers.settings import load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.setenv("CARDSERVICE_AGENT_AGENT", "agent-1")
    monkeypatch.setenv("CARDSERVICE_AGENT_CENTRE_URL", "wss://centre.example/agents")


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return path

    return write


def test_the_environment_wins_over_the_file(file):
    settings = load_settings(file('agent = "agent-2"\nremoval_debounce_ms = 200\nkey_file = "/var/lib/agent/key"\n'))
    assert (settings.agent, settings.removal_debounce_ms, str(settings.key_file)) == (
        "agent-1",
        200,
        "/var/lib/agent/key",
    )


@pytest.mark.parametrize(
    "url",
    ["ws://127.0.0.1:8000/agents", "ws://localhost/agents", "ws://[::1]:8000/agents", "wss://centre.example/agents"],
)
def test_encrypted_or_loopback_is_allowed(monkeypatch, url):
    monkeypatch.setenv("CARDSERVICE_AGENT_CENTRE_URL", url)
    assert load_settings(None).centre_url == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ws://centre.example/agents", "allow_plain_ws"),
        ("ws://127.0.0.1.example/agents", "allow_plain_ws"),
        ("ws://localhost.example/agents", "allow_plain_ws"),
        ("http://centre.example/agents", "wss://host"),
        ("wss:///agents", "wss://host"),
        ("wss://user:secret@centre.example/", "without user and password"),
        ("wss://@centre.example/", "without user and password"),
        ("wss://[centre.example/", "centre_url must look like wss://host"),
        ("wss://centre.example:70000/", "wss://host"),
        ("wss://centre.example:door/", "wss://host"),
        ("wss://centre..example/", "wss://host"),
        ("wss://" + "c" * 64 + ".example/", "wss://host"),
        ("wss://centre.example/#agents", "wss://host"),
        ("wss://centre.example/a b", "wss://host"),
        ("wss://centre.example/\r\nHost:", "wss://host"),
    ],
)
def test_other_addresses_are_refused(monkeypatch, url, says):
    monkeypatch.setenv("CARDSERVICE_AGENT_CENTRE_URL", url)
    with pytest.raises(SettingsFault, match=says) as caught:
        load_settings(None)
    assert "secret" not in str(caught.value)


def test_plain_to_another_machine_needs_the_explicit_setting(monkeypatch):
    monkeypatch.setenv("CARDSERVICE_AGENT_CENTRE_URL", "ws://centre.example/agents")
    monkeypatch.setenv("CARDSERVICE_AGENT_ALLOW_PLAIN_WS", "true")
    assert load_settings(None).allow_plain_ws is True


def test_a_ca_without_tls_is_a_contradiction(monkeypatch):
    monkeypatch.setenv("CARDSERVICE_AGENT_CENTRE_URL", "ws://127.0.0.1/agents")
    monkeypatch.setenv("CARDSERVICE_AGENT_CA_FILE", "/etc/ca.pem")
    with pytest.raises(SettingsFault, match="use wss://"):
        load_settings(None)


def test_every_mistake_is_named(monkeypatch, file):
    monkeypatch.setenv("CARDSERVICE_AGENT_AGENT", "Agent One")
    with pytest.raises(SettingsFault, match=r"agent: .*metrics_port: .*removal_debounce: Extra"):
        load_settings(file("removal_debounce = 5\nmetrics_port = 70000\n"))


def test_an_unknown_environment_variable_is_named(monkeypatch):
    monkeypatch.setenv("CARDSERVICE_AGENT_CENTER_URL", "wss://centre.example/agents")
    with pytest.raises(SettingsFault, match="CARDSERVICE_AGENT_CENTER_URL"):
        load_settings(None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("agent = ", "not TOML"),
        (None, "cannot be read"),
        ("a = " + "[" * 5_000, "not TOML"),
        ("metrics_port = " + "9" * 5_000, "not TOML"),
        ("#" * 16_385, "more than 16384 bytes"),
        ('_env_file = "/etc/passwd"', "unknown settings _env_file"),
        ("_cli_parse_args = true", "unknown settings _cli_parse_args"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, says):
    path = tmp_path / "agent.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsFault, match=f"agent.toml.*{says}|{says}.*agent.toml"):
        load_settings(path)


@pytest.mark.parametrize("name", ["key_file", "outbox_file", "ca_file", "pcsc_socket"])
@pytest.mark.parametrize("path", ["", ".", "/", "a\\u0000b", "/run/" + "a" * 241])
def test_a_path_that_names_no_file_is_refused(file, name, path):
    """Now and with its setting's name, not later by whatever opens it."""
    with pytest.raises(SettingsFault, match=f"{name}: .*must name a file"):
        load_settings(file(f'{name} = "{path}"'))
