# SPDX-License-Identifier: EUPL-1.2
"""A city with keys of its own, from the ceremony to the backup: no key, share, PIN or passphrase is ever to be seen."""

import asyncio
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.canaries import found_in, keys_of, spellings
from support.ceremony_desk import PEOPLE, CeremonyDesk
from support.command import run_cli
from support.pin_desk import cards_pin
from support.postgres import PostgresServer
from support.scripted_agent import ScriptedAgent
from support.service import AGENT, PASSPHRASE, CityFiles, ServiceProcess, directory_in_thread
from support.softhsm import fresh_token

from cardservice.cards.keys import shares
from cardservice.cards.ports import KeyName
from cardservice.chip.layout import CardUse
from cardservice.parts import key_file
from cardsim.card import VirtualCard
from cardsim.personalise import CardKeys, desfire_with, use_application
from city import seed

# Three ceremonies, a service and a backup, beside everything else that runs.
pytestmark = pytest.mark.timeout(300)

DOOR = "bauamt.aussen"
PIN = "740519"
WRONG_PIN, WRONG_PASSPHRASE = "pin-canary-wrong-93", "passphrase-canary-wrong-5d"


@dataclass
class Place:
    """A city, its ceremony's desk, and what must not be seen of it besides the keys."""

    files: CityFiles
    desk: CeremonyDesk
    secrets: set[str]
    environment: dict[str, str]
    postgres: PostgresServer | None


@pytest.fixture(
    params=[
        "sealed",
        pytest.param("pkcs11", marks=[pytest.mark.softhsm, pytest.mark.postgres]),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The keys in a file and the stores on SQLite, or the keys in a token and the stores on PostgreSQL."""
    keys: dict[str, object] = {"store": str(tmp_path / "own-keys.json"), "close_needs_approval": False}
    secrets, environment, server, url = {PASSPHRASE}, dict[str, str](), None, None
    if request.param == "pkcs11":
        token = fresh_token()
        pin_file = tmp_path / "token.pin"
        pin_file.write_text(token.pin + "\n")
        pin_file.chmod(0o600)
        keys |= {"masters": "pkcs11", "pkcs11_module": str(token.module), "pkcs11_token": token.label}
        keys |= {"pin_file": str(pin_file)}
        secrets.add(token.pin)
        environment = dict(token.environment)
        server = request.getfixturevalue("postgres_server")
        url = server.url(server.new_database())
    with directory_in_thread() as directory:
        changes = {"": {"demonstration": False}, "keys": keys, "logging": {"level": "debug"}}
        files = CityFiles(tmp_path / "city", directory.address, url, changes)
        files.upgrade()
        yield Place(files, CeremonyDesk(files.config, **environment), secrets, environment, server)


def own_card(files: CityFiles, generation: int = 1) -> VirtualCard:
    """Anna's card, with keys that the city's own key store makes of her number."""
    store, number = key_file(files.settings()).load(), seed.number("anna", "door")

    def key(purpose: str) -> bytes:
        return store.application_key(KeyName("door", purpose, generation), number).wrap_for_change(lambda key: key)

    keys = CardKeys(
        aid_as_sent=CardUse.DOOR.aid,
        number=number,
        generation=generation,
        application_key=key("application_master"),
        proof_key=key("proof"),
        locate_key=key("locate"),
    )
    return VirtualCard("anna", "anna", desfire=desfire_with([use_application(keys)]))


def dumped(place: Place) -> str:
    """Everything both stores hold, as text."""
    if place.postgres is not None:
        command = ["pg_dump", "--inserts", place.files.database_url.replace("+psycopg", "")]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout.decode()
    text = ""
    for file in (place.files.folder / "db").glob("*.sqlite*"):
        if not file.name.endswith(("-wal", "-shm", ".lock")):
            with sqlite3.connect(file) as connection:
                text += "\n".join(connection.iterdump())
            connection.close()
    return text


def tapped(service: ServiceProcess, key: Ed25519PrivateKey, card: VirtualCard) -> tuple[bool, str]:
    """Hold a card to the door once."""

    async def tap() -> tuple[bool, str]:
        async with ScriptedAgent(service.agents_url, AGENT, key) as agent:
            decision = await agent.tap(card, DOOR)
            return decision.permit, decision.reason

    return asyncio.run(tap())


def test_from_the_ceremony_to_the_backup(place: Place, tmp_path: Path) -> None:
    """Only the right screen shows a share, and nothing else ever shows anything.

    Two people make keys, a card opens a door with them, they are changed and the older ones are closed.
    """
    files, desk = place.files, place.desk
    assert desk.run("init", "--system-id", "STADT", "--record", str(tmp_path)) == 0, desk.shown
    assert len(desk.papers) == 3
    before, said = desk.shown, ""
    with ServiceProcess(files, tmp_path / "log", **place.environment) as service:
        service.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        service.wait_health(lambda state: state["points"] == points)
        agent = files.enrol(AGENT)
        assert tapped(service, agent, own_card(files)) == (True, "granted")
        assert desk.run("rotate", "door", "--record", str(tmp_path)) == 0, desk.shown
        service.wait_health(lambda _: 'state="previous"' in service.get("/metrics")[1])
        assert tapped(service, agent, own_card(files, 2)) == (True, "granted")
        moved = 'cardservice_key_cards{generation="2",use="door"} 1.0'
        service.wait_health(lambda _: moved in service.get("/metrics")[1])
        assert desk.run("close", "door", "1", types=lambda _: desk.papers[1]) == 77
        assert "was typed already" in desk.shown
        left = cli(place, "keys", "cards", "door", "1").split()
        assert desk.run("close", "door", "1", "--although-left", str(len(left))) == 0, desk.shown
        service.wait_health(lambda _: 'state="previous"' not in service.get("/metrics")[1])
        said += cards_pin(files, "set", "anna", typed=PIN).stderr
        for path in ("/metrics", "/health/ready", "/openapi.json", "/api/v1/keys", "/api/v1/cards"):
            said += service.get(path)[1]
        said += httpx2.post(f"{service.url}/api/v1/keys/door/1/close", json={"key": "x"}).text
        said += cli(place, "keys", "status") + mistakes(place, tmp_path)
        assert service.stop() == 0
    require_nothing_shown(place, tmp_path, said, before)


def require_nothing_shown(place: Place, folder: Path, said: str, handed_out: str) -> None:
    """Look for every key, share, PIN and passphrase in whatever was said, logged, written and stored."""
    files, desk = place.files, place.desk
    cli(place, "db", "backup", str(folder / "backup"))
    kept = b"".join(file.read_bytes() for file in (folder / "backup").rglob("*") if file.is_file())
    records = "".join(file.read_text("utf-8") for file in folder.glob("key-ceremony-*.txt"))
    assert records.count("Anna Berg") == 2
    secret = place.secrets | keys_of(files) | {PIN, WRONG_PIN, WRONG_PASSPHRASE}
    papers = {paper.replace("-", "") for paper in desk.papers.values()} | set(desk.papers.values())
    papers |= spellings({shares.read(paper).value for paper in desk.papers.values()})
    log, typed = (folder / "log").read_text(), desk.shown[len(handed_out) :]
    assert "agent.disconnected" in log
    for text in (log, said, records, dumped(place), kept.decode("latin-1"), typed, files.config.read_text()):
        assert found_in(text, secret | papers) == set()
    assert found_in(handed_out, secret) == set()
    assert found_in(handed_out, papers) != set()
    for name in PEOPLE:
        # Who was there is sealed in the journal.
        assert name not in log + dumped(place)


def cli(place: Place, *arguments: str) -> str:
    """Run a command that works; return everything it said."""
    done = run_cli(*arguments, "--config", str(place.files.config), environment=place.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def mistakes(place: Place, folder: Path) -> str:
    """What is said when the wrong passphrase or the wrong PIN of the token is set."""
    files, said = place.files, ""
    for name, setting, wrong in (("w1", "passphrase_file", WRONG_PASSPHRASE), ("w2", "pin_file", WRONG_PIN)):
        (folder / name).write_text(wrong + "\n")
        (folder / name).chmod(0o600)
        right = getattr(files.settings().keys, setting)
        files.configure({"keys": {setting: str(folder / name)}})
        done = run_cli("keys", "status", "--config", str(files.config), environment=place.environment)
        files.configure({"keys": {setting: str(right)}})
        said += done.stdout + done.stderr
    return said
