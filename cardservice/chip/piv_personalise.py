# SPDX-License-Identifier: EUPL-1.2
"""A fresh PIV application becomes one of ours (`docs/card-layout.md`), in two conversations.

`make_keys` changes the management key, writes CHUID and capabilities, and has the card make its keys and sign what a
certification request is. Between the two a CA issues certificates, however long that takes; `complete` writes and reads
them back, has the card prove each key, and sets PUK and PIN at the very end.

Either may end at any command and is simply begun again. The PIN is the mark of a finished card, for it is set last.
Which of the two PINs is in force is tried, and the try that costs is made good by the right one that follows; because
the order follows the counter, a card that is pulled right after a wrong try is asked for the other PIN next.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cardservice.chip.conversation import Conversation, RandomBytes
from cardservice.chip.desfire_layout import Progress, Steps, unobserved
from cardservice.chip.errors import (
    AuthenticationRefused,
    CardUnfit,
    ObjectNotFound,
    PinRefused,
    SignatureWrong,
    StatusError,
    UnfitCause,
)
from cardservice.chip.piv_formats import (
    CERTIFICATE_OF,
    ObjectId,
    Reference,
    ReferenceData,
    Slot,
    wrap_certificate,
)
from cardservice.chip.piv_keys import PublicKey, algorithm_of, digest_for, verify_signature
from cardservice.chip.piv_management import ManagementKey
from cardservice.chip.piv_plan import KeyPlan, MadeKey, PivPlan, ToBeSigned
from cardservice.chip.piv_session import PivSession

NONCE_BYTES: Final = 32

_PROOF_LABEL: Final = b"cardservice PIV personalisation 1\x00"
_MAKE_STEPS: Final = 2
_COMPLETE_STEPS: Final = 3


def make_keys(
    plan: PivPlan,
    to_be_signed: ToBeSigned,
    *,
    issued: Mapping[Slot, bytes] | None = None,
    random_bytes: RandomBytes = secrets.token_bytes,
    progress: Progress = unobserved,
) -> Conversation[tuple[MadeKey, ...]]:
    """From whatever state the card is in to keys that certificates can be issued for.

    Args:
        plan: what the card is to become.
        to_be_signed: what each new key signs; asked as soon as its public half is known.
        issued: certificates (DER) that this card has got already: a key that it still holds is not made again.
        random_bytes: source of random numbers.
        progress: told of each step: management_key, identity, one key for each of the plan.

    Returns:
        The keys that were made now, in the plan's order; none for those of `issued` that the card still holds.

    Raises:
        ApplicationNotFound: the card holds no PIV application.
        CardUnfit: a key or PIN on it is none of the plan's, or the planned management key must not be used.
        CardGone, CardNotGenuine, ProtocolError, StatusError: the card left, talked nonsense, or refused.
    """
    steps = Steps(_MAKE_STEPS + len(plan.keys), progress)
    steps.begin("management_key")
    _require_allowed(plan)
    session = yield from _open(plan, random_bytes)
    steps.begin("identity")
    for object_id, content in plan.objects():
        yield from _write(session, object_id, content)
    yield from _verify_pin(session, plan)
    made: list[MadeKey] = []
    for key in plan.keys:
        steps.begin("key")
        known = (issued or {}).get(key.slot)
        if known is None or not (yield from _holds(session, key.slot, _certified_key(known), random_bytes)):
            made.append((yield from _make(session, key, to_be_signed)))
    return tuple(made)


def complete(
    plan: PivPlan,
    certificates: Mapping[Slot, bytes],
    *,
    random_bytes: RandomBytes = secrets.token_bytes,
    progress: Progress = unobserved,
) -> Conversation[None]:
    """From keys with certificates to finished.

    Args:
        plan: what the card is to become.
        certificates: DER, one for each key of the plan.
        random_bytes: source of random numbers.
        progress: told of each step: management_key, one certificate for each key, secrets, check.

    Raises:
        ApplicationNotFound: the card holds no PIV application.
        CardUnfit: it is not where `make_keys` leaves a card, a slot holds another key than its certificate says,
            an object does not hold what was written, or the management key of the delivery still opens it.
        CardGone, CardNotGenuine, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        ValueError: a certificate is missing, or is none of a PIV key.
    """
    if set(certificates) != {key.slot for key in plan.keys}:
        raise ValueError("one certificate for each planned key is needed")
    keys = {slot: _certified_key(certificate) for slot, certificate in certificates.items()}
    steps = Steps(_COMPLETE_STEPS + len(plan.keys), progress)
    steps.begin("management_key")
    _require_allowed(plan)
    session = yield from PivSession.select()
    if not (yield from _opens(session, plan.management, random_bytes)):
        raise CardUnfit(UnfitCause.KEY, "it has not the planned management key: its keys were not made yet")
    pin = yield from _verify_pin(session, plan)
    for key in plan.keys:
        steps.begin("certificate")
        yield from _write(session, CERTIFICATE_OF[key.slot], wrap_certificate(certificates[key.slot]))
        if not (yield from _holds(session, key.slot, keys[key.slot], random_bytes)):
            raise CardUnfit(UnfitCause.CONTENT, f"slot {key.slot:02X} holds another key than its certificate says")
    steps.begin("secrets")
    if pin != plan.pin:
        yield from _set_secrets(session, plan)
    steps.begin("check")
    yield from _check(plan, random_bytes)


def _require_allowed(plan: PivPlan) -> None:
    reason = plan.management.judged_by(plan.why_forbidden)
    if reason is not None:
        raise CardUnfit(UnfitCause.KEY, f"the planned management key must not be used: {reason}")


def _open(plan: PivPlan, random_bytes: RandomBytes) -> Conversation[PivSession]:
    """A session that the card's own management key has opened; it replaces that of the delivery."""
    session = yield from PivSession.select()
    if (yield from _opens(session, plan.management, random_bytes)):
        return session
    delivered = plan.delivery.management
    if delivered is None or not (yield from _opens(session, delivered, random_bytes)):
        raise CardUnfit(UnfitCause.KEY, "its management key is neither the planned one nor that of the delivery")
    yield from plan.family.set_management_key(session, plan.management)
    session = yield from PivSession.select()
    yield from session.mutual_authenticate(plan.management, random_bytes=random_bytes)
    return session


def _opens(session: PivSession, key: ManagementKey, random_bytes: RandomBytes) -> Conversation[bool]:
    try:
        yield from session.mutual_authenticate(key, random_bytes=random_bytes)
    except AuthenticationRefused:
        return False
    return True


def _verify_pin(session: PivSession, plan: PivPlan) -> Conversation[ReferenceData]:
    """Verifies whichever of the two PINs is in force; after a wrong try the other one has its turn."""
    status = yield from session.verify_status()
    candidates = [plan.delivery.pin, plan.pin]
    if status.attempts_remaining is not None and status.attempts_remaining % 2 == 0:
        candidates.reverse()
    for pin in candidates:
        try:
            yield from session.verify(pin)
        except PinRefused:
            continue
        return pin
    raise CardUnfit(UnfitCause.KEY, "its PIN is neither the planned one nor that of the delivery")


def _make(session: PivSession, key: KeyPlan, to_be_signed: ToBeSigned) -> Conversation[MadeKey]:
    public_key = yield from session.generate_asymmetric_key_pair(key.slot, key.algorithm)
    digest = digest_for(public_key, to_be_signed(key.slot, public_key))
    signature = yield from session.sign(key.slot, public_key, digest)
    verify_signature(public_key, signature, digest, failure="the card does not hold the key that it has just made")
    return MadeKey(key.slot, public_key, signature)


def _holds(session: PivSession, slot: Slot, key: PublicKey, random_bytes: RandomBytes) -> Conversation[bool]:
    """Whether the slot's key is this one: it signs a fresh nonce. No key, or one of another algorithm, is another."""
    digest = digest_for(key, _PROOF_LABEL + random_bytes(NONCE_BYTES))
    try:
        signature = yield from session.sign(slot, key, digest)
        verify_signature(key, signature, digest, failure="another key")
    except (SignatureWrong, StatusError):
        return False
    return True


def _write(session: PivSession, object_id: ObjectId, content: bytes) -> Conversation[None]:
    """Writes an object unless it is there as it should be, and reads it back."""
    if (yield from _content(session, object_id)) == content:
        return
    yield from session.put_data(object_id, content)
    if (yield from _content(session, object_id)) != content:
        raise CardUnfit(UnfitCause.CONTENT, f"object {object_id.name} does not hold what was written")


def _content(session: PivSession, object_id: ObjectId) -> Conversation[bytes | None]:
    try:
        return (yield from session.get_data(object_id))
    except ObjectNotFound:
        return None


def _set_secrets(session: PivSession, plan: PivPlan) -> Conversation[None]:
    """The PUK, and then the PIN: as long as the PIN is that of the delivery, the PUK may be either."""
    delivery = plan.delivery
    try:
        yield from session.change_reference_data(Reference.PUK, delivery.puk, plan.puk)
    except PinRefused:
        # Set before the card was pulled; the change to itself proves it and makes the try good.
        yield from session.change_reference_data(Reference.PUK, plan.puk, plan.puk)
    yield from session.change_reference_data(Reference.PIN, delivery.pin, plan.pin)


def _check(plan: PivPlan, random_bytes: RandomBytes) -> Conversation[None]:
    """What the card has become, in a session of its own: its own secrets, and none of the delivery's."""
    session = yield from PivSession.select()
    for object_id, content in plan.objects():
        if (yield from _content(session, object_id)) != content:
            raise CardUnfit(UnfitCause.CONTENT, f"object {object_id.name} does not hold what was written")
    delivered = plan.delivery.management
    if delivered is not None and (yield from _opens(session, delivered, random_bytes)):
        raise CardUnfit(UnfitCause.LEFTOVERS, "the management key of the delivery still opens it")
    yield from session.mutual_authenticate(plan.management, random_bytes=random_bytes)
    yield from session.verify(plan.pin)
    _require_allowed(plan)


def _certified_key(certificate: bytes) -> PublicKey:
    key = x509.load_der_x509_certificate(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("the certificate's key is neither RSA nor of an elliptic curve")  # noqa: TRY004
    algorithm_of(key)
    return key
