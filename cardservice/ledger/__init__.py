# SPDX-License-Identifier: EUPL-1.2
"""Double-entry bookkeeping in the record store: nothing is changed, nothing is removed, everything adds up to 0."""
