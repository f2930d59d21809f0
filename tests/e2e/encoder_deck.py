# SPDX-License-Identifier: EUPL-1.2
"""Cards for a rig with an encoder: `blank 0` to `blank 7`, as they leave the factory."""

from pathlib import Path

from cardsim.card import VirtualCard
from cardsim.personalise import factory_desfire


def load_deck(_path: Path) -> dict[str, VirtualCard]:
    names = [f"blank {number}" for number in range(8)]
    return {name: VirtualCard(name, name, desfire=factory_desfire()) for name in names}
