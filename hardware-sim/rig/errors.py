# SPDX-License-Identifier: EUPL-1.2
"""Everything the rig can refuse or fail at.

::

    RigError
    ├── RequestError              what was asked does not fit: the message says what is allowed
    │   ├── UnknownReaderError
    │   ├── UnknownCardError
    │   ├── SlotOccupiedError     another card is in the reader
    │   ├── SlotEmptyError        there is no card to take out
    │   └── CardElsewhereError    the card is in a reader already
    ├── ReaderUnavailableError    the reader is unplugged
    ├── CardError                 talking to a card failed
    │   ├── CardRemovedError      no card, or it left before its answer arrived
    │   ├── CardNotPoweredError   power_on comes first
    │   └── CardFaultError        the virtual card itself broke; it is taken out
    ├── BankClosedError           the rig is being stopped
    ├── ReadersFileError          the description of the readers is wrong
    ├── RunDirError               the run directory cannot be used
    ├── NamespaceRefusedError     this machine grants no private namespaces
    ├── PcscdUnavailableError     something is missing to run pcscd; one sentence says what
    ├── PcscdFailedError          pcscd was started and did not become ready
    ├── CupsUnavailableError      something is missing to run CUPS; one sentence says what
    ├── CupsFailedError           a part of it did not start, or refused what it was asked
    ├── SessionsUnavailableError  something is missing to run a desk with sessions; one sentence says what
    ├── SessionsFailedError       a part of it did not start, or does not say what is on its screen
    ├── SlapdFailedError          slapd did not start, or does not run
    ├── Ds389FailedError          a program of 389-ds is missing or failed, or the server does not run
    ├── SambaFailedError          a program of Samba is missing or failed, or the server does not run
    ├── PostgresUnavailableError  something is missing to run PostgreSQL; one sentence says what
    ├── PostgresFailedError       one of its programs failed
    └── ControlError              the rig cannot be reached or answered with an error
"""


class RigError(Exception):
    """Root of all errors of the rig."""


class RequestError(RigError):
    """What was asked does not fit the present state."""


class UnknownReaderError(RequestError):
    """No reader has this name."""


class UnknownCardError(RequestError):
    """No card of the deck has this name."""


class SlotOccupiedError(RequestError):
    """Another card is in the reader."""


class SlotEmptyError(RequestError):
    """There is no card in the reader."""


class CardElsewhereError(RequestError):
    """The card is in a reader already."""


class ReaderUnavailableError(RigError):
    """The reader is unplugged."""


class CardError(RigError):
    """Talking to a card failed."""


class CardRemovedError(CardError):
    """There is no card, or it left before its answer arrived."""


class CardNotPoweredError(CardError):
    """The card has no power yet."""


class CardFaultError(CardError):
    """The virtual card itself broke; it has been taken out."""


class BankClosedError(RigError):
    """The rig is being stopped."""


class ReadersFileError(RigError):
    """The description of the readers is wrong."""


class RunDirError(RigError):
    """The run directory cannot be used."""


class NamespaceRefusedError(RigError):
    """This machine grants no private namespaces."""


class PcscdUnavailableError(RigError):
    """Something is missing to run pcscd."""


class PcscdFailedError(RigError):
    """Pcscd was started and did not become ready."""


class CupsUnavailableError(RigError):
    """Something is missing to run CUPS."""


class CupsFailedError(RigError):
    """A part of it did not start, or refused what it was asked."""


class SessionsUnavailableError(RigError):
    """Something is missing to run a desk with sessions."""


class SessionsFailedError(RigError):
    """A part of a desk with sessions did not start, or does not say what is on its screen."""


class SlapdFailedError(RigError):
    """Slapd did not start, or does not run."""


class Ds389FailedError(RigError):
    """A program of 389-ds is missing or failed, or the server does not run."""


class SambaFailedError(RigError):
    """A program of Samba is missing or failed, or the server does not run."""


class PostgresUnavailableError(RigError):
    """Something is missing to run PostgreSQL."""


class PostgresFailedError(RigError):
    """One of PostgreSQL's programs failed."""


class ControlError(RigError):
    """The rig cannot be reached, or it answered with an error."""
