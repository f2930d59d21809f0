# SPDX-License-Identifier: EUPL-1.2
"""Reference client for facilities: lists doors, opens one, locks down, follows events, over the public REST API."""

from integrations.facility.client import Facility, FacilityError

__all__ = ["Facility", "FacilityError"]
