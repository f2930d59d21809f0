# SPDX-License-Identifier: EUPL-1.2
"""Badges as PDF: one card of the size ID-1 (ISO/IEC 7810: 85.60 x 53.98 mm) with front and back, or sheets of fronts.

The code on the front (QR, ISO/IEC 18004) is the badge number: what finds the keys of a card again that was erased or
pulled away. The texts are the house's, in German, like the card.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

from reportlab.graphics.barcode.qrencoder import QRAlphaNum, QRCode, QRErrorCorrectLevel
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

WIDTH: Final = 85.60 * mm
HEIGHT: Final = 53.98 * mm
MAX_ON_SHEETS: Final = 200
_COLUMNS: Final = 2
_ROWS: Final = 5
_GAP: Final = 2 * mm
_MARK: Final = 4 * mm
_PHOTO: Final = (22 * mm, 28.3 * mm)
_CODE: Final = 15 * mm
_EDGE: Final = 4 * mm
_BAND: Final = 11 * mm
_FONT, _BOLD = "badge", "badge-bold"
_INK: Final = HexColor(0x1B1F24)
_SOFT: Final = HexColor(0x57606A)
_BLANK: Final = HexColor(0xD0D7DE)
_WHITE: Final = HexColor(0xFFFFFF)
# The band says from afar what somebody is: its colour and word, by the layout of the card's profile.
_LAYOUTS: Final = {
    "standard": (HexColor(0x0B5CAD), "Dienstausweis"),
    "council": (HexColor(0x7A1F3D), "Ratsmitglied"),
    "visitor": (HexColor(0x8A5A00), "Gast"),
}
_LARGEST, _SMALLEST = 13.0, 7.5
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Badge:
    """What one card shows. `code` are the 12 bytes of the badge number, None for a card that was numbered elsewhere.

    `photo` is a JPEG as `portrait` makes it; `layout` is that of the card's profile.
    """

    name: str
    organisation: str
    number: str
    layout: str
    until: str | None = None
    code: bytes | None = None
    photo: bytes | None = None


def card_pdf(badge: Badge) -> bytes:
    """Return one card: its front and its back, each a page of exactly its size, without margins."""
    made, canvas = _begin((WIDTH, HEIGHT))
    _draw_front(canvas, badge)
    canvas.showPage()
    _draw_back(canvas, badge)
    canvas.showPage()
    canvas.save()
    return made.getvalue()


def sheets_pdf(badges: Sequence[Badge]) -> bytes:
    """Return the fronts on pages of A4 with marks to cut along, ten to a page.

    Raises:
        ValueError: none, or more than `MAX_ON_SHEETS`.
    """
    if not 1 <= len(badges) <= MAX_ON_SHEETS:
        raise ValueError(f"1 to {MAX_ON_SHEETS} badges fit on sheets, not {len(badges)}")
    made, canvas = _begin(A4)
    places = list(_places())
    for first in range(0, len(badges), len(places)):
        for badge, (x, y) in zip(badges[first : first + len(places)], places, strict=False):
            canvas.saveState()
            canvas.translate(x, y)
            _draw_front(canvas, badge)
            canvas.restoreState()
        _draw_marks(canvas, places)
        canvas.showPage()
    canvas.save()
    return made.getvalue()


def _begin(size: tuple[float, float]) -> tuple[BytesIO, Canvas]:
    _load_fonts()
    made = BytesIO()
    # Invariant: no time and no random number in the file, so that the same badge is the same file.
    canvas = Canvas(made, pagesize=size, invariant=1, initialFontName=_FONT, pageCompression=1)
    canvas.setTitle("Ausweis")
    return made, canvas


@cache
def _load_fonts() -> None:
    """Load the fonts, which have the letters of every language that is written in Latin, Greek or Cyrillic."""
    folder = Path(__file__).parent / "fonts"
    pdfmetrics.registerFont(TTFont(_FONT, folder / "DejaVuSans.ttf"))
    pdfmetrics.registerFont(TTFont(_BOLD, folder / "DejaVuSans-Bold.ttf"))


def _places() -> Iterator[tuple[float, float]]:
    """Yield the lower left corners of a page's badges, from the top left on."""
    left = (A4[0] - _COLUMNS * WIDTH - (_COLUMNS - 1) * _GAP) / 2
    top = (A4[1] + _ROWS * HEIGHT + (_ROWS - 1) * _GAP) / 2
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            yield left + column * (WIDTH + _GAP), top - HEIGHT - row * (HEIGHT + _GAP)


def _draw_marks(canvas: Canvas, places: Sequence[tuple[float, float]]) -> None:
    """Draw lines outside the badges, where a guillotine is set."""
    canvas.setStrokeColor(_SOFT)
    canvas.setLineWidth(0.25)
    edges_x = sorted({edge for x, _ in places for edge in (x, x + WIDTH)})
    edges_y = sorted({edge for _, y in places for edge in (y, y + HEIGHT)})
    for x in edges_x:
        canvas.line(x, edges_y[0] - _MARK, x, edges_y[0] - 1 * mm)
        canvas.line(x, edges_y[-1] + 1 * mm, x, edges_y[-1] + _MARK)
    for y in edges_y:
        canvas.line(edges_x[0] - _MARK, y, edges_x[0] - 1 * mm, y)
        canvas.line(edges_x[-1] + 1 * mm, y, edges_x[-1] + _MARK, y)


def _draw_front(canvas: Canvas, badge: Badge) -> None:
    colour, word = _LAYOUTS[badge.layout]
    canvas.setFillColor(colour)
    canvas.rect(0, HEIGHT - _BAND, WIDTH, _BAND, stroke=0, fill=1)
    canvas.setFillColor(_WHITE)
    half = (WIDTH - 3 * _EDGE) / 2
    _write(canvas, badge.organisation, (_EDGE, HEIGHT - 7 * mm), half, (_BOLD, 10))
    canvas.setFont(_FONT, 9)
    canvas.drawRightString(WIDTH - _EDGE, HEIGHT - 7 * mm, word)
    photo_y = HEIGHT - _BAND - 3 * mm - _PHOTO[1]
    _draw_photo(canvas, badge.photo, (_EDGE, photo_y))
    x, top = 2 * _EDGE + _PHOTO[0], HEIGHT - _BAND - 9 * mm
    canvas.setFillColor(_INK)
    _write_name(canvas, badge.name, (x, top), WIDTH - x - _EDGE)
    canvas.setFillColor(_SOFT)
    room = WIDTH - x - 2 * _EDGE - _CODE
    _write(canvas, f"Karte {badge.number}", (x, top - 9 * mm), room, (_FONT, 9))
    if badge.until is not None:
        _write(canvas, f"gültig bis {badge.until}", (x, top - 14 * mm), room, (_FONT, 9))
    if badge.code is not None:
        _draw_code(canvas, badge.code, (WIDTH - _EDGE - _CODE, _EDGE))


def _draw_back(canvas: Canvas, badge: Badge) -> None:
    canvas.setFillColor(_INK)
    room = WIDTH - 2 * _EDGE
    lines = ("Gefunden? Bitte bei der Ausgabestelle abgeben:", badge.organisation, f"Karte {badge.number}")
    for number, line in enumerate(lines):
        _write(canvas, line, (_EDGE, HEIGHT / 2 + (4 - 6 * number) * mm), room, (_BOLD if number == 1 else _FONT, 9))


def _draw_photo(canvas: Canvas, photo: bytes | None, at: tuple[float, float]) -> None:
    width, height = _PHOTO
    x, y = at
    if photo is not None:
        canvas.drawImage(ImageReader(BytesIO(photo)), x, y, width, height)
        return
    canvas.setFillColor(_BLANK)
    canvas.rect(x, y, width, height, stroke=0, fill=1)
    canvas.setFillColor(_WHITE)
    canvas.circle(x + width / 2, y + 0.64 * height, 0.22 * width, stroke=0, fill=1)
    canvas.ellipse(x + 0.17 * width, y - 0.16 * height, x + 0.83 * width, y + 0.4 * height, stroke=0, fill=1)
    # What the shoulders have below the picture's edge.
    canvas.rect(x, y - 0.17 * height, width, 0.17 * height, stroke=0, fill=1)


def _draw_code(canvas: Canvas, code: bytes, at: tuple[float, float]) -> None:
    # Capital letters and digits need fewer modules than any bytes; M: 15 % of them may be scratched.
    symbol = QRCode(None, QRErrorCorrectLevel.M)
    symbol.addData(QRAlphaNum(code.hex().upper()))
    symbol.make()
    count = symbol.getModuleCount()
    side = _CODE / count
    canvas.setFillColor(_INK)
    path = canvas.beginPath()
    for row in range(count):
        for column in range(count):
            if symbol.isDark(row, column):
                path.rect(at[0] + column * side, at[1] + (count - 1 - row) * side, side, side)
    canvas.drawPath(path, stroke=0, fill=1)


def _write_name(canvas: Canvas, name: str, at: tuple[float, float], room: float) -> None:
    """Write a name, on two lines where one would be too small to read at arm's length."""
    line = _printable(name)
    words = line.split()
    if len(words) < 2 or pdfmetrics.stringWidth(line, _BOLD, _LARGEST - 2) <= room:
        _write(canvas, line, at, room, (_BOLD, _LARGEST))
        return
    halves = [(" ".join(words[:end]), " ".join(words[end:])) for end in range(1, len(words))]
    upper, lower = min(halves, key=lambda half: max(pdfmetrics.stringWidth(part, _BOLD, 10) for part in half))
    _write(canvas, upper, (at[0], at[1] + 2 * mm), room, (_BOLD, _LARGEST - 2))
    _write(canvas, lower, (at[0], at[1] - 3 * mm), room, (_BOLD, _LARGEST - 2))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST])


def _write(canvas: Canvas, text: str, at: tuple[float, float], room: float, style: tuple[str, float]) -> None:
    """Write one line in a font and size: smaller as far as it can be read, then cut off with an ellipsis."""
    font, size = style
    line = _printable(text)
    while size > _SMALLEST and pdfmetrics.stringWidth(line, font, size) > room:
        size -= 0.5
    if pdfmetrics.stringWidth(line, font, size) > room:
        while line and pdfmetrics.stringWidth(f"{line}…", font, size) > room:
            line = line[:-1]
        line = f"{line.rstrip()}…"
    canvas.setFont(font, size)
    canvas.drawString(*at, line)
