# SPDX-License-Identifier: EUPL-1.2
"""Service accounts: systems that call the API, what each may do, and the keys they prove it with."""
