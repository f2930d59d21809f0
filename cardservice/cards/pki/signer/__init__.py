# SPDX-License-Identifier: EUPL-1.2
"""The process of its own that has the logon authority's key, and the way the service asks it."""
