# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench card`, in small: every part is measured and reported as documented; no time is judged."""

import json
import os

import pytest

from cardservice.bench import card, card_keys
from cardservice.bench.card_shapes import Shape, shape_of
from cardservice.bench.report import Report
from cardservice.bench.tap_echo import EchoCard
from cardservice.chip.conversation import exchange

TINY = card.Size(warm_up=1, reads=2, rounds=1, taps=2)


@pytest.mark.softhsm
def test_both_places_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own goal; the token of the benchmark is gone afterwards."""
    monkeypatch.setattr(card_keys, "ROUNDS", 1)
    before = os.environ.get("SOFTHSM2_CONF")
    report = Report("card")
    card_keys.measure(report, taps=2)
    assert [row["case"] for row in report.rows] == ["keys sealed", "keys pkcs11"]
    assert [(ratio.goal, ratio.at_least) for ratio in report.ratios] == [(1_000.0, True), (300.0, True)]
    assert all(ratio.value > 0 for ratio in report.ratios)
    assert os.environ.get("SOFTHSM2_CONF") == before


def test_without_a_token_the_file_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is missing is named."""
    monkeypatch.setattr(card_keys, "ROUNDS", 1)
    monkeypatch.setattr(card_keys, "_MODULES", ())
    report = Report("card")
    card_keys.measure(report, taps=2)
    assert len(report.ratios) == 1
    assert report.rows[-1] == {"case": "keys pkcs11", "missing": "softhsm2"}


def test_an_echo_is_as_long_as_what_it_stands_for() -> None:
    """Commands of every case of ISO 7816-3, 12.1.3, and their answers; a frame for each step."""
    lengths = ((4, 2), (5, 258), (6, 2), (7, 34), (261, 2))

    def conversation():  # type: ignore[no-untyped-def]  # a conversation like any other
        for command, _ in lengths[:3]:
            yield from exchange(bytes(command))
        yield from exchange(*(bytes(command) for command, _ in lengths[3:]))

    answers = iter(lengths)
    shape = shape_of(conversation(), lambda _: bytes(next(answers)[1]))
    assert shape.apdus == lengths
    assert [len(apdu) for apdu in shape.echo_apdus()] == [command for command, _ in lengths]
    echo = EchoCard()
    assert [len(echo.transmit(apdu)) for apdu in shape.echo_apdus()] == [answer for _, answer in lengths]
    assert len(shape.frames) == 4
    assert [len(frame) for frame in shape.echo_frames()] == [asked for asked, _ in shape.frames]
    assert [int(frame[:6]) for frame in shape.echo_frames()] == [answer for _, answer in shape.frames]


def test_frames_grow_with_what_they_carry() -> None:
    """A byte more on either side is two characters more in its frame: what is echoed is what is relayed."""

    def shape(command: int, answer: int) -> Shape:
        return shape_of(exchange(bytes(command)), lambda _: bytes(answer))

    (told, asked), (longer_told, longer_asked) = shape(5, 2).frames[0], shape(6, 4).frames[0]
    assert (longer_told - told, longer_asked - asked) == (4, 2)


@pytest.mark.pcscd
@pytest.mark.softhsm
def test_cards_of_both_kinds_are_read_at_hand_and_at_the_centre() -> None:
    """Every read and floor has its row, every promised figure is one ratio; six APDUs in four steps are a DESFire's."""
    report = card.run(TINY)
    cases = [str(row["case"]) for row in report.rows]
    kinds = [
        f"{kind} {title}" for kind in ("desfire", "piv") for title in (*card._TITLES.values(), "against its floors")
    ]
    assert cases == ["machine before the first measurement", *kinds, "keys sealed", "keys pkcs11"]
    assert [int(row["samples"]) for row in report.rows if "samples" in row] == [2] * 10
    assert all(float(row["p50_us"]) > 0 for row in report.rows if "samples" in row)
    desfire, piv = (row for row in report.rows if "relay_steps" in row)
    assert (desfire["apdus"], desfire["relay_steps"]) == (6, 4)
    assert (piv["apdus"], piv["relay_steps"]) == (5, 2)
    assert [(ratio.name, ratio.goal, ratio.at_least) for ratio in report.ratios] == [
        ("desfire, local, against its floors", 1.25, False),
        ("desfire, relayed, against its floors", 1.5, False),
        ("piv, local, against its floors", 1.25, False),
        ("piv, relayed, against its floors", 1.5, False),
        ("authentications a second, sealed", 1_000.0, True),
        ("authentications a second, pkcs11", 300.0, True),
    ]
    assert json.loads(json.dumps(report.as_json())).keys() == {"bench", "machine", "versions", "rows", "ratios"}
