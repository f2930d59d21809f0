# SPDX-License-Identifier: EUPL-1.2
"""What an agent ever stored, seen from inside its outbox: triggers that note every change in the same transaction.

So nothing that was durable escapes, whenever the agent was killed, and the agent itself runs as it is.
"""

import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cardservice.agents.messages import TapEvent
from readers.outbox import Outbox
from readers.outbox_file import connect_to_read

_TRIGGERS = """
CREATE TABLE witness (what TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, content TEXT) STRICT;
CREATE TRIGGER opened AFTER INSERT ON entries
    BEGIN INSERT INTO witness VALUES ('opened', new.epoch, new.sequence, NULL); END;
CREATE TRIGGER finished AFTER UPDATE OF content ON entries
    BEGIN INSERT INTO witness VALUES ('finished', new.epoch, new.sequence, new.content); END;
CREATE TRIGGER acknowledged AFTER UPDATE OF acknowledged ON entries WHEN new.acknowledged
    BEGIN INSERT INTO witness VALUES ('acknowledged', new.epoch, new.sequence, NULL); END;
CREATE TRIGGER wanted_again AFTER UPDATE OF acknowledged ON entries WHEN old.acknowledged AND NOT new.acknowledged
    BEGIN INSERT INTO witness VALUES ('wanted_again', new.epoch, new.sequence, NULL); END;
"""


@dataclass
class Seen:
    """Everything one outbox ever held, by event name, in the order in which it happened."""

    opened: list[str] = field(default_factory=list)
    finished: list[tuple[str, str]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    wanted_again: list[str] = field(default_factory=list)

    def reports(self) -> dict[str, TapEvent]:
        """What came of each tap."""
        return {name: TapEvent.model_validate_json(content) for name, content in self.finished}


class Witness:
    """Watches the outbox at `path` from its first entry on."""

    def __init__(self, path: Path, agent: str) -> None:
        self._path = path
        self._agent = agent
        Outbox.open(path, agent, at_ms=1).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(_TRIGGERS)

    def seen(self) -> Seen:
        """Everything so far."""
        seen = Seen()
        names = {
            "opened": seen.opened,
            "acknowledged": seen.acknowledged,
            "wanted_again": seen.wanted_again,
        }
        for what, epoch, sequence, content in self._rows("SELECT * FROM witness ORDER BY rowid"):
            name = self._name(epoch, sequence)
            if what == "finished":
                seen.finished.append((name, content))
            else:
                names[what].append(name)
        return seen

    def opened(self) -> int:
        """How many taps were stored so far."""
        return self._number("SELECT count(*) FROM witness WHERE what = 'opened'")

    def doors_opened(self) -> int:
        """How many doors opened so far."""
        return self._number("SELECT count(*) FROM witness WHERE json_extract(content, '$.outcome') = 'acted'")

    def handed_over(self) -> int:
        """How many acknowledgements came for events of the newest start."""
        return self._number(
            "SELECT count(*) FROM witness WHERE what = 'acknowledged'"
            " AND epoch = (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'epoch')"
        )

    def kept(self) -> set[str]:
        """The events the outbox still holds."""
        return {self._name(*row) for row in self._rows("SELECT epoch, sequence FROM entries")}

    def kept_acknowledged(self) -> set[str]:
        """Those of them that the centre has acknowledged, and has not asked for again."""
        return {self._name(*row) for row in self._rows("SELECT epoch, sequence FROM entries WHERE acknowledged")}

    def last_numbers(self) -> dict[int, int]:
        """The last sequence given in each epoch, whether its report was kept or not."""
        return dict(self._rows("SELECT epoch, last FROM epochs"))

    def forget(self, names: Collection[str]) -> None:
        """Forget acknowledged events, as tidying does; the agent must not run."""
        numbers = [tuple(map(int, name.split("/")[1:])) for name in names]
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.executemany("DELETE FROM entries WHERE epoch = ? AND sequence = ? AND acknowledged", numbers)

    def waiting(self) -> int:
        """How many entries the centre has not acknowledged, those set aside included."""
        return self._number("SELECT count(*) FROM entries WHERE NOT acknowledged")

    def set_aside(self) -> int:
        """How many events the centre refused."""
        return self._number("SELECT count(aside) FROM entries")

    def epoch(self) -> int:
        """The epoch of the newest start."""
        return self._number("SELECT value FROM meta WHERE key = 'epoch'")

    def rewrite(self, name: str, content: str) -> None:
        """Change what the outbox holds of an event, as a broken disk or a hostile hand would."""
        _, epoch, sequence = name.split("/")
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(
                "UPDATE entries SET content = ? WHERE epoch = ? AND sequence = ?", (content, int(epoch), int(sequence))
            )

    def under_way(self) -> set[str]:
        """The taps that have no end yet."""
        return {self._name(*row) for row in self._rows("SELECT epoch, sequence FROM entries WHERE content IS NULL")}

    def _number(self, question: str) -> int:
        return int(self._rows(question)[0][0])

    def _rows(self, question: str) -> list[tuple]:
        with closing(connect_to_read(self._path)) as connection:
            return connection.execute(question).fetchall()

    def _name(self, epoch: int, sequence: int) -> str:
        return f"{self._agent}/{epoch}/{sequence}"
