# SPDX-License-Identifier: EUPL-1.2
"""Small card doubles for the tests of the card language, written without it: only `cryptography` and the documents."""

import os
from collections.abc import Callable, Generator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC


def aes(key: bytes, data: bytes, *, iv: bytes = bytes(16), decrypt: bool = False) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    context = cipher.decryptor() if decrypt else cipher.encryptor()
    return context.update(data) + context.finalize()


def cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


class Wire:
    """Drives a conversation against a card and keeps every batch, so that a test can count exchanges."""

    def __init__(self, card: Callable[[bytes], bytes]) -> None:
        self.card = card
        self.batches: list[list[tuple[bytes, bytes]]] = []

    def run(self, conversation: Generator[tuple[bytes, ...], tuple[bytes, ...], Any]) -> Any:
        try:
            commands = next(conversation)
            while len(self.batches) < 300:
                batch = [(command, self.card(command)) for command in commands]
                self.batches.append(batch)
                commands = conversation.send(tuple(answer for _, answer in batch))
        except StopIteration as finished:
            return finished.value
        raise AssertionError("the conversation does not end")

    @property
    def sent(self) -> list[list[str]]:
        return [[command.hex().upper() for command, _ in batch] for batch in self.batches]


class DesfireDouble:
    """One DESFire application with a locate key (2), a proof key (1) and the number file (1), as in card-layout.md."""

    def __init__(self, *, aid: bytes, locate: bytes, proof: bytes, content: bytes) -> None:
        self.aid, self.keys, self.content = aid, {1: proof, 2: locate}, content
        self.ti = self.enc = self.mac = b""
        self.ctr = 0
        self.pending: tuple[int, int, bytes] | None = None

    def __call__(self, apdu: bytes) -> bytes:
        assert apdu[0] == 0x90, "only wrapped commands are expected"
        assert apdu[2:4] == b"\x00\x00", "P1 and P2 of a wrapped command are zero"
        assert apdu[-1] == 0, "every wrapped command has Le 00"
        assert apdu[4] == len(apdu) - 6, "Lc is the length of the body"
        handler = {0x5A: self.select, 0x71: self.begin, 0x77: self.begin, 0xAF: self.finish, 0xAD: self.read}[apdu[1]]
        return handler(apdu[1], apdu[5:-1])

    def select(self, _: int, body: bytes) -> bytes:
        self.enc = self.mac = b""
        return bytes.fromhex("9100" if body == self.aid else "91A0")

    def begin(self, ins: int, body: bytes) -> bytes:
        if ins == 0x77 and not self.mac:
            return bytes.fromhex("91AE")
        assert len(body) == (2 if ins == 0x71 else 1)
        rnd_b = os.urandom(16)
        self.pending = (ins, body[0], rnd_b)
        return aes(self.keys[body[0]], rnd_b) + bytes.fromhex("91AF")

    def finish(self, _: int, body: bytes) -> bytes:
        ins, key_no, rnd_b = self.pending or (0, 0, b"")
        self.pending = None
        key = self.keys[key_no]
        plain = aes(key, body, decrypt=True)
        rnd_a, rnd_b_rotated = plain[:16], plain[16:]
        if rnd_b_rotated != rnd_b[1:] + rnd_b[:1]:
            self.enc = self.mac = b""
            return bytes.fromhex("91AE")
        answer = rnd_a[1:] + rnd_a[:1]
        if ins == 0x71:
            self.ti, self.ctr = os.urandom(4), 0
            answer = self.ti + answer + bytes(12)
        context = bytearray(rnd_a[:8] + rnd_b[6:] + rnd_a[8:])
        for i in range(6):
            context[2 + i] ^= rnd_b[i]
        self.enc = cmac(key, bytes.fromhex("A55A00010080") + context)
        self.mac = cmac(key, bytes.fromhex("5AA500010080") + context)
        return aes(key, answer) + bytes.fromhex("9100")

    def read(self, ins: int, body: bytes) -> bytes:
        header, mac = body[:7], body[7:]
        if not self.mac or mac != self.mact(bytes([ins]) + self.counter() + self.ti + header):
            self.enc = self.mac = b""
            return bytes.fromhex("911E")
        assert header == bytes.fromhex("01 000000 0E0000")
        self.ctr += 1
        iv = aes(self.enc, bytes.fromhex("5AA5") + self.ti + self.counter() + bytes(8))
        data = aes(self.enc, self.content + b"\x80" + bytes(15 - len(self.content) % 16), iv=iv)
        return data + self.mact(b"\x00" + self.counter() + self.ti + data) + bytes.fromhex("9100")

    def counter(self) -> bytes:
        return self.ctr.to_bytes(2, "little")

    def mact(self, data: bytes) -> bytes:
        return bytes(cmac(self.mac, data)[i] for i in range(1, 16, 2))


def tlv(tag: str, *parts: bytes) -> bytes:
    value = b"".join(parts)
    length = bytes([len(value)]) if len(value) < 128 else b"\x82" + len(value).to_bytes(2, "big")
    return bytes.fromhex(tag) + length + value


class PivDouble:
    """The PIV application with a 9E key and its certificate; short APDUs, 61xx, command chaining."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, certificate_object: bytes | None) -> None:
        self.key, self.certificate_object = key, certificate_object
        self.rest = self.chained = b""

    def __call__(self, apdu: bytes) -> bytes:
        if apdu[1] == 0xC0:
            return self.portion()
        body = apdu[5 : 5 + apdu[4]]
        if apdu[0] == 0x10:
            self.chained += body
            return bytes.fromhex("9000")
        body, self.chained = self.chained + body, b""
        answers = {0xA4: self.select, 0xCB: self.get_data, 0x87: self.authenticate}
        data = answers[apdu[1]](apdu[2:4], body)
        if data is None:
            return bytes.fromhex("6A82")
        self.rest = data
        return self.portion()

    def portion(self) -> bytes:
        now, self.rest = self.rest[:256], self.rest[256:]
        return now + (b"\x61" + bytes([min(len(self.rest), 256) % 256]) if self.rest else b"\x90\x00")

    def select(self, _: bytes, body: bytes) -> bytes | None:
        if body != bytes.fromhex("A000000308000010000100"):
            return None
        return bytes.fromhex("61114F0600001000010079074F05A000000308")

    def get_data(self, p1p2: bytes, body: bytes) -> bytes | None:
        assert (p1p2, body) == (bytes.fromhex("3FFF"), bytes.fromhex("5C035FC101"))
        return None if self.certificate_object is None else tlv("53", self.certificate_object)

    def authenticate(self, p1p2: bytes, body: bytes) -> bytes:
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            assert p1p2 == bytes.fromhex("119E")
            assert body[:6] == bytes.fromhex("7C2482008120")
            return tlv("7C", tlv("82", self.key.sign(body[6:], ec.ECDSA(Prehashed(hashes.SHA256())))))
        assert p1p2 == bytes.fromhex("079E")
        assert body[:10] == bytes.fromhex("7C8201068200" + "81820100")
        private = self.key.private_numbers()
        block = pow(int.from_bytes(body[10:], "big"), private.d, private.public_numbers.n)
        return tlv("7C", tlv("82", block.to_bytes(256, "big")))
