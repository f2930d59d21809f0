# SPDX-License-Identifier: EUPL-1.2
"""A desk on a real pcscd: an employee's PIV card, a card nobody has yet, and a factory-new one of Yubico's make."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography import x509
from support.waiting import wait_until

from cardsim import certificates, yubico
from cardsim.card import VirtualCard
from cardsim.certificates import Order
from cardsim.personalise import personalise_piv
from cardsim.piv_administration import AES_192, AES_256, ManagementKey
from cardsim.piv_state import save_card
from rig.process import RigProcess

ROOT = Path(__file__).resolve().parents[2]
PIN, WRONG_PIN, PUK = "471108", "471109", "87654321"
STAFF, STAFF_READER = "ausweis", "Desk 1 00 00"
BLANK, BLANK_READER = "blank", "Desk 1 00 01"
YUBICO, YUBICO_READER = "yubico", "Yubico YubiKey OTP+FIDO+CCID 00 00"
MANAGEMENT_KEY = bytes.fromhex("0B1C2D3E4F5061728394A5B6C7D8E9FA0B1C2D3E4F506172")
CARD_UUID = UUID("7d1f4c52-9d0e-4d67-8f3c-51a0c9f0a7e1")
BLANK_KEY = bytes(range(32, 64))
BLANK_UUID = UUID("0b7a1b11-4f0c-4b13-9a52-5a5d6c0a90f3")
SECONDS_FOR_A_PROGRAM = 60

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Desk:
    """The rig, what the programs of a test may write into, and the certificates of the employee's card by slot."""

    rig: RigProcess
    folder: Path
    certificates: dict[str, x509.Certificate]

    def run(self, *command: str | Path, **environment: str) -> Done:
        """One program on the rig's pcscd, with nothing on its standard input."""
        return subprocess.run(
            [str(part) for part in command],
            env={**self.rig.environment, "LC_ALL": "C", "HOME": str(self.folder), **environment},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS_FOR_A_PROGRAM,
            stdin=subprocess.DEVNULL,
        )

    def script(self, name: str, *arguments: str) -> Done:
        """A client in Python, of `tests/support`, in a process of its own: libpcsclite finds one pcscd for each."""
        path = [ROOT / "var" / "ykman", ROOT / "tests"]
        program = ROOT / "tests" / "support" / name
        return self.run(sys.executable, program, *arguments, PYTHONPATH=":".join(str(part) for part in path))

    def ykman(self, *arguments: str | Path) -> Done:
        """Yubico's program, which lies apart from our packages."""
        start = "import sys; from ykman._cli.__main__ import main; sys.argv[0] = 'ykman'; sys.exit(main())"
        return self.run(sys.executable, "-c", start, *arguments, PYTHONPATH=str(ROOT / "var" / "ykman"))

    def insert_again(self, reader: str) -> None:
        """Take the card out and put it in again: what was proved to it before is forgotten."""
        with self.rig.client() as control:
            card = control.eject(reader)
            wait_until(lambda: not self.holds_card(reader))
            control.insert(card, reader)
            wait_until(lambda: self.holds_card(reader))

    def holds_card(self, reader: str) -> bool:
        """Whether pcscd sees a card there."""
        lines = self.run("opensc-tool", "--list-readers").stdout.splitlines()
        return any("  Yes  " in line and line.endswith(reader) for line in lines)

    def file(self, name: str, content: bytes = b"") -> Path:
        """A file in the desk's folder."""
        path = self.folder / name
        path.write_bytes(content)
        return path


@contextmanager
def desk() -> Iterator[Desk]:
    """Both cards in their readers, until the block is left."""
    with tempfile.TemporaryDirectory(prefix="piv-") as name:
        folder = Path(name)
        cards = folder / "cards"
        cards.mkdir()
        holder = _employee_card(cards / "staff.json")
        save_card(VirtualCard(YUBICO, "Key", piv=yubico.factory_card()), cards / "yubico.json")
        _blank_card(cards / "blank.json")
        (folder / "readers.json").write_text(json.dumps(_DEVICES))
        arguments = ["--readers", str(folder / "readers.json")]
        loader = "cardsim.piv_state:load_cards"
        with RigProcess(folder / "run", deck=cards, loader=loader, arguments=arguments) as rig:
            made = Desk(rig, folder, holder)
            with rig.client() as control:
                for reader, card in _READERS.items():
                    control.insert(card, reader)
            wait_until(lambda: all(made.holds_card(reader) for reader in _READERS))
            yield made


_READERS = {STAFF_READER: STAFF, BLANK_READER: BLANK, YUBICO_READER: YUBICO}
_DEVICES = [
    {"name": STAFF_READER.removesuffix(" 00 00"), "slots": ["contact", "contact"]},
    {"name": YUBICO_READER.removesuffix(" 00 00"), "slots": ["contact"]},
]


def _employee_card(path: Path) -> dict[str, x509.Certificate]:
    issuer = certificates.make_issuer("Issuing desk", datetime.now(UTC) - timedelta(days=2))
    order = Order(issuer, datetime.now(UTC) - timedelta(days=1))
    slots = {
        0x9A: certificates.logon_slot(order, "Anna Schmidt", "schmidt@stadt.example"),
        0x9C: certificates.signature_slot(order, "Anna Schmidt"),
        0x9D: certificates.key_management_slot(order, "Anna Schmidt"),
        0x9E: certificates.card_authentication_slot(order, CARD_UUID),
    }
    piv = personalise_piv(CARD_UUID, pin=PIN, puk=PUK, slots=slots)
    piv.management_key = ManagementKey(AES_192, MANAGEMENT_KEY)
    save_card(VirtualCard(STAFF, "Employee card", piv=piv), path)
    return {f"{number:02X}": x509.load_der_x509_certificate(slot.certificate) for number, slot in slots.items()}


def _blank_card(path: Path) -> None:
    piv = personalise_piv(BLANK_UUID, pin=PIN, puk=PUK, slots={})
    piv.management_key = ManagementKey(AES_256, BLANK_KEY)
    save_card(VirtualCard(BLANK, "Blank card", piv=piv), path)
