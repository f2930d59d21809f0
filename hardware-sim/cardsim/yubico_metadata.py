# SPDX-License-Identifier: EUPL-1.2
"""What Yubico's cards tell of their keys and secrets without the secrets (GET METADATA, INS F7)."""

from cardsim import tlv
from cardsim.piv_administration import ManagementKey
from cardsim.piv_keys import PivSlot, algorithm_of, pin_policy_of, public_key_objects
from cardsim.piv_reference import ReferenceData

ALGORITHM, POLICY, ORIGIN, PUBLIC_KEY, IS_DEFAULT, TRIES = (bytes([tag]) for tag in range(1, 7))
NO_TOUCH = 1
MADE_HERE, IMPORTED = b"\x01", b"\x02"
NO_ALGORITHM = b"\xff"


def reference_metadata(reference: ReferenceData, factory_value: bytes) -> bytes:
    """Of the PIN or the PUK: whether it is still the factory's, and its tries."""
    tries = bytes([reference.retries, reference.remaining])
    is_default = bytes([reference.value == factory_value])
    return tlv.encode(ALGORITHM, NO_ALGORITHM) + tlv.encode(IS_DEFAULT, is_default) + tlv.encode(TRIES, tries)


def management_metadata(key: ManagementKey, factory_key: ManagementKey) -> bytes:
    """Of the management key."""
    policy = tlv.encode(POLICY, bytes([0, NO_TOUCH]))
    return tlv.encode(ALGORITHM, bytes([key.algorithm])) + policy + tlv.encode(IS_DEFAULT, bytes([key == factory_key]))


def key_metadata(slot_number: int, slot: PivSlot) -> bytes:
    """Of the key in a slot."""
    policy = slot.pin_policy or pin_policy_of(slot_number)
    return (
        tlv.encode(ALGORITHM, bytes([algorithm_of(slot.private_key)]))
        + tlv.encode(POLICY, bytes([policy.value, NO_TOUCH]))
        + tlv.encode(ORIGIN, IMPORTED if slot.imported else MADE_HERE)
        + tlv.encode(PUBLIC_KEY, public_key_objects(slot.private_key))
    )
