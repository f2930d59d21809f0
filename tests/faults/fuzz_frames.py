# SPDX-License-Identifier: EUPL-1.2
"""Frames of the wire that nobody should send: golden ones bent, honest ones at every bound, and heavy ones."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from faults.fuzz_schema import Sampler

from cardservice.agents import messages
from cardservice.agents.messages import MAX_MESSAGE_BYTES

Side = Literal["agent", "centre"]
GOLDEN_FOLDER = Path(__file__).parents[1] / "vectors" / "messages"
DECODERS = {"agent": messages.decode_from_agent, "centre": messages.decode_from_centre}
_ADAPTERS = {"agent": messages._FROM_AGENT, "centre": messages._FROM_CENTRE}

TOKENS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"\xff", b"\x00"),
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e-999", b"-0", b"-0.0", b"1.0", b"00", b"0x10", b"1_000"),
    *(b"null", b"true", b"nullnull", b"\xef\xbb\xbf", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"/*", b"//"),
    *(b"9" * 19, b"9" * 400, b"9" * 4_301, b"[" * 250, b'{"a":' * 250, b"\xe2\x80\xae", b"9007199254740992"),
)
SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.0, 1.5, 1e308, float("nan"), float("inf"), 2**53, 2**63, 2**64, 10**400, -(10**40)),
    *("", "\x00", "a\n", "A", "ä", "x" * 5_000, "0" * 300, "\ud800", "*", "none", "health", "decision", "event.ack"),
    *([], {}, [[]], [None] * 100, [{}] * 300, {"a": {"b": {"c": []}}}, {str(n): n for n in range(200)}, ["00"] * 9),
)


def golden(side: Side) -> list[bytes]:
    """Return the golden frames that `side` sends, as they are on the wire."""
    files = sorted(GOLDEN_FOLDER.glob(f"{side}-*.json"))
    assert files, "the golden frames have moved"
    return [json.dumps(json.loads(file.read_text("utf-8")), separators=(",", ":")).encode() for file in files]


def schema(side: Side) -> dict[str, Any]:
    """Return the JSON schema of everything `side` sends."""
    return _ADAPTERS[side].json_schema()


def sampler(side: Side, dice: random.Random) -> Sampler:
    """Return a maker of messages that `side` could send."""
    return Sampler(schema(side), dice)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A frame, two places in it, another frame and chance."""

    frame: bytes
    at: int
    to: int
    other: bytes
    dice: random.Random

    def with_one_bit_flipped(self) -> bytes:
        flipped = bytearray(self.frame)
        if self.at < len(flipped):
            flipped[self.at] ^= 1 << self.dice.randrange(8)
        return bytes(flipped)


_BENDS: tuple[Callable[[_Cut], bytes], ...] = (
    lambda cut: cut.frame[: cut.at],
    lambda cut: cut.frame[: cut.at] + cut.frame[cut.to :],
    lambda cut: cut.frame[: cut.to] + cut.frame[cut.at :],
    _Cut.with_one_bit_flipped,
    lambda cut: cut.frame[: cut.at] + cut.dice.choice(TOKENS) + cut.frame[cut.at :],
    lambda cut: cut.frame[: cut.at] + cut.dice.choice(TOKENS) + cut.frame[cut.to :],
    lambda cut: cut.frame[: cut.at] + cut.other[cut.dice.randint(0, len(cut.other)) :],
    lambda cut: cut.frame[: cut.at] + cut.dice.randbytes(cut.dice.randint(1, 8)) + cut.frame[cut.to :],
)


def bend_bytes(dice: random.Random, frame: bytes, others: list[bytes]) -> bytes:
    """Return `frame` with one to four cuts, copies, flips, strange tokens or pieces of another frame in it."""
    for _ in range(dice.randint(1, 4)):
        at, to = sorted((dice.randint(0, len(frame)), dice.randint(0, len(frame))))
        frame = dice.choice(_BENDS)(_Cut(frame, at, to, dice.choice(others), dice))
    return frame


def bend_json(dice: random.Random, content: Any) -> Any:
    """Return `content` with something in it replaced, left out, doubled or added."""
    if isinstance(content, dict) and content and dice.random() < 0.85:
        name = dice.choice(list(content))
        what = dice.random()
        if what < 0.1:
            return {key: value for key, value in content.items() if key != name}
        if what < 0.2:
            return {**content, dice.choice(("added", name.upper(), name + "\x00", "\ud800", "")): dice.choice(SCALARS)}
        return {**content, name: bend_json(dice, content[name])}
    if isinstance(content, list) and content and dice.random() < 0.7:
        at = dice.randrange(len(content))
        changed = [*content[:at], bend_json(dice, content[at]), *content[at + 1 :]]
        return changed * dice.choice((1, 1, 2, 70)) if len(content) < 70 else changed
    return dice.choice(SCALARS)


def dump(dice: random.Random, content: Any) -> bytes:
    """Return JSON in one of its spellings; lone surrogates are written as they are escaped or as broken UTF-8."""
    spelled = json.dumps(content, ensure_ascii=dice.random() < 0.5, indent=dice.choice((None, None, 1)))
    return spelled.encode("utf-8", "surrogatepass")


def frames(side: Side, dice: random.Random) -> Iterator[bytes]:
    """Yield frames without end: bent golden and made-up ones, honest ones at their bounds, and plain noise."""
    known = golden(side) + golden("agent" if side == "centre" else "centre")
    maker = sampler(side, dice)
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: bend_bytes(dice, dice.choice(known), known),
        lambda: dump(dice, bend_json(dice, json.loads(dice.choice(known)))),
        lambda: dump(dice, maker.value()),
        lambda: dump(dice, bend_json(dice, maker.value())),
        lambda: dice.randbytes(dice.randint(0, 200)),
        lambda: b"".join(dice.choices(TOKENS, k=dice.randint(1, 30))),
    )
    while True:
        yield dice.choices(makers, (40, 25, 12, 15, 4, 4))[0]()


@dataclass(frozen=True, slots=True)
class Heavy:
    """A frame about as long as one may be, and who would get it."""

    name: str
    side: Side
    frame: bytes


# Just fewer than the parts of a frame that the decoders count before they read it.
AS_MANY_AS_ARE_READ = 16_000


def _filled(before: str, unit: str, after: str, most: int = MAX_MESSAGE_BYTES) -> bytes:
    count = (most - len(before) - len(after)) // len(unit.encode())
    return (before + (unit * count).rstrip(",") + after).encode()


def heavy() -> list[Heavy]:
    """Return frames that cost a careless parser most: full arrays, full objects, depth, long numbers and texts."""
    return [*_full_arrays(), *_full_objects(), *_long_texts()]


def _full_arrays() -> Iterator[Heavy]:
    starts: tuple[tuple[Side, str, str], ...] = (
        ("agent", "health", '{"type":"health","v":1,"pcsc":"up","outbox_depth":0,"readers":['),
        ("agent", "responses", '{"type":"card.responses","v":1,"conversation":"c0","n":0,"took_us":0,"responses":['),
        ("agent", "account", '{"type":"events.account","v":1,"epochs":['),
        ("centre", "welcome", '{"type":"welcome","v":1,"centre_time_ms":0,"points":['),
        ("centre", "apdus", '{"type":"card.apdus","v":1,"conversation":"c0","n":0,"apdus":['),
    )
    units = {"numbers": "1,", "empty objects": "{},", "empty arrays": "[],", "empty texts": '"",', "bytes": '"00",'}
    for side, kind, start in starts:
        for what, unit in units.items():
            yield Heavy(f"{kind}: {what}", side, _filled(start, unit, "]}"))
            some = ",".join([unit[:-1]] * AS_MANY_AS_ARE_READ)
            yield Heavy(f"{kind}: {AS_MANY_AS_ARE_READ} {what}", side, f"{start}{some}]}}".encode())


def _full_objects() -> Iterator[Heavy]:
    event = '{"type":"event","v":1,'
    for count in (AS_MANY_AS_ARE_READ, 23_000):
        names = ",".join(f'"{number:x}":1' for number in range(count))
        wrong = ",".join(f'"A{number:x}":""' for number in range(count))
        objects = {
            "unknown fields": f"{event}{names}}}",
            "unknown fields of an id": f'{event}"event":{{{names}}}}}',
            "stages": f'{event}"stages_us":{{{names}}}}}',
            "stages, all wrong": f'{event}"stages_us":{{{wrong}}}}}',
            "the same field again": event + ",".join(['"v":1'] * count) + "}",
            "the same deep field again": event + ",".join(['"x":[[[]]]'] * (count // 4)) + "}",
        }
        for name, frame in objects.items():
            yield Heavy(f"{count} {name}", "agent", frame.encode())


def _long_texts() -> Iterator[Heavy]:
    texts = {
        "depth of arrays": _filled("", "[", ""),
        "depth of objects": _filled("", '{"a":', ""),
        "depth just allowed": ('{"type":"health","x":' + "[" * 190 + "]" * 190 + "}").encode(),
        "a whole number": _filled('{"type":"health","v":1,"outbox_depth":', "9", "}"),
        "a whole number just read": ('{"type":"health","v":1,"outbox_depth":' + "9" * 4_300 + "}").encode(),
        "a fraction": _filled('{"type":"health","v":1,"outbox_depth":0.', "9", "}"),
        "an exponent": _filled('{"type":"health","v":1,"outbox_depth":1e', "9", "}"),
        "a type": _filled('{"type":"', "x", '"}'),
        "an answer to reset": _filled('{"type":"card.present","v":1,"atr":"', "3b", '"}'),
        "escapes": _filled('{"type":"health","x":"', "\\u00e4", '"}'),
        "pairs of surrogates": _filled('{"type":"health","x":"', "\\ud83d\\ude00", '"}'),
        "one text, never closed": _filled('{"type":"health","x":"', "a", ""),
        "quotes": _filled('{"type":"health","x":', '"', ""),
        "spaces": _filled("", " ", '{"type":"health"}'),
        "two-byte characters": _filled('{"type":"health","x":"', "ü", '"}'),
        "one byte too long": _filled('{"type":"health","x":"', "a", '"}', MAX_MESSAGE_BYTES + 1),
        "much too long": _filled('{"type":"health","x":"', "a", '"}', 16 * MAX_MESSAGE_BYTES),
    }
    for name, frame in texts.items():
        yield Heavy(name, "agent", frame)
