# SPDX-License-Identifier: EUPL-1.2
"""Several people at one terminal: each sees their own share alone, slips are named, and the record has no secret."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cardservice.cards.keys import ceremony, shares
from cardservice.cards.keys.ceremony import Ceremony, ask_who_is_there, collect, hand_out, write_record
from cardservice.cards.keys.sealing import ShareScheme
from cardservice.cards.keys.shares import ShareRefused
from cardservice.errors import KeyStoreError

SHARE = re.compile(r"(?:[0-9A-Z]{6}-){6}[0-9A-Z]{6}")
SCHEME = ShareScheme(2, 3, "c17a")
SECRET = bytes(range(16))


class Script:
    """A terminal at which people answer as `hidden` and `seen` say; `screen` is what can be read at the moment."""

    def __init__(self, hidden: Callable[["Script"], str], seen: tuple[str, ...] = ()) -> None:
        self._hidden, self._seen = hidden, list(seen)
        self.screen: list[str] = []
        self.ever: list[str] = []
        self.papers: list[str] = []

    def say(self, text: str) -> None:
        self.screen.append(text)
        self.ever.append(text)
        self.papers += SHARE.findall(text)

    def ask(self, question: str) -> str:
        self.say(question)
        return self._seen.pop(0) if self._seen and question.startswith("Name") else ""

    def ask_hidden(self, question: str) -> str:
        self.say(question)
        # Nobody may read a share on the screen while the next person types.
        assert not SHARE.search("\n".join(self.screen))
        return self._hidden(self)

    def wipe(self) -> None:
        self.screen.clear()


def typing(*lines: str) -> Callable[[Script], str]:
    waiting = list(lines)
    return lambda _: waiting.pop(0)


def texts() -> list[str]:
    return [share.text() for share in shares.split(SECRET, SCHEME)]


def test_each_gets_a_share_and_types_it_back() -> None:
    """Three papers, each shown once and wiped before it is typed; any two of them make the secret."""
    terminal = Script(lambda script: script.papers[-1])
    shared = hand_out(terminal, 2, 3)
    assert len(terminal.papers) == len(set(terminal.papers)) == 3
    typed = [shares.read(paper) for paper in terminal.papers]
    assert shares.combine(typed[1:]) == shares.combine(typed[:2]) == shared.secret
    assert shared.secret.hex() not in "\n".join(terminal.ever) + repr(shared)


def test_nothing_is_made_of_a_share_nobody_can_read() -> None:
    """Whoever cannot type their own share back would not be able to later either."""
    with pytest.raises(ShareRefused, match="share 1 was not typed back in 5 attempts"):
        hand_out(Script(lambda _: "I cannot read it"), 2, 3)


def test_another_persons_share_is_no_own_one() -> None:
    terminal = Script(lambda script: script.papers[0])
    with pytest.raises(ShareRefused, match="share 2 was not typed back"):
        hand_out(terminal, 2, 3)
    assert "This is another share." in terminal.ever


def test_slips_are_named_and_typed_again() -> None:
    """A wrong letter, a share of another set, the same one twice: said, and the ceremony goes on."""
    first, second, _ = texts()
    foreign = shares.split(SECRET, ShareScheme(2, 3, "beef"))[1].text()
    wrong = first[:-1] + ("0" if first[-1] != "0" else "2")
    terminal = Script(typing(wrong, foreign, first, first, second))
    assert collect(terminal, SCHEME) == SECRET
    said = "\n".join(terminal.ever)
    for sentence in ("a letter is wrong", "share 2 is of set BEEF", "share 1 was typed already", "Share 2 is right"):
        assert sentence in said
    assert not SHARE.search(said)


def test_whoever_guesses_is_stopped() -> None:
    with pytest.raises(ShareRefused, match="5 attempts, nothing was changed"):
        collect(Script(lambda _: "0" * 42), SCHEME)


def test_two_people_are_two_people() -> None:
    """However they spell themselves."""
    assert ask_who_is_there(Script(typing(), ("Anna  Berg", "Bert Tal")), 2) == ("Anna Berg", "Bert Tal")
    with pytest.raises(KeyStoreError, match="2 different people have to be present"):
        ask_who_is_there(Script(typing(), ("Anna Berg", "anna berg")), 2)
    with pytest.raises(KeyStoreError, match="1 to 80 printable"):
        ask_who_is_there(Script(typing(), ("",)), 2)


def test_the_record_says_what_was_done_and_nothing_secret(tmp_path: Path) -> None:
    """Act, instant, set, check values, and a line for each signature; readable by its owner alone."""
    names = ("Anna Berg", "Bert Tal")
    done = Ceremony("a key store was made", 1_790_000_000_000, Path("keys.json"), b"CITY", names, {"x": "AB"}, SCHEME)
    path = write_record(tmp_path, done)
    text = path.read_text("utf-8")
    for part in ("a key store was made", "set C17A, 2 of 3", "AB  x", "Anna Berg", "Bert Tal", "2026-09-21"):
        assert part in text
    assert text.count("____") >= 2
    assert not SHARE.search(text)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyStoreError, match="its record cannot be written"):
        ceremony.write_record(tmp_path, done)
