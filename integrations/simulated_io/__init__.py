# SPDX-License-Identifier: EUPL-1.2
"""Simulated doors for demonstration and tests: they pulse, show and break down like real ones, and tell an observer."""

from integrations.simulated_io.door import SimulatedDoor, build, open_outputs

__all__ = ["SimulatedDoor", "build", "open_outputs"]
