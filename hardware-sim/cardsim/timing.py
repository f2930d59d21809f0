# SPDX-License-Identifier: EUPL-1.2
"""How long a card takes: one that answers no faster than a real DESFire would, and one that is far away.

The numbers are of the right size for an EV2 at 106 kbit/s, not those of one chip: an exchange costs its bytes on the
air (ISO 14443-2: 9.44 us a bit, 9 bits a byte with parity, frame and block overhead), a command its calculation, a
change its write to EEPROM.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cardsim.desfire import WRAPPED_CLASS
from cardsim.desfire_status import Instruction
from cardsim.faults import FaultyCard
from cardsim.interfaces import Card

EEPROM_WRITE_S = 0.005


@dataclass(frozen=True)
class TimingProfile:
    """Seconds by command; ``byte_s`` is a byte on the air, ``exchange_s`` what every exchange costs."""

    byte_s: float = 9 * 9.44e-6
    exchange_s: float = 0.0015
    usual_s: float = 0.002
    command_s: dict[int, float] = field(
        default_factory=lambda: {
            Instruction.AUTHENTICATE_AES: 0.006,
            Instruction.AUTHENTICATE_EV2_FIRST: 0.008,
            Instruction.AUTHENTICATE_EV2_NON_FIRST: 0.008,
            Instruction.ADDITIONAL_FRAME: 0.008,
            Instruction.CHANGE_KEY: 0.010 + EEPROM_WRITE_S,
            Instruction.CHANGE_KEY_EV2: 0.010 + EEPROM_WRITE_S,
            Instruction.WRITE_DATA: 0.004 + EEPROM_WRITE_S,
            Instruction.WRITE_DATA_NATIVE: 0.004 + EEPROM_WRITE_S,
            Instruction.COMMIT_TRANSACTION: 0.004 + EEPROM_WRITE_S,
            Instruction.CREATE_APPLICATION: 0.010 + 3 * EEPROM_WRITE_S,
            Instruction.CREATE_STD_DATA_FILE: 0.006 + 2 * EEPROM_WRITE_S,
            Instruction.DELETE_APPLICATION: 0.006 + 2 * EEPROM_WRITE_S,
            Instruction.SET_CONFIGURATION: 0.006 + EEPROM_WRITE_S,
            Instruction.FORMAT_PICC: 0.2,
        }
    )

    def duration_s(self, command: bytes, answer: bytes) -> float:
        """How long one exchange takes."""
        wrapped = command[:1] == bytes([WRAPPED_CLASS])
        code = command[1] if wrapped and len(command) > 1 else command[0] if command else 0
        on_air = len(command) + len(answer)
        return self.exchange_s + on_air * self.byte_s + self.command_s.get(code, self.usual_s)


class TimedCard(FaultyCard):
    """A card whose answers wait until a real one would have had them."""

    def __init__(
        self, card: Card, profile: TimingProfile | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(card)
        self._profile = profile or TimingProfile()
        self._sleep = sleep

    def transmit(self, apdu: bytes) -> bytes:
        """Answer, and wait for as long as a real card needs."""
        answer = super().transmit(apdu)
        self._sleep(self._profile.duration_s(apdu, answer))
        return answer


class RelayedCard(FaultyCard):
    """A genuine card somewhere else: its answers are right, and each comes later by a delay that varies."""

    def __init__(
        self, card: Card, delay_s: float, jitter_s: float, seed: int, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(card)
        self._delay_s, self._jitter_s = delay_s, jitter_s
        self._random = random.Random(seed)
        self._sleep = sleep

    def transmit(self, apdu: bytes) -> bytes:
        """Let the far card answer, after the way to it and back."""
        self._sleep(self._delay_s + self._random.uniform(0, self._jitter_s))
        return super().transmit(apdu)
