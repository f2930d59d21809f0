# SPDX-License-Identifier: EUPL-1.2
"""A real cupsd with the shipped policies and two simulated printers, fresh for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from integrations.cups import POLICIES, CupsSettings, CupsSpooler
from rig.cups import Cups


@pytest.fixture
def cups() -> Iterator[Cups]:
    with Cups(POLICIES) as started:
        yield started


@pytest_asyncio.fixture
async def spooler(cups: Cups) -> AsyncIterator[CupsSpooler]:
    opened = CupsSpooler(CupsSettings(socket=cups.socket))
    yield opened
    await opened.close()
