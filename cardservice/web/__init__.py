# SPDX-License-Identifier: EUPL-1.2
"""The shell of the service's HTTP side: health, metrics."""
