# SPDX-License-Identifier: EUPL-1.2
"""One error tree: drawn truly, closed, and free of builtins."""

import pickle
import re

import pytest

from cardservice.chip import errors
from cardservice.chip.status import desfire_refusal, iso_refusal


def tree(root: type, depth: int = 0) -> list[tuple[int, str]]:
    return [(depth, root.__name__), *(line for child in root.__subclasses__() for line in tree(child, depth + 1))]


def test_the_tree_in_the_docstring_is_the_tree():
    """Depth, name and order of every class, so that the drawing cannot go stale."""
    lines = re.findall(r"^    ([│├└─ ]*)([A-Z]\w+)", errors.__doc__, re.MULTILINE)
    drawn = [(len(branch) // 4, name) for branch, name in lines]
    assert drawn == tree(errors.ChipError)


def test_no_refusal_is_swallowed_by_a_handler_for_builtins():
    for _, name in tree(errors.ChipError):
        builtin_bases = [base for base in getattr(errors, name).__mro__ if base.__module__ == "builtins"]
        assert builtin_bases == [Exception, BaseException, object]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ProtocolError("GET DATA", "too long"), "GET DATA: too long"),
        (errors.PinRefused("VERIFY", 0x63C2, "verification failed"), "VERIFY: 63C2 (verification failed)"),
        (errors.ProofKeyUnknown(7), "no proof key of generation 7 is known, so the card cannot be proved"),
        (
            errors.CertificateRefused(errors.CertificateCause.EXPIRED, "it was valid until yesterday"),
            "card authentication certificate refused (expired): it was valid until yesterday",
        ),
    ],
)
def test_errors_say_what_happened_and_survive_pickling(error, text):
    copy = pickle.loads(pickle.dumps(error))
    assert str(error) == str(copy) == text
    assert type(error) is type(copy)


@pytest.mark.parametrize("attempts", range(16))
def test_a_refused_pin_carries_its_remaining_attempts(attempts):
    refused = iso_refusal("VERIFY", 0x63C0 | attempts)
    assert isinstance(refused, errors.PinRefused)
    assert refused.attempts_remaining == attempts


@pytest.mark.parametrize(
    ("sw", "error"),
    [
        (0x6982, errors.SecurityStatusNotSatisfied),
        (0x6983, errors.ReferenceDataBlocked),
        (0x6A82, errors.ObjectNotFound),
        (0x6A88, errors.ObjectNotFound),
        (0x6D00, errors.StatusError),
    ],
)
def test_iso_status_words(sw, error):
    assert type(iso_refusal("GET DATA", sw)) is error
    assert type(desfire_refusal("READ_DATA", sw)) is error


def test_every_status_word_has_an_error():
    for sw in range(0x10000):
        for refusal in (iso_refusal, desfire_refusal):
            error = refusal("X", sw)
            assert isinstance(error, errors.StatusError)
            assert error.sw == sw
