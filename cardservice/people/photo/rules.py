# SPDX-License-Identifier: EUPL-1.2
"""What a photo of a person is, wherever it comes from: small, whole, JPEG or PNG. Pure.

A photo is personal data of its own kind and large: it is no part of any copy, and is read when somebody needs it.
"""

from dataclasses import dataclass, field
from typing import Final

from cardservice.errors import CardServiceError

MAX_PHOTO_BYTES: Final = 512 * 1024
# How the first and last bytes of a whole file look (JPEG: ISO/IEC 10918-1, B.1.1.3; PNG: ISO/IEC 15948, 5.2, 11.2.5).
_FORMATS: Final = (
    ("image/jpeg", b"\xff\xd8\xff", b"\xff\xd9"),
    ("image/png", b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x00IEND\xaeB`\x82"),
)


class PhotoUnusable(CardServiceError):
    """There is a photo, and it is too large, cut off, or of a format that is not read."""

    exit_code = 65
    code = "photo_unusable"


@dataclass(frozen=True, slots=True)
class Photo:
    """A whole file of a known format."""

    media_type: str
    data: bytes = field(repr=False)


def read_photo(data: bytes) -> Photo:
    """Return the photo that these bytes are; they are looked at from outside, not decoded.

    Raises:
        PhotoUnusable: more than 512 KiB, or not one whole JPEG or PNG file.
    """
    if len(data) > MAX_PHOTO_BYTES:
        raise PhotoUnusable(f"the photo has {len(data)} bytes; at most {MAX_PHOTO_BYTES} are read")
    for media_type, first, last in _FORMATS:
        if not data.startswith(first):
            continue
        if not data.endswith(last) or len(data) < len(first) + len(last):
            raise PhotoUnusable(f"the photo begins as {media_type} and does not end as one: it was cut off")
        return Photo(media_type, data)
    raise PhotoUnusable("the photo is neither JPEG nor PNG")
