# SPDX-License-Identifier: EUPL-1.2
"""A card that repeats what a real one has said, and insists on being asked the same."""

from cardservice.chip.apdu import CommandApdu


class Replay:
    """Answers recorded native frames to wrapped commands; a recorded frame may come in several of ours.

    Args:
        exchanges: pairs of native frames in hex: instruction and body, status and data.
    """

    def __init__(self, exchanges: list[list[str]]) -> None:
        self.left = [(bytes.fromhex(asked), bytes.fromhex(answered)) for asked, answered in exchanges]
        self.begun = b""

    def __call__(self, apdu: bytes) -> bytes:
        command = CommandApdu.from_bytes(apdu)
        assert (command.cla, command.p1, command.p2, command.le) == (0x90, 0, 0, 256)
        asked, answered = self.left[0]
        heard = self.begun + command.data if self.begun else bytes([command.ins]) + command.data
        assert asked.hex().startswith(heard.hex())
        if len(heard) < len(asked):
            self.begun = heard
            return b"\x91\xaf"
        self.begun = b""
        self.left.pop(0)
        return answered[1:] + b"\x91" + answered[:1]
