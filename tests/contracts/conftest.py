# SPDX-License-Identifier: EUPL-1.2
"""What every kind of directory source is given."""

from pathlib import Path

import pytest
from support.slapd import make_tls_files


@pytest.fixture
def foreign_ca_file(tmp_path: Path) -> Path:
    """An authority that signed nothing."""
    make_tls_files(tmp_path / "foreign")
    return tmp_path / "foreign" / "ca.pem"
