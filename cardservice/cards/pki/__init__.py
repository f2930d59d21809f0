# SPDX-License-Identifier: EUPL-1.2
"""Certificates on cards: profiles, the two certification authorities, revocation lists and OCSP."""
