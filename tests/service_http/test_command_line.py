# SPDX-License-Identifier: EUPL-1.2
"""`cardservice` on the command line: every mistake is one clear message on standard error and an exit code."""

import ctypes
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.canaries import found_in, secrets
from support.command import run_cli, run_program
from support.service import (
    PASSPHRASE,
    SERVICE_PASSWORD,
    CityFiles,
    DirectoryAddress,
    ServiceProcess,
    directory_in_thread,
)
from support.waiting import LIMIT_S

from cardservice.agents.service import Agents
from cardservice.canteen.service import Canteen, Source, TopUp
from cardservice.cards.service import NewCard, register
from cardservice.clock import SystemClock
from cardservice.database import write
from cardservice.journal.service import Entry, Journal
from cardservice.ledger.service import Ledger
from cardservice.people.store import ensure_organisation
from cardservice.recorder import Recorder

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
PR_CAPBSET_DROP = 24
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> CityFiles:
    """A migrated city whose directory is nowhere: these programs end before they ask it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "ca.pem").write_text("never read")
    files = CityFiles(folder, DirectoryAddress("ldaps://127.0.0.1:1", folder / "ca.pem"))
    files.upgrade()
    return files


@pytest.fixture
def config(pristine: CityFiles) -> Iterator[CityFiles]:
    """The city, its settings as they were after every test."""
    before = pristine.config.read_text()
    sections = {name: dict(values) for name, values in pristine._sections.items()}
    yield pristine
    pristine._sections = sections
    pristine.config.write_text(before)


def complains(done: subprocess.CompletedProcess[str], code: int, *says: str) -> str:
    """One message with these words (besides the log), that exit code, no traceback, no secret, no output."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (message,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert message.startswith("cardservice: ")
    for words in says:
        assert words in message
    assert PASSPHRASE not in message
    assert SERVICE_PASSWORD not in message
    return message


def serve(files: CityFiles, **options) -> subprocess.CompletedProcess[str]:
    return run_cli("serve", "--config", str(files.config), **options)


def as_anybody(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run `cardservice` as somebody whom the modes of files bind."""
    if os.geteuid() == 0:
        options["preexec_fn"] = _without_root_s_privileges
    return run_program(*arguments, **options)


def _without_root_s_privileges() -> None:
    """Run in the child: root, but bound by the modes of files like everybody else."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[servce]\nport = 1\n", ("servce", "no such setting", "allowed here", "service")),
        ("[service]\nprot = 1\n", ("service.prot", "no such setting", "port")),
        ("[service]\nport = 99999\n", ("service.port", "65535")),
        ("[service\n", ("not valid TOML",)),
    ],
)
def test_a_mistake_in_the_settings_names_its_place(tmp_path, text, says):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    complains(run_cli("serve", "--config", str(file)), 78, str(file), *says)


def test_a_settings_file_that_is_not_there_is_named(tmp_path):
    complains(run_cli("serve", "--config", str(tmp_path / "none.toml")), 78, "none.toml", "No such file")


def test_a_misspelt_variable_is_named(config):
    environment = {"CARDSERVICE_SERVCE__PORT": "1"}
    complains(serve(config, environment=environment), 78, "CARDSERVICE_SERVCE__PORT", "no such setting")


def test_a_port_in_use_is_named(config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.configure({"service": {"port": port}})
        complains(serve(config), 78, f"port {port}", "Address already in use")


def test_without_tls_it_listens_on_loopback_only(config):
    config.configure({"service": {"host": "0.0.0.0"}})
    complains(serve(config), 78, "service.host", "TLS")


def test_a_certificate_that_is_none_is_named(config):
    certificate = config.folder / "no-certificate.pem"
    certificate.touch(mode=0o600)
    config.configure({"service": {"tls_certificate": str(certificate), "tls_key": str(certificate)}})
    complains(serve(config), 78, "service.tls_")


def test_several_contradictions_are_all_told(config):
    config.configure({"directory": {"bind_dn": "", "people_base": ""}})
    done = serve(config)
    assert done.returncode == 78
    assert "directory.bind_dn" in done.stderr
    assert "directory.people_base" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_locked_database_is_told_after_a_while(config):
    """Another program holds the write lock and does not let go."""
    lock = sqlite3.connect(config.folder / "db" / "state.db", isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        complains(serve(config), 74, "state.db", "locked", "end it or wait")
    finally:
        lock.close()


def test_a_read_only_database_is_told(tmp_path):
    folder = tmp_path / "ro"
    (tmp_path / "ca.pem").write_text("never read")
    files = CityFiles(folder, DirectoryAddress("ldaps://127.0.0.1:1", tmp_path / "ca.pem"))
    files.upgrade()
    stores = folder / "db"
    for file in stores.iterdir():
        file.chmod(0o444)
    stores.chmod(0o555)
    try:
        complains(as_anybody("serve", "--config", str(files.config)), 74, "state.db", "read-only", "owner and mode")
    finally:
        stores.chmod(0o755)


def test_a_folder_nobody_may_write_to_is_told(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    url = f"sqlite:///{folder / 'inside'}"
    done = as_anybody("db", "upgrade", environment={"CARDSERVICE_DATABASE__URL": url})
    complains(done, 74, str(folder), "Permission denied")


@pytest.mark.parametrize("command", [("serve",), ("db", "check"), ("agents", "list"), ("journal", "verify")])
def test_a_missing_migration_says_what_to_run(config, tmp_path, command):
    config.configure({"database": {"url": f"sqlite:///{tmp_path / 'empty'}"}})
    done = run_cli(*command, "--config", str(config.config))
    complains(done, 74, "cardservice db upgrade")
    assert not (tmp_path / "empty").exists()


def test_a_database_of_a_newer_program_is_refused(config, tmp_path):
    config.configure({"database": {"url": f"sqlite:///{tmp_path / 'newer'}"}})
    assert run_cli("db", "upgrade", "--config", str(config.config)).returncode == 0
    with sqlite3.connect(tmp_path / "newer" / "record.db") as record:
        record.execute("UPDATE alembic_version SET version_num = 'r9999'")
    record.close()
    complains(serve(config), 74, "r9999", "newer program")


def test_a_database_that_cannot_be_reached_is_told(config):
    config.configure({"database": {"url": "postgresql://user@127.0.0.1:1/none"}})
    complains(serve(config), 74, "127.0.0.1:1", "refused")


def test_a_password_in_the_database_s_url_is_refused_and_not_repeated(config):
    config.configure({"database": {"url": "postgresql://user:pw-canary@127.0.0.1:1/none"}})
    assert "pw-canary" not in complains(serve(config), 78, "database.url", "passfile")


def test_a_second_service_on_the_same_files_is_refused(tmp_path):
    """The first one goes on."""
    with directory_in_thread() as directory:
        files = CityFiles(tmp_path, directory.address)
        files.upgrade()
        with ServiceProcess(files, tmp_path / "service.log") as first:
            complains(serve(files), 74, "another 'cardservice serve'")
            first.wait_health(lambda state: state.get("status") == "ready")
            assert first.stop() == 0
        with ServiceProcess(files, tmp_path / "service.log") as again:
            assert again.stop() == 0


def test_a_missing_key_store_is_named(config):
    config.configure({"keys": {"store": str(config.folder / "none.json")}})
    complains(serve(config), 78, "keys.store", "none.json")


def test_a_wrong_passphrase_is_told_and_not_repeated(config):
    wrong = config.folder / "wrong.secret"
    wrong.write_text("wrong-canary\n")
    wrong.chmod(0o600)
    config.configure({"keys": {"passphrase_file": str(wrong)}})
    message = complains(serve(config), 77, "keys.json", "wrong passphrase")
    assert "wrong-canary" not in message


def test_an_empty_passphrase_file_is_named(config):
    empty = config.folder / "empty.secret"
    empty.touch(mode=0o600)
    config.configure({"keys": {"passphrase_file": str(empty)}})
    complains(serve(config), 78, "keys.passphrase_file", "empty")


def test_a_key_store_others_may_read_is_refused(config):
    store = config.folder / "keys.json"
    store.chmod(0o644)
    try:
        complains(serve(config), 77, "0644", "chmod 600")
    finally:
        store.chmod(0o600)


def test_a_damaged_key_store_is_told(config):
    damaged = config.folder / "damaged.json"
    damaged.touch(mode=0o600)
    damaged.write_text((config.folder / "keys.json").read_text()[:-40])
    config.configure({"keys": {"store": str(damaged)}})
    complains(serve(config), 77, "damaged.json")


def test_demonstration_keys_are_refused_outside_the_demonstration(config):
    """Everybody can compute them."""
    config.configure({"": {"demonstration": False}})
    complains(serve(config), 77, "demonstration keys", "cardservice keys create")


def test_an_existing_key_store_is_never_overwritten(config):
    before = (config.folder / "keys.json").read_bytes()
    done = run_cli("keys", "create", "--system-id", "STADT", "--config", str(config.config))
    complains(done, 77, "exists already")
    assert (config.folder / "keys.json").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (("agents", "enrol", "Bad Name", "00"), 65, "a-z"),
        (("agents", "enrol", "good-name", "00"), 65, "Ed25519"),
        (("agents", "lock", "nobody"), 66, "nobody"),
        (("cards", "set-state", "nothing", "revoked", "lost"), 66, "nothing"),
        (("cards", "set-state", "nothing", "sold"), 78, "allowed are"),
        (
            ("cards", "set-state", "nothing", "suspended", "missing", "--until", "soon"),
            78,
            "'soon' is no instant",
        ),
        (("cards", "set-state", "nothing", "suspended", "missing", "--until", "2020-01-01"), 65, "lie in the future"),
        (
            ("cards", "set-state", "nothing", "revoked", "lost", "--until", "2099-01-01"),
            65,
            "only a suspension has an end",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(config, command, code, says):
    complains(run_cli(*command, "--config", str(config.config)), code, says)


def test_a_card_is_suspended_until_an_instant_of_german_time(stores):
    """Told, listed with the instant, and ended before it by hand."""
    with stores.stores() as databases:
        with write(databases.state) as connection:
            number = ensure_organisation(connection, "city", "City")
        (reference,) = register(databases.state, [NewCard(number, None, (b"key",))])
    where = ("--config", str(stores.config))
    until = ("--until", "2098-12-01T08:00")
    told = run_cli("cards", "set-state", reference, "suspended", "missing", *until, *where)
    assert told.stdout == f"card {reference} is suspended until 2098-12-01T07:00:00+00:00\n", told.stderr
    listed = run_cli("cards", "list", *where).stdout
    assert listed == f"{reference}  suspended  missing  until 2098-12-01T07:00:00+00:00\n"
    (view,) = json.loads(run_cli("cards", "list", "--json", *where).stdout)
    assert (view["state"], view["suspended_until_ms"]) == ("suspended", 4_068_255_600_000)
    assert run_cli("cards", "set-state", reference, "active", *where).stdout == f"card {reference} is active\n"
    assert run_cli("cards", "list", *where).stdout.split() == [reference, "active"]


def test_an_agent_s_life_on_the_command_line(config):
    """Enrolled once, listed, locked, unlocked; the same name again is refused."""
    where = ("--config", str(config.config))
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    assert run_cli("agents", "enrol", "pforte", key, *where).returncode == 0
    complains(run_cli("agents", "enrol", "pforte", key, *where), 65, "enrolled already")
    assert run_cli("agents", "lock", "pforte", *where).stdout == "agent pforte is locked\n"
    (view,) = json.loads(run_cli("agents", "list", "--json", *where).stdout)
    assert (view["code"], view["locked"]) == ("pforte", True)
    assert run_cli("agents", "lock", "pforte", "--unlock", *where).returncode == 0
    with config.stores() as databases:
        assert [view.locked for view in Agents(databases.state, SystemClock()).list()] == [False]


@pytest.fixture
def stores(config: CityFiles, tmp_path: Path) -> Iterator[CityFiles]:
    """The city with empty stores of its own, in `tmp_path / "db"`."""
    before, config.database_url = config.database_url, f"sqlite:///{tmp_path / 'db'}"
    config.configure({"database": {"url": config.database_url}})
    config.upgrade()
    yield config
    config.database_url = before


def test_a_journal_somebody_changed_is_told(stores, tmp_path):
    """Exit code 70, and the entry that does not fit."""
    config = stores
    journal = Journal(lambda _stream, _purpose: b"s" * 32)
    with config.stores() as databases:
        journal.begin_epoch(databases.record, 1)
        with databases.record.begin() as connection:
            for number in range(3):
                journal.append(connection, Entry("door", number, {"number": number}))
    where = ("--config", str(config.config))
    assert run_cli("journal", "verify", *where).stdout == "door, epoch 1: 3 entries\n"
    with sqlite3.connect(tmp_path / "db" / "record.db") as record:
        record.execute("UPDATE journal_entry SET at_ms = 9 WHERE sequence = 2")
    record.close()
    complains(run_cli("journal", "verify", *where), 70, "entry 2")


def test_a_ledger_somebody_changed_is_told(stores, tmp_path):
    """It adds up, and says of how much; after one entry is changed exit code 70, and the transfer that does not fit."""
    ledger = Ledger()
    canteen = Canteen(ledger)
    with stores.stores() as databases:
        recorder = Recorder(databases.record, (ledger,))
        recorder.start()
        for cents in (500, 700):
            top_up = TopUp("0" * 32, cents, Source.PAYROLL, 1_773_651_600_000)
            recorder.submit(partial(canteen.top_up, top_up=top_up)).result(LIMIT_S)
        recorder.stop()
    where = ("--config", str(stores.config))
    told = run_cli("ledger", "check", *where)
    assert told.returncode == 0, told.stderr
    assert told.stdout == "the ledger adds up: 2 accounts, 2 transfers, 4 entries, 0 answered requests\n"
    with sqlite3.connect(tmp_path / "db" / "record.db") as record:
        record.execute("UPDATE ledger_entry SET amount_cents = 701 WHERE amount_cents = 700")
    record.close()
    complains(run_cli("ledger", "check", *where), 70, "transfer 2")


BLOCKER = """
import importlib.abc, runpy, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Blocker())
sys.argv = [{module!r}, *sys.argv[1:]]
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""
SERVICE_ONLY = {"fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "ldap3", "psycopg", "holidays", "jinja2"}


def run_without(module: str, blocked: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program on a machine where these packages are not installed."""
    program = BLOCKER.format(module=module, blocked=sorted(blocked))
    return run_program(*arguments, command=[sys.executable, "-c", program])


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("agents", "--help"), ("serve", "--help")])
def test_help_needs_nothing_of_the_service(arguments):
    """A reader machine has the command, too."""
    done = run_without("cardservice", SERVICE_ONLY, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("settings", "example")])
def test_a_small_command_waits_for_nothing_large(arguments):
    """What draws tracebacks for developers takes longer to load than such a command to run."""
    done = run_without("cardservice", SERVICE_ONLY | {"structlog"}, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_whoever_only_opens_the_stores_needs_no_alembic(config):
    """The revision is compared without it; only bringing a store to another one loads it."""
    assert run_cli("db", "upgrade", "--config", str(config.config)).returncode == 0
    done = run_without("cardservice", {"alembic"}, "agents", "list", "--config", str(config.config))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_agent_s_help_needs_nothing_of_the_service():
    for module, arguments in (("readers", ("--help",)), ("cardservice", ("agent", "--help"))):
        done = run_without(module, SERVICE_ONLY | {"smartcard"}, *arguments)
        assert done.returncode == 0, done.stderr
        assert "usage:" in done.stdout


@pytest.mark.parametrize("command", [("serve",), ("db", "upgrade"), ("agents", "list"), ("directory", "check")])
def test_a_command_of_the_service_says_what_to_install(config, command):
    done = run_without("cardservice", SERVICE_ONLY, *command, "--config", str(config.config))
    complains(done, 78, "cardservice[service]")


def test_the_demonstration_says_what_to_install():
    complains(run_without("cardservice", SERVICE_ONLY, "demo", "--in-process"), 78, "cardservice[demo]")


def test_no_secret_is_printed_by_any_of_it(config):
    """The whole settings file is legal to show; what its files hold is not."""
    shown = run_cli("settings", "check", "--config", str(config.config))
    example = run_cli("settings", "example")
    assert shown.returncode == 0, shown.stderr
    text = shown.stdout + shown.stderr + example.stdout
    assert found_in(text, secrets(config.deck_file) | {PASSPHRASE, SERVICE_PASSWORD}) == set()
    assert "[directory]" in example.stdout
    assert Path(config.config).exists()
