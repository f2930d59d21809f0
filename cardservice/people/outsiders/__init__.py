# SPDX-License-Identifier: EUPL-1.2
"""People outside the directory: kept by the service itself, each with somebody who answers for them, and an end."""
