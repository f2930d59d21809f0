# SPDX-License-Identifier: EUPL-1.2
"""Reference client for tills: pays with the city card over the public REST API, and never twice."""

from integrations.till.client import Outcome, Till, TillError, UnknownOutcome

__all__ = ["Outcome", "Till", "TillError", "UnknownOutcome"]
