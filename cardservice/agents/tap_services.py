# SPDX-License-Identifier: EUPL-1.2
"""What taps need of everything around them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cardservice.access.rules import Use
from cardservice.access.snapshot import Snapshot
from cardservice.agents import proof
from cardservice.agents.both_cards import HandBack
from cardservice.agents.live_check import PeopleNow
from cardservice.agents.live_taps import LiveTaps
from cardservice.agents.pins import PinDesk
from cardservice.agents.places import Place
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.clock import Clock
from cardservice.journal.service import Journal
from cardservice.metrics import Metrics
from cardservice.recorder import Recorder


class Keys(proof.Keys, Protocol):
    """What a tap needs of the key store."""

    def secret(self, purpose: str) -> bytes:
        """Return the service's own secret for `purpose`."""
        ...


class Directory(Protocol):
    """What a tap needs to know of the directory copy."""

    def age_ms_of(self, person: int) -> int:
        """Return how long ago the copy that knows a person (a row number) was last proved; of nobody's, the oldest."""
        ...

    def source(self) -> str:
        """Return server, mode and cookie of the copy."""
        ...


class SnapshotSource(Protocol):
    """Where the current snapshot is."""

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot as it is now."""
        ...

    def age_ms(self) -> int:
        """Return how long ago the change log was last read to its end."""
        ...


@dataclass(frozen=True, slots=True)
class TapServices:
    """What every tap uses; put together once."""

    city: SnapshotSource
    directory: Directory
    keys: Keys
    trust: CardAuthTrust
    recorder: Recorder
    journal: Journal
    metrics: Metrics
    clock: Clock
    places: Mapping[Use, Place] = field(default_factory=dict)
    # None: nobody is asked for a PIN.
    pins: PinDesk | None = None
    # None: a forgotten card comes back at the desk alone.
    hand_backs: HandBack | None = None
    # None: points that want the directory itself asked permit nobody.
    people_now: PeopleNow | None = None
    # Where people see them who watch.
    live: LiveTaps = field(default_factory=LiveTaps)
    # Told which generation of keys a card has proved.
    proved: proof.KeepGeneration = proof.nobody_asks

    def age_ms_of(self, person: int) -> int:
        """Return how old what a person (a row number) is decided by is.

        What is not known since the directory or the change log fell silent counts alike.
        """
        return max(self.directory.age_ms_of(person), self.city.age_ms())
