# SPDX-License-Identifier: EUPL-1.2
"""Device cookies say that a name signed in here before, and nothing that nobody has signed is believed."""

import pytest
from service.fake_clock import FakeClock

from cardservice.web.login_devices import KEPT_S, Devices


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def devices(clock: FakeClock) -> Devices:
    return Devices(b"s" * 32, clock)


def test_a_device_is_known_to_its_name_for_half_a_year(devices, clock):
    """No two are the same, and the name is not in it."""
    cookie = devices.cookie_for("anna")
    assert devices.knows(cookie, "anna")
    assert "anna" not in cookie
    assert cookie != devices.cookie_for("anna")
    clock.pass_ms(KEPT_S * 1_000 - 1_000)
    assert devices.knows(cookie, "anna")
    clock.pass_ms(1_000)
    assert not devices.knows(cookie, "anna")


def test_nobody_elses_and_nothing_made_up_is_believed(devices, clock):
    """Another name's, another installation's, one whose end was moved, and what is no cookie of ours at all."""
    cookie = devices.cookie_for("anna")
    nonce, until_s, signature = cookie.split(".")
    others = (
        *(None, "", ".", "..", "a.b.c", "a.1.c", "a.1", f"{nonce}.{until_s}", f"{cookie}.x", "x" * 10_000, "ü.1.ü"),
        *(
            f"{nonce}.{int(until_s) + 1}.{signature}",
            f"{nonce}0.{until_s}.{signature}",
            f"{nonce}.²{until_s}.{signature}",
        ),
        *(cookie.upper(), Devices(b"t" * 32, clock).cookie_for("anna"), f"{nonce}.{'9' * 150}.{signature}"),
    )
    for other in others:
        assert not devices.knows(other, "anna"), other
    for name in ("bert", "", "Anna", "anna ", f"{until_s}.anna"):
        assert not devices.knows(cookie, name)
