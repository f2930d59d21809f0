# SPDX-License-Identifier: EUPL-1.2
"""Many cards at once: lists that are checked before anything is made, and batches that go on after a restart."""
