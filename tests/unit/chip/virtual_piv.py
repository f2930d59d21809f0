# SPDX-License-Identifier: EUPL-1.2
"""Virtual PIV cards in a reader, plain ones and such as Yubico makes them, with secrets that are known here."""

from cardservice.chip.conversation import drive
from cardservice.chip.errors import CardGone
from cardservice.chip.piv_formats import ReferenceData
from cardservice.chip.piv_management import ManagementAlgorithm, SoftwareManagementKey
from cardservice.chip.piv_session import PivSession
from cardsim.card import VirtualCard
from cardsim.piv import PivApplet
from cardsim.piv_administration import ManagementKey
from cardsim.piv_reference import ReferenceData as CardReference
from cardsim.yubico import FACTORY_MANAGEMENT_KEY, FACTORY_PIN, FACTORY_PUK, factory_card

PIN, PUK = ReferenceData.pin(FACTORY_PIN), ReferenceData.puk(FACTORY_PUK)
OTHER_PIN, OTHER_PUK = ReferenceData.pin("86420975"), ReferenceData.puk(b"pukpukpu")
AES_KEY = bytes.fromhex("8E21D5709B3C46F2A1786DE40C95B3F7")
MANAGEMENT = SoftwareManagementKey(ManagementAlgorithm.AES_128, AES_KEY)
YUBICO_FACTORY = SoftwareManagementKey(ManagementAlgorithm.TDES, FACTORY_MANAGEMENT_KEY.value)


def plain_applet(algorithm: int = ManagementAlgorithm.AES_128, key: bytes = AES_KEY) -> PivApplet:
    """An empty card that does what SP 800-73 says and nothing else."""
    pin, puk = CardReference(PIN.value), CardReference(PUK.value)
    return PivApplet({}, {}, pin, puk, ManagementKey(int(algorithm), key))


class PivField:
    """A virtual card at one interface; it can be pulled at any command, before or after it is carried out."""

    def __init__(self, applet: PivApplet | None = None, interface: str = "contact") -> None:
        self.applet = applet or plain_applet()
        self.card = VirtualCard("test", "test", piv=self.applet, piv_contactless=True)
        self.interface = interface
        self.sent: list[bytes] = []
        self.pull_at: int | None = None
        self.carries_out = False
        self.activate()

    def activate(self) -> None:
        """Takes the power away and gives it back: every session is lost."""
        self.card.power_off()
        self.card.power_on(self.interface)
        self.sent, self.pull_at = [], None

    def pull(self, at: int, *, carries_out: bool) -> None:
        self.pull_at, self.carries_out = at, carries_out

    def __call__(self, apdu: bytes) -> bytes:
        if self.pull_at == len(self.sent):
            if self.carries_out:
                self.card.transmit(apdu)
            raise CardGone("pulled by the test")
        self.sent.append(apdu)
        return self.card.transmit(apdu)

    def select(self) -> PivSession:
        return drive(PivSession.select(), self)

    def administer(self, key: SoftwareManagementKey = MANAGEMENT) -> PivSession:
        """A session that the management key has opened."""
        session = self.select()
        drive(session.mutual_authenticate(key), self)
        return session


def yubico_field() -> PivField:
    """A card of Yubico's as it leaves the factory."""
    return PivField(factory_card())
