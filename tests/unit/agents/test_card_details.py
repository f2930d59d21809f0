# SPDX-License-Identifier: EUPL-1.2
"""What a refused card did is one code of a closed list, whatever error the card language raises."""

import pytest

from cardservice.agents.card_details import CardDetail, detail_of
from cardservice.chip import errors as chip


def leaves(kind: type[chip.ChipError]) -> set[type[chip.ChipError]]:
    """A class of errors with all below it."""
    return {kind}.union(*(leaves(one) for one in kind.__subclasses__()))


def an_error(kind: type[chip.ChipError]) -> chip.ChipError:
    """An error of a class, with the arguments it takes."""
    if issubclass(kind, chip.StatusError):
        return kind("SELECT", 0x6F01, "anything")
    if issubclass(kind, chip.ProtocolError):
        return kind("SELECT", "anything")
    if kind is chip.ProofKeyUnknown:
        return chip.ProofKeyUnknown(7)
    if kind is chip.CertificateRefused:
        return chip.CertificateRefused(chip.CertificateCause.EXPIRED, "anything")
    if kind is chip.CardUnfit:
        return chip.CardUnfit(chip.UnfitCause.CHIP, "anything")
    return kind("anything")


def test_every_error_of_the_card_language_has_a_code():
    """Also one that nobody has thought of; most errors have a code that no other has."""
    found = {kind: detail_of(an_error(kind)) for kind in leaves(chip.ChipError)}
    assert set(found.values()) <= set(CardDetail)
    assert len(set(found.values())) >= 22


@pytest.mark.parametrize("cause", chip.CertificateCause)
def test_every_cause_of_a_refused_certificate_has_its_own_code(cause):
    assert detail_of(chip.CertificateRefused(cause, "anything")).value == f"certificate_{cause.value}"


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (chip.ApplicationNotFound("SELECT_APPLICATION", 0x91A0, ""), CardDetail.APPLICATION_MISSING),
        (chip.ApplicationNotFound("SELECT_APPLICATION", 0x6D00, ""), CardDetail.CLASS_NOT_SUPPORTED),
        (chip.StatusError("AUTHENTICATE_EV2_FIRST", 0x911C, ""), CardDetail.COMMAND_UNKNOWN),
        (chip.StatusError("READ_DATA", 0x91BE, ""), CardDetail.FILE_LENGTH),
        (chip.AuthenticationRefused("AUTHENTICATE_EV2_FIRST", 0x91AE, ""), CardDetail.LOCATE_REFUSED),
        (chip.AuthenticationRefused("READ_DATA", 0x91AE, ""), CardDetail.FILE_REFUSED),
        (chip.PermissionDenied("READ_DATA", 0x919D, ""), CardDetail.FILE_REFUSED),
        (chip.StatusError("GENERAL AUTHENTICATE", 0x6982, ""), CardDetail.STATUS_UNEXPECTED),
        (chip.CardSilent("x"), CardDetail.CARD_SILENT),
        (chip.ReaderFailed("x"), CardDetail.READER_FAILED),
        (chip.CardGone("x"), CardDetail.CARD_REMOVED),
        (chip.CardNotGenuine("x"), CardDetail.LOCATE_WRONG),
        (chip.ProofWrong("x"), CardDetail.PROOF_WRONG),
        (chip.ProtocolError("conversation", "x"), CardDetail.ANSWER_MALFORMED),
    ],
)
def test_what_can_be_told_apart_is(error, detail):
    assert detail_of(error) is detail
