# SPDX-License-Identifier: EUPL-1.2
"""A directory's photo as a badge shows it: bounded before it is decoded, upright, cut to size, without what it carried.

Whatever somebody stored as their photo is hostile until it is decoded: other bytes are no photo, never an error.
"""

from io import BytesIO
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

# 35 x 45 mm as on passports, at 300 dots an inch.
SIZE: Final = (413, 531)
MAX_PIXELS: Final = 24_000_000
_QUALITY: Final = 88
# All that the decoders of two formats raise for bytes that are none (Pillow has no error class of its own for them).
_BROKEN: Final = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError)


def portrait(data: bytes) -> bytes | None:
    """Return a JPEG of `SIZE` in colour without any metadata, None if `data` is no photo that can be shown."""
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return None
            # A large JPEG is decoded at the fraction of its size that is enough.
            image.draft("RGB", (2 * SIZE[0], 2 * SIZE[1]))
            upright = ImageOps.exif_transpose(image)
            shown = ImageOps.fit(upright.convert("RGB"), SIZE, centering=(0.5, 0.3))
    except _BROKEN:
        return None
    made = BytesIO()
    # A new image: comments, places and times of the file are not printed on anybody's card.
    Image.frombytes("RGB", SIZE, shown.tobytes()).save(made, "JPEG", quality=_QUALITY)
    return made.getvalue()
