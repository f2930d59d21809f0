# SPDX-License-Identifier: EUPL-1.2
"""The logon authority's key as the service has it: somebody else's, who is asked."""

import socket
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from cardservice.cards.pki.signer import wire
from cardservice.cards.pki.signer.policy import SigningRefused
from cardservice.cards.ports import TokenTrouble

ANSWER_S: Final = 10.0


class SignerToken:
    """The keys in the process that signs (`cards.pki.ports.CaToken`).

    Every method may raise SigningRefused, and TokenTrouble where the process does not answer.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def public_key(self, name: str) -> ec.EllipticCurvePublicKey:
        """Return the public half of an authority's key."""
        return _key(self._asked(wire.Question(do="public_key", authority=name)))

    def sign(self, name: str, data: bytes) -> bytes:
        """Return the ECDSA signature with SHA-256 of `data`, in DER."""
        return self._asked(wire.Question(do="sign", authority=name, data=data.hex()))

    def make(self, name: str) -> ec.EllipticCurvePublicKey:
        """Make an authority's key inside the token."""
        return _key(self._asked(wire.Question(do="make", authority=name)))

    def _asked(self, question: wire.Question) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ANSWER_S)
                connection.connect(str(self._path))
                wire.send(connection, question)
                answer = wire.receive_answer(connection)
        except (OSError, wire.FrameRefused) as error:
            raise TokenTrouble(f"the process that signs logons does not answer at {self._path}: {error}") from error
        if answer.refused is not None:
            raise SigningRefused(answer.refused)
        if answer.result is None:
            raise TokenTrouble(answer.trouble or "the process that signs logons answers nothing")
        return bytes.fromhex(answer.result)


def _key(encoded: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(encoded)
    except ValueError:
        raise TokenTrouble("the process that signs logons answers no key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TokenTrouble("the process that signs logons answers another kind of key")
    return key
