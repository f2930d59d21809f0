# SPDX-License-Identifier: EUPL-1.2
"""A desk with an encoder for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.cards.encoding.encoder_desk import Desk, migrated, opened


@pytest.fixture(scope="session")
def encoding_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated(tmp_path_factory.mktemp("encoding") / "template")


@pytest.fixture
def desk(tmp_path: Path, encoding_template: Path) -> Iterator[Desk]:
    with opened(tmp_path / "stores", encoding_template) as made:
        yield made
