# SPDX-License-Identifier: EUPL-1.2
"""Badges as others read them: poppler sees size, fonts and words, ZXing reads the code; hostile photos and names."""

import subprocess
from io import BytesIO
from pathlib import Path

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cardservice.cards.badges.pdf import MAX_ON_SHEETS, Badge, card_pdf, sheets_pdf
from cardservice.cards.badges.portrait import MAX_PIXELS, SIZE, portrait
from cardservice.cards.life.rules import PROFILES

pytestmark = pytest.mark.poppler

CODE = bytes.fromhex("a1b2c3d4e5f60718293a4b5c")
ANNA = Badge("Anna Schmidt-Öztürk", "Stadt Musterstadt", "3979ba7e", "standard", "01.12.2031", CODE)
LONG = "Prof. Dr. Maximiliane Freifrau von und zu Guttenberg-Łukaszewicz-Ștefănescu-Őry"


def file_of(kind: str, size: tuple[int, int] = (600, 800), **options: object) -> bytes:
    made = BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(made, kind, **options)
    return made.getvalue()


def said(tool: str, pdf: bytes, folder: Path, *options: str) -> str:
    file = folder / "badge.pdf"
    file.write_bytes(pdf)
    after = ("-",) if tool == "pdftotext" else ()
    return subprocess.run([tool, *options, file, *after], capture_output=True, text=True, check=True).stdout


def codes_in(pdf: bytes, folder: Path) -> list[str]:
    """What a reader of codes sees on the first page, printed at 300 dots an inch."""
    said("pdfinfo", pdf, folder)
    first = ("-r", "300", "-png", "-f", "1", "-l", "1")
    subprocess.run(["pdftoppm", *first, folder / "badge.pdf", folder / "page"], check=True)
    (page,) = folder.glob("page*.png")
    with Image.open(page) as image:
        return [found.text for found in zxingcpp.read_barcodes(image)]


def test_a_card_is_exactly_as_large_as_a_card_and_brings_its_fonts(tmp_path):
    """85.60 x 53.98 mm (ISO/IEC 7810, ID-1), front and back; a card printer has no fonts of its own."""
    pdf = card_pdf(ANNA)
    found = said("pdfinfo", pdf, tmp_path)
    assert "Pages:           2" in found
    assert "242.646 x 153.014 pts" in found
    fonts = said("pdffonts", pdf, tmp_path).splitlines()[2:]
    assert fonts
    assert all("DejaVu" in line and " yes yes yes" in line for line in fonts)
    assert card_pdf(ANNA) == pdf


def test_name_house_number_end_and_code_are_on_it(tmp_path):
    """What stands there can be read, by people and by a reader of codes."""
    words = said("pdftotext", card_pdf(ANNA), tmp_path)
    for text in (ANNA.name, ANNA.organisation, "Karte 3979ba7e", "gültig bis 01.12.2031", "Dienstausweis"):
        assert text in words
    assert codes_in(card_pdf(ANNA), tmp_path) == [CODE.hex().upper()]


def test_a_card_that_was_numbered_elsewhere_has_no_code(tmp_path):
    plain = Badge("Jonas Weber", "Stadt Musterstadt", "00000001", "visitor")
    assert codes_in(card_pdf(plain), tmp_path) == []
    words = said("pdftotext", card_pdf(plain), tmp_path)
    assert "Gast" in words
    assert "gültig" not in words


def test_every_profile_has_its_layout():
    for profile in PROFILES.values():
        assert card_pdf(Badge("A B", "C", "1", profile.badge)).startswith(b"%PDF")


def test_a_long_name_goes_to_a_second_line_and_is_cut_visibly(tmp_path):
    """Letters of every Latin language are there; what does not fit ends in an ellipsis, inside the card."""
    words = said("pdftotext", card_pdf(Badge(LONG, "Stadt", "1", "standard")), tmp_path)
    assert "Maximiliane" in words
    assert "…" in words
    exotic = "Łukasz ẞ őű țș Ğİ Æø Ελένη Жанна"
    assert exotic.split(maxsplit=1)[0] in said("pdftotext", card_pdf(Badge(exotic, "Stadt", "1", "standard")), tmp_path)


@given(st.text(max_size=2_000), st.text(max_size=300))
def test_no_name_breaks_a_badge(name, organisation):
    """Empty, endless, of any script, with line ends, surrogates and controls."""
    assert card_pdf(Badge(name, organisation, "1", "council")).startswith(b"%PDF")


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (10, 1), (11, 2), (MAX_ON_SHEETS, 20)])
def test_sheets_hold_ten_cards_a_page(tmp_path, count, pages):
    pdf = sheets_pdf([ANNA] * count)
    found = said("pdfinfo", pdf, tmp_path)
    assert f"Pages:           {pages}\n" in found
    assert "A4" in found
    assert said("pdftotext", pdf, tmp_path).count("Karte 3979ba7e") == count
    if count == 10:
        assert codes_in(pdf, tmp_path) == [CODE.hex().upper()] * 10


@pytest.mark.parametrize("count", [0, MAX_ON_SHEETS + 1])
def test_no_sheet_is_empty_or_endless(count):
    with pytest.raises(ValueError, match=f"1 to {MAX_ON_SHEETS}"):
        sheets_pdf([ANNA] * count)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_is_cut_to_size_and_forgets_where_it_was_taken(kind):
    """Upright as the camera held it; no comment, no place, no time is left in the file."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "canary-place"
    made = portrait(file_of(kind, (800, 400), exif=exif))
    assert made is not None
    assert b"canary" not in made
    assert b"Exif" not in made
    with Image.open(BytesIO(made)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", SIZE, "RGB")
    assert len(card_pdf(Badge("A B", "C", "1", "standard", photo=made))) > len(made)


def test_what_is_no_photo_or_too_large_is_none():
    """A bomb is seen by its header and never decoded; another format is not tried."""
    huge = BytesIO()
    Image.new("1", (MAX_PIXELS // 4_000 + 1, 4_000)).save(huge, "PNG")
    gif = BytesIO()
    Image.new("P", (10, 10)).save(gif, "GIF")
    for data in (b"", b"\xff\xd8\xff", huge.getvalue(), gif.getvalue(), file_of("JPEG")[:500], b"%PDF-1.4"):
        assert portrait(data) is None


_WHOLE = {kind: file_of(kind, (60, 80)) for kind in ("JPEG", "PNG")}


@given(st.sampled_from(sorted(_WHOLE)), st.data())
def test_no_bytes_break_a_portrait(kind, data):
    """A real photo with bytes changed, cut or added is a portrait or none."""
    whole = bytearray(_WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 12))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    made = portrait(bytes(whole[:cut]) + data.draw(st.binary(max_size=20)))
    assert made is None or made.startswith(b"\xff\xd8\xff")
