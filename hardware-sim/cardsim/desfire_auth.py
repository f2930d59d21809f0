# SPDX-License-Identifier: EUPL-1.2
"""The two halves of AuthenticateEV2First and AuthenticateEV2NonFirst (NXP AN12343 section 4)."""

import hmac
from dataclasses import dataclass, field

from cardsim import desfire_crypto as crypto
from cardsim.desfire_session import Ev2Session
from cardsim.desfire_status import DesfireError, DesfireStatus
from cardsim.interfaces import RandomBytes

CAPABILITIES_LENGTH = 6
SECOND_FRAME_LENGTH = 32
PICC_CAPABILITIES = bytes(CAPABILITIES_LENGTH)


@dataclass
class PendingAuthentication:
    """The card has sent E(RndB) and waits for E(RndA ‖ RndB').

    ``continued`` is the session a NonFirst authentication continues, None for a First one.
    """

    key_number: int
    key: bytes = field(repr=False)
    rnd_b: bytes = field(repr=False)
    reader_capabilities: bytes = bytes(CAPABILITIES_LENGTH)
    continued: Ev2Session | None = None

    def challenge(self) -> bytes:
        """E(key, RndB), 16 bytes."""
        return crypto.encrypt_cbc(self.key, self.rnd_b)

    def finish(self, frame: bytes, random_bytes: RandomBytes) -> tuple[Ev2Session, bytes]:
        """Check the reader's answer; returns the session and the last answer of the card.

        Raises:
            DesfireError: length error or authentication error.
        """
        if len(frame) != SECOND_FRAME_LENGTH:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        plain = crypto.decrypt_cbc(self.key, frame)
        rnd_a, returned = plain[:16], plain[16:]
        if not hmac.compare_digest(returned, crypto.rotate_left(self.rnd_b)):
            raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)
        enc_key, mac_key = crypto.session_keys(key=self.key, rnd_a=rnd_a, rnd_b=self.rnd_b)
        proof = crypto.rotate_left(rnd_a)
        if self.continued is not None:
            session = Ev2Session(self.key_number, enc_key, mac_key, self.continued.ti, self.continued.command_counter)
        else:
            session = Ev2Session(self.key_number, enc_key, mac_key, random_bytes(4))
            proof = session.ti + proof + PICC_CAPABILITIES + self.reader_capabilities
        return session, crypto.encrypt_cbc(self.key, proof)
