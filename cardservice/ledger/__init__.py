# SPDX-License-Identifier: EUPL-1.2
"""Double-entry bookkeeping in the record store: no amount is changed or removed, everything adds up to 0."""
