# SPDX-License-Identifier: EUPL-1.2
"""The contract of key stores on the sealed file alone."""

from pathlib import Path

import pytest
from contracts.key_store import KeyStoreContract

from cardservice.cards.keys import sealing
from cardservice.cards.keys.keyfile import KeyFile


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyFile:
    # The real cost is tested once, in the unit tests.
    monkeypatch.setattr(sealing, "SCRYPT", {"n": 2, "r": 8, "p": 1})
    return KeyFile(tmp_path / "keys.json", lambda: b"passphrase-canary-2c71")


class TestSealed(KeyStoreContract):
    """Everything in the file."""
