# SPDX-License-Identifier: EUPL-1.2
"""Errors of the virtual cards.

::

    CardSimError
    ├── CardPulled             the card left the reader in the middle of a dialogue
    ├── DeckError              a deck file breaks its schema; the message names the place
    ├── PersonalisationError   a card cannot be made from the given parameters
    ├── CardRefused            seen by the small test reader: a card answered with an error (module reader)
    ├── ApduError              inside a card: ends a command with an ISO status word (module apdu)
    └── DesfireError           inside a card: ends a command with a DESFire status (module desfire_status)
"""


class CardSimError(Exception):
    """Root of all errors of the virtual cards."""


class CardPulled(CardSimError):
    """The card left the reader; no answer exists."""


class DeckError(CardSimError):
    """A deck file breaks its schema."""


class PersonalisationError(CardSimError):
    """The parameters cannot make a card."""
