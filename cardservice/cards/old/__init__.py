# SPDX-License-Identifier: EUPL-1.2
"""Cards from before: their numbers count beside the new ones, building by building, each until a day that is set."""
