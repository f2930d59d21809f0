# SPDX-License-Identifier: EUPL-1.2
"""The errors the service raises on purpose, one tree.

    CardServiceError
    +-- SettingsError            a setting is missing, mistyped or contradicts another
    +-- DatabaseError
    |   +-- MigrationMissing     the database is not at the revision this program was written for
    |   +-- DatabaseUnavailable  locked, read-only, full, unreachable
    +-- Overloaded               a bounded queue is full; try again after `retry_after_s`
    +-- NotFound                 what was named does not exist
    +-- Conflict                 contradicts what is already stored
    +-- AgentAway                an agent is not connected: nothing was asked of it
    +-- AgentSilent              an agent was asked and did not answer in time: it may have done it
    +-- KeyStoreError            the key store cannot be opened, or refuses a key
    +-- JournalBroken            the journal's chain does not verify
    +-- BelowFloor               an account would hold less than it may
    +-- LedgerBroken             the ledger does not add up
    +-- BackupBroken             a backup is damaged, or could not be taken

Each carries one clear message: what was wrong, where, what is allowed, what to do. Never a secret.
"""


class CardServiceError(Exception):
    """Root of the tree; `exit_code` is for the command line, `code` what an API calls it (None: by its kind)."""

    exit_code = 1
    code: str | None = None


class SettingsError(CardServiceError):
    """A setting is missing, mistyped or contradicts another."""

    exit_code = 78


class DatabaseError(CardServiceError):
    """The database cannot be used."""

    exit_code = 74


class MigrationMissing(DatabaseError):
    """The database is not at the revision this program was written for."""


class DatabaseUnavailable(DatabaseError):
    """The database is locked, read-only, full or unreachable."""


class Overloaded(CardServiceError):
    """A bounded queue is full."""

    exit_code = 75

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotFound(CardServiceError):
    """What was named does not exist."""

    exit_code = 66


class Conflict(CardServiceError):
    """Contradicts what is already stored."""

    exit_code = 65


class AgentAway(CardServiceError):
    """An agent is not connected: nothing was asked of it."""

    exit_code = 69


class AgentSilent(CardServiceError):
    """An agent was asked and did not answer in time: it may have done it."""

    exit_code = 75


class KeyStoreError(CardServiceError):
    """The key store cannot be opened, or refuses a key."""

    exit_code = 77


class JournalBroken(CardServiceError):
    """The journal's chain does not verify."""

    exit_code = 70


class BelowFloor(CardServiceError):
    """An account would hold less than it may."""

    exit_code = 65


class LedgerBroken(CardServiceError):
    """The ledger does not add up."""

    exit_code = 70


class BackupBroken(CardServiceError):
    """A backup is damaged, or could not be taken."""

    exit_code = 65
