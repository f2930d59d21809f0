# SPDX-License-Identifier: EUPL-1.2
"""TLS to the centre: only the CA of the settings counts, and only for the name in the settings."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from agent.scripted_centre import ScriptedCentre, running
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509.oid import NameOID

from cardservice.agents.messages import Hello, Welcome
from readers.centre_socket import websocket_connector
from readers.channel import Channel, ChannelTimes, ChannelTools
from readers.clock import SystemClock
from readers.errors import ChannelFault, SettingsFault
from readers.metrics import Metrics
from readers.settings import AgentSettings

TIMES = ChannelTimes(retry_min_s=0.01, retry_max_s=0.01)


def write_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A self-signed certificate for `address`, and its key."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "centre")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{address}.pem", folder / f"{address}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return certificate_file, key_file


class Listener:
    def __init__(self) -> None:
        self.welcomed = asyncio.Event()

    def connected(self, _welcome: Welcome) -> None:
        self.welcomed.set()

    def points_changed(self, welcome: Welcome) -> None:
        raise AssertionError(welcome)

    def disconnected(self) -> None:
        """Nothing to do."""

    def received(self, message: object, at_us: int) -> None:
        raise AssertionError(message)


def hello(_nonce: str) -> Hello:
    return Hello(agent="agent-1", epoch=1, signature="00" * 64, software="test")


def channel(port: int, listener: Listener, ca_file: Path | None) -> Channel:
    settings = AgentSettings(agent="agent-1", centre_url=f"wss://127.0.0.1:{port}/agents", ca_file=ca_file)
    return Channel(websocket_connector(settings), hello, listener, ChannelTools(SystemClock(), Metrics(), TIMES))


@pytest.mark.parametrize(
    ("certified", "trusted", "accepted"), [(0, 0, True), (0, 1, False), (1, 1, False), (0, None, False)]
)
async def test_only_the_right_certificate_gets_a_hello(tmp_path, certified, trusted, accepted):
    """Right CA and name: accepted. Another CA, another name, or only the system's CAs: not one byte of a hello."""
    files = [write_certificate(tmp_path, "127.0.0.1"), write_certificate(tmp_path, "127.0.0.2")]
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(*files[certified])
    listener = Listener()
    async with running(ScriptedCentre(), ssl=server_tls) as centre:
        ca_file = None if trusted is None else files[trusted][0]
        session = asyncio.create_task(channel(centre.port, listener, ca_file)._session())
        if accepted:
            await listener.welcomed.wait()
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
        else:
            with pytest.raises(ChannelFault, match="certificate"):
                await session
        assert bool(centre.hellos) is accepted


async def test_a_ca_file_that_cannot_be_read_is_a_setting_to_correct(tmp_path):
    with pytest.raises(SettingsFault, match="ca_file"):
        channel(1, Listener(), tmp_path / "none")
