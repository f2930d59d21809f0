# SPDX-License-Identifier: EUPL-1.2
"""A PDF of one page that says one line: something to print."""

from typing import Final

_OBJECTS: Final = (
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>",
    "<< /Length {length} >>\nstream\n{text}\nendstream",
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
)


def one_page(line: str) -> bytes:
    """Return the page; `line` loses what is not plain ASCII or has a meaning in PDF (ISO 32000-1 section 7.3.4.2)."""
    plain = "".join(sign for sign in line if sign.isascii() and sign.isprintable() and sign not in "()\\")
    text = f"BT /F 24 Tf 72 720 Td ({plain}) Tj ET"
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(_OBJECTS, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body.format(length=len(text), text=text)}\nendobj\n".encode()
    start = len(data)
    data += f"xref\n0 {len(_OBJECTS) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    return data + f"trailer\n<< /Size {len(_OBJECTS) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
