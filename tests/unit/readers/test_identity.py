# SPDX-License-Identifier: EUPL-1.2
"""The agent's key: made once, private, and the only thing that can say hello."""

import os
import stat

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cardservice.agents.messages import hello_signing_input
from readers.errors import IdentityFault
from readers.identity import Identity


def test_the_key_survives_on_disk_and_only_its_owner_can_read_it(tmp_path):
    old = os.umask(0)
    try:
        made = Identity.create(tmp_path / "key")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert Identity.load(tmp_path / "key").public_key_hex() == made.public_key_hex()


def test_a_hello_verifies_for_exactly_its_nonce_agent_and_epoch(tmp_path):
    identity = Identity.create(tmp_path / "key")
    signature = bytes.fromhex(identity.sign_hello("ab", "agent-1", 7))
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(identity.public_key_hex()))
    key.verify(signature, hello_signing_input("ab", "agent-1", 7))
    for other in (("ac", "agent-1", 7), ("ab", "agent-2", 7), ("ab", "agent-1", 8)):
        with pytest.raises(InvalidSignature):
            key.verify(signature, hello_signing_input(*other))


def test_a_key_is_never_overwritten(tmp_path):
    before = Identity.create(tmp_path / "key").public_key_hex()
    with pytest.raises(IdentityFault, match="already exists"):
        Identity.create(tmp_path / "key")
    assert Identity.load(tmp_path / "key").public_key_hex() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_others_can_read_is_refused(tmp_path, mode):
    Identity.create(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(IdentityFault, match="others can read it"):
        Identity.load(tmp_path / "key")


def test_a_missing_key_says_how_to_make_one(tmp_path):
    with pytest.raises(IdentityFault, match="init"):
        Identity.load(tmp_path / "key")


@pytest.mark.parametrize("kind", ["rubbish", "other curve", "too short", "link", "folder", "pipe"])
def test_what_is_no_such_key_is_refused(tmp_path, kind):
    """One clear sentence, without anything of the file's content in it or in its cause."""
    path = tmp_path / "key"
    if kind == "rubbish":
        path.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    elif kind == "other curve":
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(generate_private_key(SECP256R1()).private_bytes(encoding, form, serialization.NoEncryption()))
    elif kind == "too short":
        # An Ed25519 key that says it is one of X448, which are longer.
        Identity.create(path)
        path.write_bytes(path.read_bytes().replace(b"MC4CAQAwBQYDK2Vw", b"MC4CAQAwBQYDK2Vv"))
    elif kind == "link":
        path.symlink_to(tmp_path / "target")
        Identity.create(tmp_path / "target")
    elif kind == "folder":
        path.mkdir(mode=0o700)
    else:
        os.mkfifo(path, 0o600)
    if kind in {"rubbish", "other curve"}:
        path.chmod(0o600)
    with pytest.raises(IdentityFault, match="key file") as caught:
        Identity.load(path)
    assert "c2VjcmV0" not in f"{caught.value} {caught.value.__cause__}"


def test_the_key_is_not_in_its_repr(tmp_path):
    identity = Identity.create(tmp_path / "key")
    private = identity._key.private_bytes_raw().hex()
    assert private not in repr(identity)
    assert identity.public_key_hex() in repr(identity)
