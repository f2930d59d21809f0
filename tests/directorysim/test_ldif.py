# SPDX-License-Identifier: EUPL-1.2
"""LDIF content is read with folding, comments and base64; everything else is refused by line number."""

from pathlib import Path

import pytest

from directorysim import LdifError
from directorysim.ldif import parse_ldif, read_ldif


def test_content_records_are_read() -> None:
    """Plain, base64, folded and empty values, comments (folded, too) and several records."""
    data = (
        b"version: 1\n# a comment\n  that goes on\ndn: cn=a,dc=corp\ncn: a\nsn:: w6Q=\n"
        b"description: one\n  two\nmail:\nmail: x\r\n\n\ndn:: Y249w6QsZGM9Y29ycA==\nobjectClass: person"
    )
    assert parse_ldif(data) == [
        ("cn=a,dc=corp", {"cn": [b"a"], "sn": ["ä".encode()], "description": [b"one two"], "mail": [b"", b"x"]}),
        ("cn=ä,dc=corp", {"objectClass": [b"person"]}),
    ]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"cn: a\n", "line 1: a record starts with dn"),
        (b"dn: cn=a\nchangetype: delete\n", "line 2: changetype"),
        (b"dn: cn=a\njpegPhoto:< file:///etc/passwd\n", "line 2: jpegPhoto comes from a URL"),
        (b"dn: cn=a\nnonsense\n", "line 2: not of the form"),
        (b"dn: cn=a\ncn:: %%%\n", "line 2: not base64"),
        (b" x\n", "line 1: continues nothing"),
        (b"dn: cn=a\n\n x\n", "line 3: continues nothing"),
        (b"version: 2\n", "version 1"),
        (b"dn:: /w==\n", "line 1: the name is not UTF-8"),
    ],
)
def test_everything_else_is_refused(data: bytes, complaint: str) -> None:
    """The error names the line and what is wrong with it."""
    with pytest.raises(LdifError, match=complaint):
        parse_ldif(data)


def test_a_missing_file_is_an_ldif_error(tmp_path: Path) -> None:
    """A file that cannot be read is reported with its path."""
    with pytest.raises(LdifError, match=r"people\.ldif"):
        read_ldif(tmp_path / "people.ldif")
