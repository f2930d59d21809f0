# SPDX-License-Identifier: EUPL-1.2
"""What commands print."""

import json

from cardservice.console import show, tell

HOSTILE = "group \x1b[2J\u202eoffice\r\nnext line"


def test_a_name_moves_no_terminal(capsys):
    """Names come from directories: what is not printable is replaced, line ends between lines stay."""
    tell(HOSTILE)
    show({}, HOSTILE, as_json=False)
    line = "group \ufffd[2J\ufffdoffice\ufffd\nnext line\n"
    assert capsys.readouterr().out == line * 2


def test_a_document_holds_everything(capsys):
    show({"name": HOSTILE}, "", as_json=True)
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": HOSTILE}
    assert "\x1b" not in printed
