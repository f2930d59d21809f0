# SPDX-License-Identifier: EUPL-1.2
"""Signatures, the times of attempts, and which addresses are nobody's business."""

import base64
import ipaddress
import json

import pytest

from cardservice.webhooks.rules import (
    EVENT_TYPES,
    LONGEST_PAUSE_S,
    RETRY_S,
    Event,
    TargetRules,
    Unusable,
    headers_of,
    may_be_reached,
    next_attempt_s,
    pause_s,
    require_name,
    require_types,
)
from cardservice.webhooks.target import target_of

PUBLIC = TargetRules()
INSIDE = TargetRules((ipaddress.ip_network("10.20.0.0/16"), ipaddress.ip_network("fd00::/8")), plain_http=True)
# Loopback, private, link-local with clouds' metadata, carrier's, multicast, reserved, nothing; and each of them as IPv6
# writes or carries it.
FORBIDDEN = (
    *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "192.88.99.1"),
    *("::1", "::", "fe80::1", "fd00::1", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1"),
    *("2002:a00:1::", "2001:0:a00:1::1", "2001:0:808:808:0:0:80ff:fffe", "fe80::1%eth0", "localhost", "", "0x7f.1"),
    *("2130706433", "127.1", "017700000001"),
)


def test_the_signature_is_that_of_the_specification_s_own_libraries():
    """Their test vector: one secret, one message, one second."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = headers_of([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_999, '{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_sign_side_by_side():
    signatures = headers_of([b"new" * 8, b"old" * 8], "m", 0, "{}")["webhook-signature"].split(" ")
    assert len(set(signatures)) == 2
    assert all(one.startswith("v1,") for one in signatures)


def test_an_event_is_small_json_with_type_time_and_data():
    body = Event("door.alarm_begun", 1_773_651_600_007, "door-1-2", {"point": "tor", "alarm": "forced"}).body()
    assert json.loads(body) == {
        "type": "door.alarm_begun",
        "timestamp": "2026-03-16T09:00:00.007Z",
        "data": {"point": "tor", "alarm": "forced"},
    }


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_address_inside_is_reached_unless_it_is_allowed(address):
    assert not may_be_reached(address, PUBLIC, tls=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "193.99.144.80", "2a02:2e0:3fe:1001:302::", "::ffff:8.8.8.8"])
def test_public_addresses_are_reached_with_tls_alone(address):
    assert may_be_reached(address, PUBLIC, tls=True)
    assert not may_be_reached(address, INSIDE, tls=False)


def test_what_the_settings_allow_is_reached_and_nothing_beside_it():
    for address, allowed in (("10.20.3.4", True), ("::ffff:10.20.3.4", True), ("10.21.0.1", False), ("fd00::7", True)):
        assert may_be_reached(address, INSIDE, tls=False) is allowed
        assert may_be_reached(address, INSIDE, tls=True) is allowed


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "ftp://example.org/", "//example.org/", "https://", "https:///x", "example.org"),
        *("https://user@example.org/", "https://u:p@example.org/", "https://example.org/#x", "https://example.org:0/"),
        *(
            "https://example.org:99999/",
            "https://exa mple.org/",
            "https://example.org\\@evil.example/",
            "https://[::1/",
        ),
        *("https://[fe80::1%25eth0]/", "https://example.org/\r\nX: y", "https://müller.example/", "file:///etc/passwd"),
        "https://example.org/" + "x" * 2_000,
    ],
)
def test_addresses_that_are_none_of_ours_are_refused(url):
    with pytest.raises(Unusable):
        target_of(url, PUBLIC)


def test_an_address_is_taken_apart():
    target = target_of("https://Example.org:8443/a/b?c=d", PUBLIC)
    assert (target.host, target.port, target.path, target.tls) == ("example.org", 8443, "/a/b?c=d", True)
    assert target.named == "example.org:8443"
    assert target_of("https://[2a02::1]/", PUBLIC).named == "[2a02::1]"
    assert target_of("http://intern.example", INSIDE) == target_of("http://intern.example:80/", INSIDE)


def test_attempts_come_later_and_later_for_three_days_and_never_at_one_moment():
    """Within a fifth of what the specification proposes, either way; then there is no other one."""
    for attempts, usual in enumerate(RETRY_S, start=1):
        assert [next_attempt_s(attempts, chance) for chance in (0, 0.5, 1)] == pytest.approx(
            [usual * 0.8, usual, usual * 1.2]
        )
    assert next_attempt_s(len(RETRY_S) + 1, 0.5) is None
    assert sum(RETRY_S) > 3 * 86_400


def test_a_receiver_that_fails_is_left_alone_for_longer_and_as_it_asks():
    assert [pause_s(failures, 0.5, None) for failures in (1, 2, 3, 40)] == [5, 10, 20, LONGEST_PAUSE_S]
    assert pause_s(1, 0.5, 3_600) == 3_600
    assert pause_s(1, 0.5, 999_999) == 86_400
    assert pause_s(40, 0.5, 1) == LONGEST_PAUSE_S


def test_names_and_types_are_of_a_closed_list():
    assert require_types(["card.changed", "agent.away", "card.changed"]) == ("agent.away", "card.changed")
    for wrong in ([], ["door.tap"], ["*"], ["card.changed", "x" * 500]):
        with pytest.raises(Unusable):
            require_types(wrong)
    for name in ("", "a" * 41, "Leitstelle", "a/b", "ä"):
        with pytest.raises(Unusable):
            require_name(name)
    assert all(part.isidentifier() for one in EVENT_TYPES for part in one.split("."))
