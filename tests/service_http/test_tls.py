# SPDX-License-Identifier: EUPL-1.2
"""TLS of the service's own: modern versions, ciphers and curves alone; renewed without a restart; proxies by name."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import ValidationError
from support.metrics import values
from support.waiting import LIMIT_S, wait_until
from support.web_server import serving

from cardservice.errors import SettingsError
from cardservice.server import certificate_of
from cardservice.settings import ServiceSection
from cardservice.tls import Certificate
from rig.program import free_port
from rig.tls_files import CertificateWish, make_tls_files

LOOK_EVERY_S = 0.02
DAY_S = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tls_files(tmp_path / "tls")
    return tmp_path / "tls"


@pytest.fixture
def certificate(folder: Path) -> Certificate:
    made = certificate_of(ServiceSection(tls_certificate=folder / "cert.pem", tls_key=folder / "key.pem"))
    assert made is not None
    return made


@pytest.fixture
def port(certificate: Certificate) -> Iterator[int]:
    """The service's server with this certificate, which it follows."""
    app = FastAPI()

    @app.get("/")
    def nothing() -> list[str]:
        return []

    with serving(app, ServiceSection(), certificate, (partial(certificate.follow, LOOK_EVERY_S),)) as found:
        yield found


def handshake(port: int, *options: str) -> str:
    """What OpenSSL's own client says of a handshake that succeeded; empty where it was refused."""
    command = ("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-brief", *options)
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=LIMIT_S, check=False)
    said = done.stdout + done.stderr
    assert ":error:" in said or "CONNECTION ESTABLISHED" in said, said
    return said if "CONNECTION ESTABLISHED" in said else ""


def shown(port: int, name: str | None = None) -> int:
    """The serial number of the certificate that is shown to whoever asks for `name`, or for nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def stored(folder: Path) -> int:
    """The serial number of the certificate on disk."""
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes()).serial_number


@pytest.mark.openssl
@pytest.mark.parametrize(
    "offered",
    [
        ("-tls1_3",),
        ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"),
        ("-tls1_3", "-groups", "X25519"),
        ("-tls1_2",),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "-groups", "P-256"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "-groups", "P-384:P-256"),
    ],
    ids=" ".join,
)
def test_what_is_modern_is_accepted(port: int, offered: tuple[str, ...]) -> None:
    """With forward secrecy and authenticated encryption: the key of a recorded conversation cannot be had later."""
    assert handshake(port, *offered)


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with an RSA key, which nearly every cipher and curve goes with."""
    folder = tmp_path_factory.mktemp("rsa")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1")
    files = ("-keyout", folder / "key.pem", "-out", folder / "cert.pem")
    subprocess.run((*make, *files), capture_output=True, check=True, timeout=LIMIT_S)
    return folder


@pytest.fixture(scope="module")
def rsa_port(rsa: Path) -> Iterator[int]:
    """The service's server with it."""
    with serving(FastAPI(), ServiceSection(), Certificate(rsa / "cert.pem", rsa / "key.pem")) as found:
        yield found


@pytest.fixture(scope="module")
def careless_port(rsa: Path) -> Iterator[int]:
    """A server with it that takes whatever it is offered."""
    port = free_port()
    taken = ("-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0", "-groups", "P-192:secp160k1:P-256", "-quiet")
    files = ("-key", rsa / "key.pem", "-cert", rsa / "cert.pem")
    command = ("openssl", "s_server", "-accept", f"127.0.0.1:{port}", *files, *taken)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as one:
        wait_until(lambda: _listens(port))
        yield port
        one.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S).close()
    except OSError:
        return False
    return True


# Level 0 lets the client offer what it would not by itself; the server has to be the one who refuses.
WEAK = [
    ("-tls1", "-cipher", "ALL:@SECLEVEL=0"),
    ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
    ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"),
    ("-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384:@SECLEVEL=0"),
    ("-tls1_2", "-cipher", "AES256-GCM-SHA384:@SECLEVEL=0"),
    ("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"),
    ("-tls1_2", "-cipher", "ECDHE-RSA-NULL-SHA:@SECLEVEL=0"),
    ("-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-groups", "P-192"),
    ("-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-groups", "secp160k1"),
    ("-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "RSA+SHA1"),
]


@pytest.mark.openssl
@pytest.mark.parametrize("offered", WEAK, ids=" ".join)
def test_what_is_weak_is_refused(rsa_port: int, careless_port: int, offered: tuple[str, ...]) -> None:
    """By the service: a careless server takes the same offer of the same client."""
    assert handshake(careless_port, *offered)
    assert handshake(rsa_port, *offered) == ""


def test_plain_http_is_not_answered(port: int) -> None:
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://127.0.0.1:{port}/", timeout=LIMIT_S)


def test_a_renewed_certificate_is_shown_without_a_restart(port: int, folder: Path) -> None:
    """To those who name the server and those who do not; whoever is connected already stays so."""
    before, old_authority = stored(folder), ssl.create_default_context(cafile=folder / "ca.pem")
    with httpx2.Client(verify=old_authority, base_url=f"https://127.0.0.1:{port}") as connected:
        assert connected.get("/").status_code == 200
        assert shown(port) == shown(port, "karte.example.org") == before
        make_tls_files(folder)
        wait_until(lambda: shown(port) == stored(folder) != before)
        assert shown(port, "karte.example.org") == stored(folder)
        assert connected.get("/").status_code == 200, "the connection from before"
    renewed = ssl.create_default_context(cafile=folder / "ca.pem")
    assert httpx2.get(f"https://127.0.0.1:{port}/", verify=renewed).status_code == 200


def test_half_a_renewal_leaves_the_old_pair_in_use(
    port: int, certificate: Certificate, folder: Path, tmp_path: Path
) -> None:
    """A certificate whose key is still the old one, or rubbish: said, counted, and over once both are there."""
    registry = CollectorRegistry()
    registry.register(certificate)

    def not_renewed() -> float:
        return values(generate_latest(registry).decode(), "cardservice_certificate_not_renewed")[()]

    before = stored(folder)
    make_tls_files(tmp_path / "new")
    for half in ((tmp_path / "new" / "cert.pem").read_bytes(), b"rubbish", b""):
        (folder / "cert.pem").write_bytes(half)
        wait_until(lambda: certificate.trouble)
        assert not_renewed() == 1
        assert shown(port) == before
    assert "the one before is still shown" in certificate.sentences(0)[0]
    (folder / "cert.pem").unlink()
    wait_until(lambda: "No such file" in str(certificate.trouble))
    assert shown(port) == before
    for name in ("cert.pem", "key.pem"):
        (folder / name).write_bytes((tmp_path / "new" / name).read_bytes())
    wait_until(lambda: shown(port) == stored(folder) != before)
    assert certificate.trouble is None
    assert not_renewed() == 0


def test_handshakes_while_it_is_renewed_all_succeed(port: int, folder: Path) -> None:
    """Each is shown one certificate with its own key, whichever it is."""
    failed: list[Exception] = []
    ended = threading.Event()

    def knock() -> None:
        while not ended.is_set():
            try:
                shown(port)
            except OSError as error:
                failed.append(error)
                return

    knocking = [threading.Thread(target=knock) for _ in range(2)]
    for thread in knocking:
        thread.start()
    for _ in range(5):
        make_tls_files(folder)
        wait_until(lambda: shown(port) == stored(folder))
    ended.set()
    for thread in knocking:
        thread.join(LIMIT_S)
    assert failed == []


def test_the_end_of_a_certificate_is_said_a_week_before(tmp_path: Path) -> None:
    """And it is a metric, so that somebody hears of it earlier."""
    make_tls_files(tmp_path, CertificateWish(valid_days=30))
    certificate = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    registry = CollectorRegistry()
    registry.register(certificate)
    end_s = values(generate_latest(registry).decode(), "cardservice_certificate_not_after_seconds")[()]
    assert certificate.sentences(end_s - 8 * DAY_S) == []
    assert "expires on" in certificate.sentences(end_s - 6 * DAY_S)[0]
    assert "expired on" in certificate.sentences(end_s + 1)[0]


def sealed(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    seal = serialization.BestAvailableEncryption(b"secret")
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(*kinds, seal))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "key.pem").write_text("rubbish"), "must hold a PEM chain"),
        (lambda folder: make_tls_files(folder / "other"), None),
        (lambda folder: (folder / "key.pem").unlink(), "No such file"),
        (sealed, "sealed with a passphrase"),
    ],
    ids=["rubbish", "fine", "absent", "sealed"],
)
def test_what_cannot_be_used_is_said_at_the_start(folder: Path, spoil, said: str | None) -> None:
    """In one sentence, and nobody is asked for a passphrase at the terminal."""
    spoil(folder)
    section = ServiceSection(tls_certificate=folder / "cert.pem", tls_key=folder / "key.pem")
    if said is None:
        assert certificate_of(section) is not None
        return
    with pytest.raises(SettingsError, match=f"service.tls_certificate, service.tls_key: .*{said}"):
        certificate_of(section)


FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        ((), FORGED, ("127.0.0.1", "http")),
        (("192.0.2.7",), FORGED, ("127.0.0.1", "http")),
        (("127.0.0.1",), FORGED, ("203.0.113.9", "https")),
        (("127.0.0.0/30", "192.0.2.7"), FORGED, ("203.0.113.9", "https")),
        (("127.0.0.1",), {**FORGED, "X-Forwarded-For": "198.51.100.1, 203.0.113.9"}, ("203.0.113.9", "https")),
        (("127.0.0.1",), {}, ("127.0.0.1", "http")),
    ],
    ids=["nobody", "another", "the proxy", "its network", "what the browser forged", "nothing forwarded"],
)
def test_who_asked_is_believed_of_named_proxies_alone(proxies, forwarded, seen) -> None:
    """Whoever could choose their own address would have as many tries at a password as they like."""
    app = FastAPI()

    @app.get("/")
    def tell(request: Request) -> list[str]:
        assert request.client is not None
        return [request.client.host, request.url.scheme]

    with serving(app, ServiceSection(trusted_proxies=proxies)) as port:
        assert tuple(httpx2.get(f"http://127.0.0.1:{port}/", headers=forwarded).json()) == seen


@pytest.mark.parametrize("proxy", ["0.0.0.0/0", "::/0", "*", "proxy.example.org", "192.0.2.7/24", ""])
def test_everybody_is_no_proxy(proxy: str) -> None:
    """Nor is a name, or a network that is written wrongly: the library would pass over it in silence."""
    with pytest.raises(ValidationError):
        ServiceSection(trusted_proxies=(proxy,))
