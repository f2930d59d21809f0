# SPDX-License-Identifier: EUPL-1.2
"""PIN, PUK, counters and security statuses against a model written from SP 800-73-4 part 2, sections 2.4 and 3.2."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.piv_card import CARD_UUID, KEY, Terminal, new_card

from cardsim.piv_administration import ManagementKey
from cardsim.piv_state import load_card, save_card

TRIES = 3
PINS = [b"123456\xff\xff", b"1234567\xff", b"87654321"]
MALFORMED_PINS = [b"12345\xff\xff\xff", b"12345a\xff\xff", b"123456\xff1", b"\xff" * 8, b"123456", b"123456789"]
PUKS = [b"12345678", b"\x00\x01\xfe\xff abc", b"\xff" * 8]
PRINTED = bytes.fromhex("5FC109")
WRONG_KEY = ManagementKey(KEY.algorithm, bytes(16))

pins = st.sampled_from(PINS)
puks = st.sampled_from(PUKS)
any_pin = st.sampled_from(PINS + MALFORMED_PINS)
# Two secrets are 16 bytes; where one is shorter or longer, the pair has no form at all.
eight_bytes = st.sampled_from([pin for pin in PINS + MALFORMED_PINS if len(pin) == 8])


@dataclass
class Model:
    """What the standard says a card knows."""

    pin: bytes = PINS[0]
    puk: bytes = PUKS[0]
    pin_left: int = TRIES
    puk_left: int = TRIES
    verified: bool = False
    administrator: bool = False
    contactless: bool = False

    def forget(self) -> None:
        self.verified = self.administrator = False

    def refused(self, left: int) -> str:
        self.verified = False
        return f"63C{left}"

    def present_pin(self, pin: bytes, *others: bytes) -> str:
        """The comparison of sections 3.2.1 and 3.2.2, in their order."""
        if self.contactless:
            return "6982"
        if self.pin_left == 0:
            return "6983"
        if not all(one in PINS for one in (pin, *others)):
            return "6A80"
        if pin != self.pin:
            self.pin_left -= 1
            return self.refused(self.pin_left)
        self.pin_left, self.verified = TRIES, True
        return "9000"


class Counters(RuleBasedStateMachine):
    """Commands of a terminal that may know the secrets or not, at both interfaces, with power cuts in between."""

    @initialize()
    def put_in(self) -> None:
        self.model = Model()
        self.terminal = Terminal(new_card()).power()

    @rule(contactless=st.booleans())
    def power_cut(self, contactless: bool) -> None:
        self.terminal.power("contactless" if contactless else "contact")
        self.model.forget()
        self.model.contactless = contactless

    @rule()
    def carried_to_another_process(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "card.json"
            save_card(self.terminal.card, file)
            self.terminal = Terminal(load_card(file)).power("contactless" if self.model.contactless else "contact")
        self.model.forget()

    @rule(aid=st.sampled_from(["A00000030800001000", "A0000003080000100001 00", "A000000527471117"]))
    def select(self, aid: str) -> None:
        ended = self.terminal.send("00A40400", bytes.fromhex(aid))[1]
        assert ended == ("6A82" if aid.endswith("1117") else "9000")

    @rule(pin=any_pin)
    def verify(self, pin: bytes) -> None:
        assert self.terminal.verify(pin) == self.model.present_pin(pin)

    @rule()
    def verify_the_right_pin(self) -> None:
        self.verify(self.model.pin)

    @rule()
    def log_out(self) -> None:
        ended = self.terminal.status("0020FF80")
        assert ended == ("6982" if self.model.contactless else "9000")
        if not self.model.contactless:
            self.model.verified = False

    @rule(old=eight_bytes, new=eight_bytes)
    def change_pin(self, old: bytes, new: bytes) -> None:
        ended = self.model.present_pin(old, new)
        assert self.terminal.status("00240080", old + new) == ended
        if ended == "9000":
            self.model.pin = new

    @rule(old=puks, new=puks)
    def change_puk(self, old: bytes, new: bytes) -> None:
        model = self.model
        ended = self.terminal.status("00240081", old + new)
        if model.contactless:
            assert ended == "6982"
        elif model.puk_left == 0:
            assert ended == "6983"
        elif old != model.puk:
            model.puk_left -= 1
            assert ended == f"63C{model.puk_left}"
        else:
            model.puk, model.puk_left = new, TRIES
            assert ended == "9000"

    @rule(puk=puks, new=eight_bytes)
    def reset_retry_counter(self, puk: bytes, new: bytes) -> None:
        model = self.model
        ended = self.terminal.status("002C0080", puk + new)
        if model.contactless:
            assert ended == "6A81"
        elif model.puk_left == 0:
            assert ended == "6983"
        elif new not in PINS:
            assert ended == "6A80"
        elif puk != model.puk:
            model.puk_left -= 1
            assert ended == model.refused(model.puk_left)
        else:
            model.puk_left, model.pin, model.pin_left = TRIES, new, TRIES
            assert ended == "9000"

    @precondition(lambda self: self.model.pin_left == 0)
    @rule()
    def open_a_blocked_pin(self) -> None:
        self.reset_retry_counter(self.model.puk, PINS[0])

    @rule(key=st.sampled_from([KEY, KEY, WRONG_KEY]))
    def administrate(self, key: ManagementKey) -> None:
        ended = self.terminal.administrate(key)
        self.model.administrator = not self.model.contactless and key is KEY
        assert ended == ("9000" if self.model.administrator else "6982")

    @rule(slot=st.sampled_from([0x9A, 0x9C, 0x9E]))
    def sign(self, slot: int) -> None:
        """Between a PIN and this lies the question of the invariant, so that slot 9C has none right before it."""
        free = {0x9A: self.model.verified, 0x9C: False, 0x9E: True}[slot]
        assert self.terminal.use(slot)[1] == ("9000" if free else "6982")

    @rule(pin=any_pin)
    def sign_right_after_a_pin(self, pin: bytes) -> None:
        ended = self.model.present_pin(pin)
        assert self.terminal.verify(pin) == ended
        assert self.terminal.use(0x9C)[1] == ("9000" if ended == "9000" else "6982")

    @rule()
    def store(self) -> None:
        ended = self.terminal.put(PRINTED, CARD_UUID.bytes)
        allowed = "9000" if self.model.administrator else "6982"
        assert ended == ("6A81" if self.model.contactless else allowed)

    @invariant()
    def counters_and_status_are_the_models(self) -> None:
        """Asked of the card itself where it answers, looked up where it does not."""
        if not hasattr(self, "model"):
            return
        piv = self.terminal.card.piv
        assert (piv.pin.remaining, piv.puk.remaining) == (self.model.pin_left, self.model.puk_left)
        assert (piv.pin.value, piv.puk.value) == (self.model.pin, self.model.puk)
        known = "9000" if self.model.verified else f"63C{self.model.pin_left}"
        assert self.terminal.verify(b"") == ("6982" if self.model.contactless else known)


Counters.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCounters = Counters.TestCase
