# SPDX-License-Identifier: EUPL-1.2
"""The messages about a card on an encoder; `agents.messages` shows how they follow each other."""

from typing import Annotated, Literal

from pydantic import Field

from cardservice.agents.message_words import MAX_BATCH, ApduHex, DurationUs, Message, Token

ReaderName = Annotated[str, Field(min_length=1, max_length=127)]
ExchangeNumber = Annotated[int, Field(ge=0, lt=1_024)]


class EncoderState(Message):
    """Agent: one of its encoders, after the welcome and whenever something changed there.

    `visit` is made by the agent anew for every card that is laid on; None: nothing lies there.
    """

    type: Literal["encoder"] = "encoder"
    reader: ReaderName
    usable: bool
    visit: Token | None = None


class EncoderApdus(Message):
    """Centre: transmit these to the card of this visit, in order, and answer once.

    A new `conversation` begins with n=0 and a card that was powered up anew.
    """

    type: Literal["encoder.apdus"] = "encoder.apdus"
    reader: ReaderName
    visit: Token
    conversation: Token
    n: ExchangeNumber
    apdus: Annotated[tuple[ApduHex, ...], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)]


class EncoderResponses(Message):
    """Agent: the card's answers, status words included; fewer than asked for only if `gone` says why."""

    type: Literal["encoder.responses"] = "encoder.responses"
    reader: ReaderName
    conversation: Token
    n: ExchangeNumber
    responses: Annotated[tuple[ApduHex, ...], Field(max_length=MAX_BATCH, fail_fast=True)]
    took_us: DurationUs
    gone: Literal["pulled", "reader", "timeout"] | None = None


class EncoderRelease(Message):
    """Centre: nothing more is sent to the card of this visit; power it off."""

    type: Literal["encoder.release"] = "encoder.release"
    reader: ReaderName
    visit: Token
