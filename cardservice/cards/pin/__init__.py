# SPDX-License-Identifier: EUPL-1.2
"""The PIN at doors and terminals: one per card holder, known here as a verifier only; wrong tries count per card."""
