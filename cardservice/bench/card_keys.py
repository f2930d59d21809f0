# SPDX-License-Identifier: EUPL-1.2
"""Keys of cards, a part of `cardservice bench card`: how many cards one core authenticates in a second.

By where the masters lie. One authentication is the whole conversation of a tap: number found, key derived, card proved,
in four exchanges with a virtual card in this process. Counted is the processor time of our side alone.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cardservice.bench.report import Ratio, Report
from cardservice.cards.keys.keyfile import KeyFile
from cardservice.cards.ports import KeyName, KeyStore
from cardservice.chip.conversation import drive
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import identify
from cardservice.errors import CardServiceError
from cardservice.parts import key_file
from cardservice.settings import KeysSection, Settings
from cardsim.card import VirtualCard
from cardsim.personalise import CardKeys, desfire_with, use_application

ROUNDS: Final = 5
GOALS: Final = {"sealed": 1_000.0, "pkcs11": 300.0}
_MODULES: Final = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
_PIN: Final = "bench-5170"
_NUMBER: Final = bytes(range(12))


def measure(report: Report, taps: int) -> None:
    """Measure the sealed file, and a token of SoftHSM where it is installed; medians of five rounds."""
    with tempfile.TemporaryDirectory(prefix="bench-card-") as folder:
        _measure(report, "sealed", _file(Path(folder) / "sealed", None), taps)
        module = next((Path(one) for one in _MODULES if Path(one).exists()), None)
        if module is None or shutil.which("softhsm2-util") is None:
            report.rows.append({"case": "keys pkcs11", "missing": "softhsm2"})
            return
        with _token(Path(folder)):
            _measure(report, "pkcs11", _file(Path(folder) / "token", module), taps)


def _measure(report: Report, case: str, file: KeyFile, taps: int) -> None:
    store = file.create(b"BENCH", None, 0)
    card = _card(store)
    host_us = statistics.median(_host_us(store, card, taps) for _ in range(ROUNDS))
    slowest_us = max(_steps_us(store, card))
    report.rows.append({"case": f"keys {case}", "host_us": host_us, "longest_step_us": slowest_us})
    report.ratios.append(Ratio(f"authentications a second, {case}", 1e6 / host_us, GOALS[case], at_least=True))


def _host_us(store: KeyStore, card: VirtualCard, taps: int) -> float:
    """Return the processor time our side takes for one tap."""
    card_ns = 0

    def transmit(command: bytes) -> bytes:
        nonlocal card_ns
        asked_ns = time.thread_time_ns()
        answer = card.transmit(command)
        card_ns += time.thread_time_ns() - asked_ns
        return answer

    began_ns = time.thread_time_ns()
    for _ in range(taps):
        card.power_on("contactless")
        drive(identify(CardUse.DOOR, store.ring("door"), system_id=store.system_id), transmit)
    return (time.thread_time_ns() - began_ns - card_ns) / taps / 1_000


def _steps_us(store: KeyStore, card: VirtualCard) -> Iterator[float]:
    """Yield how long each step of a tap would hold up the event loop, median of each."""
    taken: list[list[float]] = []
    for _ in range(20):
        card.power_on("contactless")
        conversation = identify(CardUse.DOOR, store.ring("door"), system_id=store.system_id)
        commands, step = next(conversation), 0
        while True:
            answers = tuple(card.transmit(command) for command in commands)
            began_ns = time.thread_time_ns()
            try:
                commands = conversation.send(answers)
            except StopIteration:
                break
            finally:
                if step == len(taken):
                    taken.append([])
                taken[step].append((time.thread_time_ns() - began_ns) / 1_000)
                step += 1
    yield from (statistics.median(times) for times in taken)


def _card(store: KeyStore) -> VirtualCard:
    def key(purpose: str) -> bytes:
        return store.application_key(KeyName("door", purpose, 1), _NUMBER).wrap_for_change(lambda key: key)

    keys = CardKeys(
        aid_as_sent=CardUse.DOOR.aid,
        number=_NUMBER,
        generation=1,
        application_key=key("application_master"),
        proof_key=key("proof"),
        locate_key=key("locate"),
    )
    return VirtualCard("bench", "bench", desfire=desfire_with([use_application(keys)]))


def _file(folder: Path, module: Path | None) -> KeyFile:
    folder.mkdir()
    for name, content in (("passphrase", "bench"), ("pin", _PIN)):
        (folder / name).write_text(content + "\n")
        (folder / name).chmod(0o600)
    section = KeysSection(store=folder / "keys.json", passphrase_file=folder / "passphrase", pin_file=folder / "pin")
    token = {"masters": "pkcs11", "pkcs11_module": module, "pkcs11_token": "bench"}
    chosen = section if module is None else section.model_copy(update=token)
    return key_file(Settings.model_construct(keys=chosen, demonstration=False))


@contextmanager
def _token(folder: Path) -> Iterator[None]:
    """Make a token of SoftHSM in `folder`, and have this process use it."""
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "bench", "--so-pin", "bench-0000", "--pin", _PIN]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=30)  # noqa: S603  # a fixed command
        if done.returncode:
            raise CardServiceError("softhsm2-util could not make a token")
        yield
    finally:
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before
