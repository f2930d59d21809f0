# SPDX-License-Identifier: EUPL-1.2
"""Structured logs: fixed event names, one JSON object a line on standard error. Never names, numbers or secrets."""

import logging
import sys
from typing import Literal

import structlog


def configure(level: str, form: Literal["json", "text"]) -> None:
    """Write events of `level` and above, as JSON or as text for people."""
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
