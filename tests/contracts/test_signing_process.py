# SPDX-License-Identifier: EUPL-1.2
"""The logon authority's key in a process of its own, with a real token (SoftHSM): the service asks it to sign."""

import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from support.command import python_environment
from support.pki import PASSPHRASE, RULES, signed
from support.softhsm import SoftToken, fresh_token
from support.waiting import LIMIT_S, wait_until

from cardservice.cards.keys import sealing
from cardservice.cards.pki.authorities import AuthorityFile
from cardservice.cards.pki.rules import AuthorityKind, Slot
from cardservice.cards.pki.signer import wire
from cardservice.cards.pki.signer.client import SignerToken
from cardservice.cards.pki.signer.policy import SigningRefused
from cardservice.cards.pki.signing import delegate, sign_list
from cardservice.cards.ports import TokenTrouble
from cardservice.demo.processes import to_toml

pytestmark = pytest.mark.softhsm


def started(folder: Path, token: SoftToken, **more: object) -> subprocess.Popen[str]:
    """The process, as its unit starts it; what it says is in `log`."""
    pin = folder / "pin"
    pin.write_text(token.pin)
    pin.chmod(0o600)
    section = {
        "signer_socket": str(folder / "socket"),
        "pkcs11_module": str(token.module),
        "pkcs11_token": token.label,
        "pin_file": str(pin),
    }
    config = folder / "signer.toml"
    config.write_text(to_toml({"pki": section | more}))
    command = [sys.executable, "-m", "cardservice", "cards", "pki", "signer", "--config", str(config)]
    environment = python_environment() | dict(token.environment)
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment)


@contextmanager
def running(folder: Path, token: SoftToken, **more: object) -> Iterator[None]:
    process = started(folder, token, **more)
    try:
        wait_until(lambda: "signs logons at" in (folder / "log").read_text())
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: the name of a UNIX socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="signer-") as name:
        yield Path(name)


@pytest.fixture
def token() -> SoftToken:
    return fresh_token()


def file_in(folder: Path) -> AuthorityFile:
    return AuthorityFile(folder / "pki.json", lambda: PASSPHRASE, SignerToken(folder / "socket"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "SCRYPT", {"n": 2, "r": 8, "p": 1})


def test_everything_that_an_authority_signs_is_signed_there(folder: Path, token: SoftToken) -> None:
    """Made, loaded, a logon, a responder, a list; what is not on its list is refused, and the refusal is told."""
    now_ms = int(time.time() * 1000)
    with running(folder, token, never_for=["boss@stadt.example"], logons_per_hour=1):
        file = file_in(folder)
        file.init(AuthorityKind.LOGON, RULES.organisation, now_ms)
        file.init(AuthorityKind.CARD, RULES.organisation, now_ms)
        found = file.load()
        authority = found.of_kind(AuthorityKind.LOGON)
        assert authority is not None
        assert authority.in_token
        signed(found, Slot.LOGON, now_ms).verify_directly_issued_by(authority.certificate)
        delegate(authority, now_ms).certificate.verify_directly_issued_by(authority.certificate)
        assert sign_list(authority, 1, [], RULES, now_ms)
        with pytest.raises(SigningRefused, match="within an hour"):
            signed(found, Slot.LOGON, now_ms)
        with pytest.raises(SigningRefused, match="neither a certificate"):
            authority.key.sign(b"anything else", ec.ECDSA(hashes.SHA256()))
        with pytest.raises(SigningRefused, match="already"):
            SignerToken(folder / "socket").make("logon-1")
        mode = (folder / "socket").stat().st_mode
        assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o660)
    log = (folder / "log").read_text()
    assert "signer.signed" in log
    assert token.pin not in log
    assert not (folder / "socket").exists()


def test_while_it_is_away_nothing_is_signed_and_the_service_starts_all_the_same(folder: Path, token: SoftToken) -> None:
    now_ms = int(time.time() * 1000)
    with running(folder, token):
        file_in(folder).init(AuthorityKind.LOGON, RULES.organisation, now_ms)
    found = file_in(folder).load()
    with pytest.raises(TokenTrouble, match="does not answer"):
        signed(found, Slot.LOGON, now_ms)
    with running(folder, token):
        assert signed(found, Slot.LOGON, now_ms)


def test_whoever_speaks_nonsense_ends_nothing(folder: Path, token: SoftToken) -> None:
    """Half a frame, a frame that is too long, no JSON, unknown members, other authorities: the next one is answered."""
    at = folder / "socket"
    with running(folder, token):
        SignerToken(at).make("logon-1")
        frames = [
            b"\x00",
            (wire.MAX_FRAME_BYTES + 1).to_bytes(4),
            b"\x00\x00\x00\x02{}",
            b"\x00\x00\x00\x04\xff\xfe\x00\x01",
            *(
                len(text).to_bytes(4) + text
                for text in (
                    b'{"do":"sign","authority":"logon-1"}',
                    b'{"do":"public_key","authority":"card-1"}',
                    b'{"do":"public_key","authority":"logon-1","more":1}',
                )
            ),
        ]
        for frame in frames:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(LIMIT_S)
                connection.connect(str(at))
                connection.sendall(frame)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(10) == b""
        assert isinstance(SignerToken(at).public_key("logon-1"), ec.EllipticCurvePublicKey)
        with pytest.raises(TokenTrouble, match="no key of authority"):
            SignerToken(at).public_key("logon-2")


def test_a_socket_of_before_is_replaced_and_a_file_is_not(folder: Path, token: SoftToken) -> None:
    """After kill -9 the name is still there; what is no socket is somebody's."""
    at = folder / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(at))
    with running(folder, token):
        SignerToken(at).make("logon-1")
    at.write_text("mine")
    assert started(folder, token).wait(LIMIT_S) == 78
    assert at.read_text() == "mine"
    assert "is no socket" in (folder / "log").read_text()
