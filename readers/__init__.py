# SPDX-License-Identifier: EUPL-1.2
"""Programs that run beside readers: one agent process per pcscd, its outbox and its channel to the centre."""

__version__ = "0.1.0"
