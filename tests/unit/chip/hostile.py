# SPDX-License-Identifier: EUPL-1.2
"""Answers that no honest card gives, as hypothesis strategies."""

from hypothesis import strategies as st

status_words = st.sampled_from(
    [
        bytes.fromhex(sw)
        for sw in ("9000", "9100", "91AF", "91AE", "91A0", "6100", "61FF", "6C00", "6C10", "6982", "63C2", "6A82")
    ]
)
plausible = st.tuples(st.binary(max_size=64) | st.sampled_from([bytes(16), bytes(32), bytes(24)]), status_words).map(
    b"".join
)
answers = st.binary(max_size=300) | plausible | status_words
# The last element is repeated for ever: a card does not run out of answers.
scripts = st.lists(answers, min_size=1, max_size=12)


class Script:
    """A card that says what it was told to say, the last thing again and again."""

    def __init__(self, script: list[bytes]) -> None:
        self.script = list(script)

    def __call__(self, _: bytes) -> bytes:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]
