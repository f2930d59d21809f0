# SPDX-License-Identifier: EUPL-1.2
"""How the agent's own process logs: one line per event on standard error, fixed event names, UTC times.

What is logged never contains APDUs, answers to reset, keys, or anything that identifies a card or a person.
"""

import logging
import sys
from typing import Literal

import structlog


def configure(log_format: Literal["json", "console"], level: str) -> None:
    """Set up structlog and the standard library's logging for this process."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    tracebacks = [structlog.processors.format_exc_info] if log_format == "json" else []
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *tracebacks,
            renderer,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=level.upper(), force=True)
    # The channel tells about its connection itself; frames must not end up in a log at debug level.
    logging.getLogger("websockets").setLevel(logging.WARNING)


def is_worth_a_line(count: int) -> bool:
    """Tell whether what has happened `count` times is logged again: at 0, 1, 2, 4, 8 ..., so that no log fills up."""
    return count & (count - 1) == 0
