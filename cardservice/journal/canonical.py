# SPDX-License-Identifier: EUPL-1.2
"""The one text of an entry's payload, by pydantic's writer of JSON: the standard library's takes six times as long."""

from collections.abc import Mapping
from typing import Final

import pydantic_core

from cardservice.journal.rules import Scalar

MAX_PAYLOAD_BYTES: Final = 16 * 1024


def canonical(payload: Mapping[str, Scalar]) -> str:
    """Return the one text of `payload`: JSON, keys sorted, no spaces (in the manner of RFC 8785 for flat objects).

    Raises:
        ValueError: longer than 16 KiB, or no Unicode.
    """
    # Already sorted, as the line of a tap is, costs almost nothing.
    text = pydantic_core.to_json(dict(sorted(payload.items())) if _unsorted(payload) else payload)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a journal payload of {len(text)}; at most {MAX_PAYLOAD_BYTES} bytes are kept")
    return text.decode()


def _unsorted(payload: Mapping[str, Scalar]) -> bool:
    names = [*payload]
    return names != sorted(names)
