# SPDX-License-Identifier: EUPL-1.2
"""A small city for demonstrations and tests: people, groups, doors, cards. Everything in it is published."""
