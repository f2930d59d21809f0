# SPDX-License-Identifier: EUPL-1.2
"""Virtual dual-interface employee cards: DESFire EV3 (contactless) and PIV (contact) in one process.

The package is the independent counterpart of the card language of the service. It knows only the card layout,
the standards and published vectors; it imports nothing of the service.
"""
