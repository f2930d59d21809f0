# SPDX-License-Identifier: EUPL-1.2
"""The process that signs: it alone talks to the token with the logon authority's key. One question after the other."""

import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardservice.cards.pki.ports import CaToken
from cardservice.cards.pki.signer import wire
from cardservice.cards.pki.signer.policy import Signer, SigningRefused
from cardservice.cards.ports import KeyRefused
from cardservice.clock import Clock
from cardservice.errors import CardServiceError, KeyStoreError, SettingsError

QUESTION_S: Final = 5.0
_LOOK_S: Final = 0.5
# Whoever is in the group of the socket's folder asks; nobody else reaches it.
_MODE: Final = 0o660
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SigningProcess:
    """The token, what may be signed with its keys, and the clock."""

    token: CaToken
    signer: Signer
    clock: Clock

    def serve(self, path: Path, on_ready: Callable[[], None], stop: threading.Event) -> None:
        """Answer questions at a UNIX socket until `stop` is set.

        Raises:
            SettingsError: there is no folder for the socket, or something else than a socket has its name.
        """
        with _listening(path) as listener:
            on_ready()
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    self._converse(connection)
        path.unlink(missing_ok=True)

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(QUESTION_S)
        try:
            question = wire.receive_question(connection)
            wire.send(connection, self.answer(question))
        except (OSError, wire.FrameRefused) as error:
            _log.warning("signer.broken_off", error=type(error).__name__)

    def answer(self, question: wire.Question) -> wire.Answer:
        """Return the answer to one question; whatever goes wrong is one."""
        try:
            return wire.Answer(result=self._done(question).hex())
        except (SigningRefused, KeyRefused) as error:
            _log.warning("signer.refused", authority=question.authority, do=question.do, error=str(error))
            return wire.Answer(refused=str(error))
        except KeyStoreError as error:
            _log.error("signer.token_away", authority=question.authority, error=str(error))
            return wire.Answer(trouble=str(error))
        except CardServiceError as error:
            _log.error("signer.failed", authority=question.authority, error=str(error))
            return wire.Answer(trouble="the process that signs logons could not go on; its log says more")

    def _done(self, question: wire.Question) -> bytes:
        name = question.authority
        if question.do == "make":
            made = self.token.make(name)
            _log.info("signer.made", authority=name)
            return _encoded(made)
        if question.do == "public_key":
            return _encoded(self.token.public_key(name))
        data = bytes.fromhex(question.data or "")
        at = datetime.fromtimestamp(self.clock.now_ms() / 1_000, UTC)
        kind = self.signer.require(data, self.token.public_key(name), at, self.clock.monotonic_ns())
        signature = self.token.sign(name, data)
        _log.info("signer.signed", authority=name, kind=kind)
        return signature


def _encoded(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _listening(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SettingsError(f"pki.signer_socket: {path} is no socket, and is not overwritten")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(_MODE)
    except OSError as error:
        listener.close()
        raise SettingsError(f"pki.signer_socket: {path}: {error}") from error
    listener.listen(16)
    listener.settimeout(_LOOK_S)
    return listener
