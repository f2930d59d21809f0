# SPDX-License-Identifier: EUPL-1.2
"""The OCSP responder (RFC 6960, in the lightweight form of RFC 5019).

It says "good" of certificates that were issued, and of nothing else. Answers without a nonce are signed once and kept
until something changes; all others cost a signature, so there are limits. Signing happens in a thread of its own that
takes nothing from taps.
"""

import asyncio
import base64
import binascii
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from prometheus_client import Counter
from sqlalchemy.engine import Engine

from cardservice.cards.pki import store
from cardservice.cards.pki.authorities import Authorities, Authority, instant_utc
from cardservice.cards.pki.mapping import serial_bytes
from cardservice.cards.pki.rules import Bucket, CertificateState, Entry, PkiRules
from cardservice.cards.pki.signing import ResponderKey, delegate, flag_of
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import CardServiceError

MAX_REQUEST_BYTES: Final = 2_048
MAX_NONCE_BYTES: Final = 128
MAX_WAITING: Final = 32
MAX_KEPT: Final = 4_096
MAX_ADDRESSES: Final = 1_024
SIGNATURES_PER_S: Final = 20.0
BURST: Final = 100.0
_MAX_SERIAL_BYTES: Final = 20
_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}
_Status = ocsp.OCSPResponseStatus
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """An OCSP answer in DER. `fresh_until_ms` is until when it may be kept, None: not at all."""

    der: bytes
    outcome: str
    made_ms: int
    fresh_until_ms: int | None


@dataclass(frozen=True, slots=True)
class Question:
    """One certificate that is asked about, by its issuer's two digests and its serial number."""

    algorithm: str
    issuer_name: bytes
    issuer_key: bytes
    serial: int
    nonce: bytes | None

    @property
    def kept_as(self) -> tuple[str, bytes, int]:
        """What answers to it are kept under."""
        return self.algorithm, self.issuer_key, self.serial


class Responder:
    """Answers; `answer` is called in the event loop, `forget` from any thread."""

    def __init__(self, state: Engine, authorities: Authorities, rules: PkiRules, clock: Clock) -> None:
        self._state, self._rules, self._clock = state, rules, clock
        self._issuers = {
            (name, _name_digest(one, made), _key_digest(one, made)): one
            for one in authorities
            for name, made in _HASHES.items()
        }
        self._keys: dict[str, ResponderKey] = {}
        self._kept: OrderedDict[tuple[str, bytes, int], Answer] = OrderedDict()
        self._epoch = 0
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ocsp")
        self.answers = Counter("cardservice_ocsp_answers", "Answers by OCSP", ["outcome"], registry=None)

    def close(self) -> None:
        """End the thread; what waits is not answered."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def forget(self) -> None:
        """Something changed: answers that are kept hold no more."""
        self._epoch += 1
        self._kept = OrderedDict()

    def valid_until_ms(self, authority: str) -> int | None:
        """Return when the certificate ends that answers for an authority now; None: there is none yet."""
        key = self._keys.get(authority)
        return None if key is None else int(key.certificate.not_valid_after_utc.timestamp()) * 1000

    async def answer(self, data: bytes, address: str) -> Answer:
        """Return the answer to a request in DER from an address."""
        found = await self._answered(data, address)
        self.answers.labels(found.outcome).inc()
        return found

    async def _answered(self, data: bytes, address: str) -> Answer:
        question = read_question(data)
        if question is None:
            return self._refusal(_Status.MALFORMED_REQUEST, "malformed")
        issuer = self._issuers.get((question.algorithm, question.issuer_name, question.issuer_key))
        if issuer is None:
            # Of certificates that are not ours nothing is said (RFC 5019, 2.2.3).
            return self._refusal(_Status.UNAUTHORIZED, "unauthorized")
        kept = self._kept.get(question.kept_as) if question.nonce is None else None
        now_ms = self._clock.now_ms()
        if kept is not None and kept.fresh_until_ms is not None and kept.made_ms <= now_ms < kept.fresh_until_ms:
            return kept
        if self._waiting >= MAX_WAITING or not self._admitted(address):
            return self._refusal(_Status.TRY_LATER, "try_later")
        return await self._signed_elsewhere(question, issuer)

    async def _signed_elsewhere(self, question: Question, issuer: Authority) -> Answer:
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._signed, question, issuer)
        except CardServiceError as error:
            _log.error("ocsp.not_answered", error=str(error))
            return self._refusal(_Status.TRY_LATER, "try_later")
        finally:
            self._waiting -= 1

    def _signed(self, question: Question, issuer: Authority) -> Answer:
        epoch, now_ms = self._epoch, self._clock.now_ms()
        with read(self._state) as connection:
            found = store.find(connection, issuer.issuer_key, serial_bytes(question.serial).hex(), now_ms)
        until_ms = now_ms + self._rules.ocsp_minutes * 60_000
        der = self._made(question, issuer, found, (now_ms, until_ms))
        outcome = "unknown" if found is None else found[0].value
        answer = Answer(der, outcome, now_ms, until_ms if question.nonce is None and found is not None else None)
        if answer.fresh_until_ms is not None and epoch == self._epoch:
            kept = self._kept
            kept[question.kept_as] = answer
            if len(kept) > MAX_KEPT:
                kept.popitem(last=False)
        return answer

    def _made(
        self,
        question: Question,
        issuer: Authority,
        found: tuple[CertificateState, Entry | None] | None,
        valid_ms: tuple[int, int],
    ) -> bytes:
        key = self._keys.get(issuer.name)
        begins_ms = 0 if key is None else int(key.certificate.not_valid_before_utc.timestamp()) * 1000
        if key is None or not begins_ms <= valid_ms[0] < key.renew_ms:
            key = self._keys[issuer.name] = delegate(issuer, valid_ms[0])
        entry = None if found is None else found[1]
        status = ocsp.OCSPCertStatus.UNKNOWN
        if found is not None:
            status = ocsp.OCSPCertStatus.GOOD if entry is None else ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            question.issuer_name,
            question.issuer_key,
            question.serial,
            _HASHES[question.algorithm](),
            status,
            instant_utc(valid_ms[0]),
            instant_utc(valid_ms[1]),
            None if entry is None else instant_utc(entry.since_ms),
            None if entry is None else flag_of(entry.reason),
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, key.certificate).certificates([key.certificate])
        if question.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(question.nonce), critical=False)
        return builder.sign(key.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _admitted(self, address: str) -> bool:
        now_s = self._clock.monotonic_ns() / 1e9
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = Bucket(SIGNATURES_PER_S, BURST, now_s)
            if len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        return bucket.take(now_s)

    def _refusal(self, status: ocsp.OCSPResponseStatus, outcome: str) -> Answer:
        der = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
        return Answer(der, outcome, self._clock.now_ms(), None)


def read_question(data: bytes) -> Question | None:
    """Read a request in DER about one certificate; None: it is none, or asks for what RFC 5019 leaves out."""
    if len(data) > MAX_REQUEST_BYTES:
        return None
    try:
        asked = ocsp.load_der_ocsp_request(data)
        question = Question(
            asked.hash_algorithm.name,
            asked.issuer_name_hash,
            asked.issuer_key_hash,
            asked.serial_number,
            _nonce(asked.extensions),
        )
        critical = any(one.critical and not isinstance(one.value, x509.OCSPNonce) for one in asked.extensions)
    except (ValueError, TypeError, NotImplementedError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return None
    too_long = question.nonce is not None and not 1 <= len(question.nonce) <= MAX_NONCE_BYTES
    possible = 0 <= question.serial < 1 << (8 * _MAX_SERIAL_BYTES)
    return None if critical or too_long or not possible or question.algorithm not in _HASHES else question


def read_path(text: str) -> bytes | None:
    """Return the request in the path of a GET (RFC 6960, A.1), None if there is none."""
    if len(text) > MAX_REQUEST_BYTES:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _nonce(extensions: x509.Extensions) -> bytes | None:
    try:
        return extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def _digest(data: bytes, made: Callable[[], hashes.HashAlgorithm]) -> bytes:
    digest = hashes.Hash(made())
    digest.update(data)
    return digest.finalize()


def _name_digest(authority: Authority, made: Callable[[], hashes.HashAlgorithm]) -> bytes:
    return _digest(authority.certificate.subject.public_bytes(), made)


def _key_digest(authority: Authority, made: Callable[[], hashes.HashAlgorithm]) -> bytes:
    key = authority.certificate.public_key()
    return _digest(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), made)
