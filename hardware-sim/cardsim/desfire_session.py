# SPDX-License-Identifier: EUPL-1.2
"""An authenticated EV2 session: opens commands and closes responses."""

import hmac
from dataclasses import dataclass, field

from cardsim import desfire_crypto as crypto
from cardsim.desfire_data import CommunicationMode
from cardsim.desfire_status import DesfireError, DesfireStatus

LAST_COUNTER = 0xFFFF


@dataclass
class Ev2Session:
    """State after AuthenticateEV2First; ``ti`` has 4 bytes."""

    key_number: int
    enc_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    ti: bytes
    command_counter: int = 0

    def open_command(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode) -> bytes:
        """Check and decipher what follows the header of a command; returns the plain command data.

        Raises:
            DesfireError: length error where the MAC or a whole block is missing, integrity error where the MAC or
                the padding is wrong, authentication error where the command counter is used up.
        """
        if self.command_counter >= LAST_COUNTER:
            raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)
        if mode is CommunicationMode.PLAIN:
            return rest
        if len(rest) < crypto.MAC_LENGTH:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        data, received = rest[: -crypto.MAC_LENGTH], rest[-crypto.MAC_LENGTH :]
        if mode is CommunicationMode.FULL and len(data) % crypto.BLOCK:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        if not hmac.compare_digest(self._mac(ins, header + data), received):
            raise DesfireError(DesfireStatus.INTEGRITY_ERROR)
        if mode is CommunicationMode.MAC or not data:
            return data
        iv = crypto.message_iv(self.enc_key, crypto.COMMAND_LABEL, self.ti, self.command_counter)
        try:
            return crypto.unpad(crypto.decrypt_cbc(self.enc_key, data, iv))
        except ValueError as error:
            raise DesfireError(DesfireStatus.INTEGRITY_ERROR) from error

    def close_response(self, data: bytes, mode: CommunicationMode) -> bytes:
        """Count the command and protect the data of a successful answer."""
        self.command_counter += 1
        if mode is CommunicationMode.PLAIN:
            return data
        if mode is CommunicationMode.FULL and data:
            iv = crypto.message_iv(self.enc_key, crypto.RESPONSE_LABEL, self.ti, self.command_counter)
            data = crypto.encrypt_cbc(self.enc_key, crypto.pad(data), iv)
        return data + self._mac(DesfireStatus.OK, data)

    def _mac(self, code: int, data: bytes) -> bytes:
        counter = self.command_counter.to_bytes(2, "little")
        return crypto.truncated_mac(self.mac_key, bytes([code]) + counter + self.ti + data)
