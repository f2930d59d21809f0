# SPDX-License-Identifier: EUPL-1.2
"""Photos of people: what is accepted as one."""
