# SPDX-License-Identifier: EUPL-1.2
"""The wire between agent and centre: golden frames, what is refused, and that nothing else ever comes out."""

import contextlib
import json
import string
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardservice.agents import messages
from cardservice.agents.messages import (
    MAX_MESSAGE_BYTES,
    FromAgent,
    FromCentre,
    MessageRefused,
    UnknownVersion,
    decode_from_agent,
    decode_from_centre,
    encode,
    hello_signing_input,
)

GOLDEN = sorted((Path(__file__).parents[2] / "vectors" / "messages").glob("*.json"))
DECODERS = {"agent": decode_from_agent, "centre": decode_from_centre}
CANARY = "c4n4ry"


def golden(name: str) -> dict[str, Any]:
    (file,) = (file for file in GOLDEN if file.stem == name)
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return content


def refusal(frame: str | bytes, sender: str = "agent") -> str:
    """What the decoder says about a frame it does not take."""
    with pytest.raises(MessageRefused) as refused:
        DECODERS[sender](frame)
    assert CANARY not in str(refused.value)
    assert len(str(refused.value)) < 400
    return str(refused.value)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_golden_frame_is_read_and_written_again_byte_for_byte(file):
    """What is on the wire today stays on the wire: names, order, spelling of every value."""
    content = json.loads(file.read_text("utf-8"))
    frame = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    decoder = DECODERS[file.stem.partition("-")[0]]
    assert encode(decoder(frame)) == frame
    assert encode(decoder(frame.encode())) == frame


@pytest.mark.parametrize(("sender", "union"), [("agent", FromAgent), ("centre", FromCentre)])
def test_every_message_has_a_golden_frame(sender, union):
    models = get_args(get_args(union)[0])
    types = {model.model_fields["type"].default for model in models}
    files = [file for file in GOLDEN if file.stem.startswith(f"{sender}-")]
    assert {json.loads(file.read_text("utf-8"))["type"] for file in files} == types


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_neither_side_takes_the_other_sides_messages(file):
    other = {"agent": "centre", "centre": "agent"}[file.stem.partition("-")[0]]
    assert refusal(file.read_text("utf-8"), other).startswith("type:")


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_an_unknown_optional_field_is_ignored(file):
    """A newer minor version may say more; what we know keeps its meaning."""
    content = json.loads(file.read_text("utf-8"))
    decoder = DECODERS[file.stem.partition("-")[0]]
    assert decoder(json.dumps({**content, "added_later": {"deep": [1]}})) == decoder(json.dumps(content))


@pytest.mark.parametrize("version", [0, 2, 10, "1", None, 1.5, [1]])
def test_another_major_version_is_refused_as_such(version):
    frame = json.dumps({**golden("agent-health"), "v": version})
    with pytest.raises(UnknownVersion, match=r"^v: "):
        decode_from_agent(frame)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": CANARY},
        {"type": None},
        {"type": [CANARY]},
        {"point": CANARY.upper()},
        {"outcome": CANARY},
        {"decision": CANARY},
        {"at_ms": CANARY},
        {"at_ms": -1},
        {"at_ms": 2**53},
        {"event": CANARY},
        {"event": {"agent": "a", "epoch": 1, "sequence": 1, CANARY: 1}},
        {"event": {"agent": CANARY.upper(), "epoch": 0, "sequence": 0}},
        {"stages_us": {CANARY.upper(): 1}},
        {"stages_us": {CANARY.upper(): CANARY}},
        {"stages_us": dict.fromkeys(string.ascii_lowercase[:17], 1)},
    ],
)
def test_a_refusal_names_the_place_and_never_repeats_the_content(changes):
    """Frames may hold anything, a card's answer too: neither value nor name of an unknown field is echoed."""
    assert refusal(json.dumps({**golden("agent-event"), **changes}))


@pytest.mark.parametrize(
    "frame",
    ["", "{}", "[]", "null", CANARY, f'"{CANARY}"', b"\xff\xfe" + CANARY.encode(), f'{{"type":"health",{CANARY}'],
)
def test_what_is_no_message_is_refused(frame):
    assert refusal(frame)
    assert refusal(frame, "centre")


def test_a_frame_above_the_limit_is_not_parsed():
    fits = json.dumps(golden("agent-health"))
    padded = fits + " " * (MAX_MESSAGE_BYTES - len(fits))
    assert decode_from_agent(padded) == decode_from_agent(fits)
    assert str(MAX_MESSAGE_BYTES) in refusal(padded + " ")
    assert str(MAX_MESSAGE_BYTES) in refusal((padded + " ").encode())


def test_the_limit_counts_bytes_whatever_the_characters():
    assert refusal(json.dumps(golden("agent-health")) + " " + '"' + "ü" * (MAX_MESSAGE_BYTES // 2) + '"').startswith(
        "a frame of"
    )


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"stages_us":{"a":'])
def test_depth_is_bounded(opening):
    assert refusal(opening * 20_000)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("centre-card-apdus", "apdus", ["00"] * 9),
        ("centre-card-apdus", "apdus", []),
        ("centre-card-apdus", "n", 64),
        ("centre-card-apdus", "apdus", ["0"]),
        ("centre-card-apdus", "apdus", ["AB"]),
        ("centre-decision", "open_ms", 600_001),
        ("centre-decision", "permit", "yes"),
        ("agent-card-responses", "responses", ["9000"] * 9),
        ("agent-card-present", "atr", "3b" * 34),
        ("agent-health", "readers", [{"reader": "R", "present": False}] * 65),
        ("agent-health", "outbox_depth", 2**53),
        ("agent-hello", "software", "x" * 201),
        ("agent-hello", "signature", "g"),
    ],
)
def test_every_bound_holds(name, field, value):
    assert refusal(json.dumps({**golden(name), field: value}), name.partition("-")[0])


def test_a_frame_full_of_faults_costs_no_more_than_an_ordinary_one():
    """An array ends with its first fault; more faults than a message has fields are counted, not listed."""
    full = json.dumps({**golden("agent-health"), "readers": [{}] * 10_000})
    assert refusal(full) == "readers.0.reader: Field required (2 in all)"
    assert refusal(json.dumps({**golden("agent-health"), "readers": [[]] * 20_000})).startswith("frame: more than")
    names = {"agent": "a", "epoch": 1, "sequence": 1} | dict.fromkeys(map(str, range(101)), CANARY)
    assert refusal(json.dumps({**golden("agent-event"), "event": names})) == "frame: 101 faults"


def test_a_sentence_that_is_too_long_for_a_display_is_refused():
    text = {"de": "x" * 201, "en": ""}
    assert refusal(json.dumps({**golden("centre-decision"), "text": text}), "centre")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def almost_messages(draw: st.DrawFn) -> str:
    """A golden frame in which some fields are anything."""
    content = json.loads(draw(st.sampled_from(GOLDEN)).read_text("utf-8"))
    for field in draw(st.lists(st.sampled_from([*content, "added"]), min_size=1, max_size=3)):
        content[field] = draw(JSON)
    return json.dumps(content, ensure_ascii=draw(st.booleans()))


@given(frame=almost_messages() | st.text(st.characters()) | st.binary() | JSON.map(json.dumps))
@example(frame='"\ud800"')
@example(frame='{"type":"health\ud800"}')
@example(frame='{"type":"\\ud800"}')
@example(frame='{"type":"event","at_ms":' + "9" * 5_000 + "}")
@example(frame='{"type":"event","at_ms":1e999}')
@example(frame='{"type":"health","outbox_depth":NaN}')
def test_whatever_arrives_only_a_message_or_a_refusal_comes_out(frame):
    """Nothing else leaves the decoders; what they take can be sent on and is taken again."""
    for decoder in DECODERS.values():
        with contextlib.suppress(MessageRefused):
            message = decoder(frame)
            assert decoder(encode(message)) == message


def test_what_an_agent_signs_cannot_be_read_two_ways():
    """Nonce, name and epoch are kept apart: moving a character from one to the other gives other bytes."""
    inputs = {hello_signing_input(*parts) for parts in (("aa", "b1", 1), ("aab", "1", 1), ("aa", "b", 11))}
    assert len(inputs) == 3
    assert hello_signing_input("aa", "b1", 1) == b'cardservice agent hello v1\x00["aa","b1",1]'
    assert messages.PROTOCOL_MAJOR == 1
