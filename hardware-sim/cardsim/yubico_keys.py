# SPDX-License-Identifier: EUPL-1.2
"""Keys that Yubico's cards take from outside (INS FE), and their PIN policies."""

from math import gcd

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cardsim.apdu import ApduError, StatusWord
from cardsim.piv_commands import decoded
from cardsim.piv_keys import RSA_EXPONENT, PinPolicy, PivSlot, SlotKey, algorithm_of

EC_PRIVATE = 0x06
RSA_MEMBERS = (0x01, 0x02, 0x03, 0x04, 0x05)
LONGEST_MEMBER = 128
"""Bytes of a prime of RSA-2048, the largest key that is imported."""
PIN_POLICY, TOUCH_POLICY = 0xAA, 0xAB
CURVES: dict[int, ec.EllipticCurve] = {0x11: ec.SECP256R1(), 0x14: ec.SECP384R1()}


def pin_policy_from(members: dict[int, bytes]) -> PinPolicy | None:
    """The PIN policy among the members of a template, None for the slot's own; a touch policy is read over.

    Raises:
        ApduError: 6A80 for an unknown policy or member.
    """
    wanted = {tag: value for tag, value in members.items() if tag != TOUCH_POLICY}
    policy = wanted.pop(PIN_POLICY, b"\x00")
    if wanted or len(policy) != 1:
        raise ApduError(StatusWord.WRONG_DATA)
    if policy == b"\x00":
        return None
    try:
        return PinPolicy(policy[0])
    except ValueError as error:
        raise ApduError(StatusWord.WRONG_DATA) from error


def imported_slot(algorithm: int, data: bytes) -> PivSlot:
    """A slot with the private key of a data field.

    Raises:
        ApduError: 6A80 where it is none of this algorithm.
    """
    members = decoded(data)
    policies = {tag: members.pop(tag) for tag in (PIN_POLICY, TOUCH_POLICY) if tag in members}
    if any(len(value) > LONGEST_MEMBER for value in members.values()):
        raise ApduError(StatusWord.WRONG_DATA)
    numbers = {tag: int.from_bytes(value, "big") for tag, value in members.items()}
    try:
        key = _ec_key(algorithm, numbers) if algorithm in CURVES else _rsa_key(numbers)
        if algorithm_of(key) != algorithm:
            raise ApduError(StatusWord.WRONG_DATA)
    except ValueError as error:
        raise ApduError(StatusWord.WRONG_DATA) from error
    return PivSlot(key, b"", pin_policy_from(policies), imported=True)


def _ec_key(algorithm: int, numbers: dict[int, int]) -> SlotKey:
    if set(numbers) != {EC_PRIVATE}:
        raise ApduError(StatusWord.WRONG_DATA)
    return ec.derive_private_key(numbers[EC_PRIVATE], CURVES[algorithm])


def _rsa_key(numbers: dict[int, int]) -> SlotKey:
    """A key of two primes with their exponents and coefficient; the public exponent is 65537."""
    if tuple(sorted(numbers)) != RSA_MEMBERS:
        raise ApduError(StatusWord.WRONG_DATA)
    p, q, by_p, by_q, coefficient = (numbers[tag] for tag in RSA_MEMBERS)
    order = (p - 1) * (q - 1) // max(1, gcd(p - 1, q - 1))
    private = pow(RSA_EXPONENT, -1, order) if order > 1 else 0
    public = rsa.RSAPublicNumbers(RSA_EXPONENT, p * q)
    return rsa.RSAPrivateNumbers(p, q, private, by_p, by_q, coefficient, public).private_key()
