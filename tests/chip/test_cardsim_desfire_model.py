# SPDX-License-Identifier: EUPL-1.2
"""A virtual DESFire against a small model of applications, keys, files and transactions, through random lives."""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cardsim.card import VirtualCard
from cardsim.desfire import DesfireApplet
from cardsim.desfire_data import AesKey, CommunicationMode
from cardsim.desfire_memory import CardMemory, factory_fresh
from cardsim.reader import CardRefused, DesfireReader

UID = bytes.fromhex("04112233445566")
PICC_KEY = b"key of the card."
AIDS = [bytes([number, 0xC1, 0xF5]) for number in (1, 2, 3)]
FILES = (1, 2)
SIZE = 8
KEY_COUNT = 2
DEFAULT_KEY = bytes(16)
KEYS = [DEFAULT_KEY, b"first other key.", b"second otherkey."]
MODES = list(CommunicationMode)
WRITTEN = [b"A", b"fives", b"whole it"]


@dataclass
class ModelFile:
    """What a file holds, and what waits for a commit."""

    mode: CommunicationMode
    backup: bool
    content: bytes = bytes(SIZE)
    waiting: bytes | None = None


@dataclass
class ModelApplication:
    """Keys by number and files by number; ``next_keys`` where a second set is initialised."""

    keys: list[bytes] = field(default_factory=lambda: [DEFAULT_KEY] * KEY_COUNT)
    files: dict[int, ModelFile] = field(default_factory=dict)
    next_keys: list[bytes] | None = None
    next_is_final: bool = False


class DesfireLife(RuleBasedStateMachine):
    """Everything a reader does, done to the card and to the model; both must agree on success, refusal and content."""

    @initialize(modes=st.tuples(st.sampled_from(MODES), st.sampled_from(MODES)))
    def one_application(self, modes: tuple[CommunicationMode, CommunicationMode]) -> None:
        """A card with one application, one file that is written at once and one with backup."""
        memory = factory_fresh(UID)
        memory.picc.keys = [AesKey(PICC_KEY)]
        self.card = VirtualCard("model", "model", desfire=DesfireApplet(memory))
        self.applications: dict[bytes, ModelApplication] = {}
        self.power_cycle()
        self.work_on_card()
        self.create_application(AIDS[0])
        self.work_in(AIDS[0], 0)
        for number, mode in zip(FILES, modes, strict=True):
            self.create_file(number, mode, backup=number == 2)
        self.change_key(1, KEYS[1])

    def _expect(self, status: str | None, call, *arguments) -> bytes | None:
        """Do it; a refusal has the status the model says and costs the session."""
        if status is None:
            return call(*arguments)
        with pytest.raises(CardRefused, match=f"status {status}$"):
            call(*arguments)
        assert self.card.desfire.activation.session is None
        self.authenticated = None
        return None

    @rule()
    def power_cycle(self) -> None:
        """The card goes through its saved form: nothing that lasts may depend on the process."""
        memory = CardMemory.from_bytes(self.card.desfire.memory.to_bytes())
        self.card = VirtualCard("model", "model", desfire=DesfireApplet(memory))
        self.card.power_on("contactless")
        self.reader = DesfireReader(self.card)
        self._selected(None)

    def _selected(self, aid: bytes | None) -> None:
        for application in self.applications.values():
            for file in application.files.values():
                file.waiting = None
        self.aid, self.authenticated = aid, None

    @property
    def application(self) -> ModelApplication:
        return self.applications[self.aid]

    @rule(aid=st.sampled_from(AIDS[:2]), number=st.integers(0, KEY_COUNT - 1))
    def work_in(self, aid: bytes, number: int) -> None:
        """Select an application and authenticate with one of its keys."""
        if aid not in self.applications:
            self._expect("91A0", self.reader.select, aid)
            return
        self._expect(None, self.reader.select, aid)
        self._selected(aid)
        self._expect(None, self.reader.authenticate_first, number, self.application.keys[number])
        self.authenticated = number

    @rule()
    def work_on_card(self) -> None:
        """Select the card itself and authenticate with its key."""
        self._expect(None, self.reader.select, bytes(3))
        self._selected(None)
        self._expect(None, self.reader.authenticate_first, 0, PICC_KEY)
        self.authenticated = 0

    @rule(number=st.integers(0, KEY_COUNT), key=st.sampled_from([*KEYS, PICC_KEY]))
    def knock(self, number: int, key: bytes) -> None:
        """Authenticate with any key where we stand; an open transaction stays open."""
        keys = [PICC_KEY] if self.aid is None else self.application.keys
        status = "9140" if number >= len(keys) else None if keys[number] == key else "91AE"
        self._expect(status, self.reader.authenticate_first, number, key)
        if status is None:
            self.authenticated = number

    @precondition(lambda self: self.authenticated is not None and self.aid is None)
    @rule(aid=st.sampled_from(AIDS))
    def create_application(self, aid: bytes) -> None:
        description = aid + bytes.fromhex("0B920101021000")
        status = "91DE" if aid in self.applications else None
        self._expect(status, self.reader.managed, 0xCA, description)
        if status is None:
            self.applications[aid] = ModelApplication()

    @precondition(lambda self: self.authenticated is not None)
    @rule(aid=st.sampled_from(AIDS))
    def delete_application(self, aid: bytes) -> None:
        if aid not in self.applications:
            status = "91A0"
        elif self.aid is None:
            status = None
        elif self.aid != aid:
            status = "919D"
        else:
            status = None if self.authenticated == 0 else "91AE"
        self._expect(status, self.reader.managed, 0xDA, aid)
        if status is None:
            del self.applications[aid]
            if self.aid == aid:
                self._selected(None)

    @precondition(lambda self: self.aid is not None and self.authenticated is not None)
    @rule(number=st.sampled_from(FILES), mode=st.sampled_from(MODES), backup=st.booleans())
    def create_file(self, number: int, mode: CommunicationMode, backup: bool) -> None:
        header = bytes([number, mode]) + b"\x10\x01" + SIZE.to_bytes(3, "little")
        status = "91AE" if self.authenticated != 0 else "91DE" if number in self.application.files else None
        self._expect(status, self.reader.managed, 0xCB if backup else 0xCD, header)
        if status is None:
            self.application.files[number] = ModelFile(mode, backup)

    @precondition(lambda self: self.aid is not None and self.authenticated is not None)
    @rule(number=st.sampled_from(FILES))
    def delete_file(self, number: int) -> None:
        there = number in self.application.files
        status = "91F0" if not there else "91AE" if self.authenticated != 0 else None
        self._expect(status, self.reader.managed, 0xDF, bytes([number]))
        if status is None:
            del self.application.files[number]

    @precondition(lambda self: self.aid is not None and self.authenticated is not None)
    @rule(number=st.sampled_from(FILES), offset=st.integers(0, 3), data=st.sampled_from(WRITTEN))
    def write(self, number: int, offset: int, data: bytes) -> None:
        """Key 1 alone may write (rights 0110: read 0, write 1, both 1, change 0)."""
        file = self.application.files.get(number)
        status = self._refusal(file, {1})
        if status is None and offset + len(data) > SIZE:
            status = "91BE"
        header = bytes([number]) + offset.to_bytes(3, "little") + len(data).to_bytes(3, "little")
        mode = file.mode if file else CommunicationMode.FULL
        self._expect(status, self.reader.in_mode, 0x8D, header, data, mode)
        if status is None and file is not None:
            now = file.content if file.waiting is None else file.waiting
            written = now[:offset] + data + now[offset + len(data) :]
            if file.backup:
                file.waiting = written
            else:
                file.content = written

    @precondition(lambda self: self.aid is not None and self.authenticated is not None)
    @rule(number=st.sampled_from(FILES))
    def read(self, number: int) -> None:
        """Keys 0 and 1 may read, what was committed and nothing else."""
        file = self.application.files.get(number)
        status = self._refusal(file, {0, 1})
        mode = file.mode if file else CommunicationMode.FULL
        seen = self._expect(status, self.reader.in_mode, 0xAD, bytes([number]) + bytes(6), b"", mode)
        if status is None and file is not None:
            assert seen == file.content

    def _refusal(self, file: ModelFile | None, allowed: set[int]) -> str | None:
        if file is None:
            return "91F0"
        return None if self.authenticated in allowed else "91AE"

    @precondition(lambda self: self.aid is not None and self.authenticated is not None)
    @rule(commits=st.booleans(), twice=st.booleans())
    def end_transaction(self, commits: bool, twice: bool) -> None:
        """Nothing is left to be ended a second time."""
        waiting = [file for file in self.application.files.values() if file.waiting is not None]
        self._expect(None if waiting else "910C", self.reader.managed, 0xC7 if commits else 0xA7)
        for file in waiting:
            if commits:
                file.content = file.waiting
            file.waiting = None
        if waiting and twice:
            self._expect("910C", self.reader.managed, 0xC7)

    @precondition(lambda self: self.aid is not None and self.authenticated == 0)
    @rule(number=st.integers(0, KEY_COUNT - 1), key=st.sampled_from(KEYS))
    def change_key(self, number: int, key: bytes) -> None:
        if number == 0:
            self._expect(None, self.reader.change_own_key, b"\x00", key)
            self.authenticated = None
        else:
            self._expect(None, self.reader.change_other_key, bytes([number]), self.application.keys[number], key)
        self.application.keys[number] = key

    @precondition(lambda self: self.aid is not None and self.authenticated is not None)
    @rule()
    def prepare_key_set(self) -> None:
        status = None if self.authenticated == 0 else "91AE"
        self._expect(status, self.reader.managed, 0x56, b"\x01\x02")
        if status is None:
            self.application.next_keys, self.application.next_is_final = list(self.application.keys), False

    @precondition(lambda self: self.aid is not None and self.authenticated == 0 and self.application.next_keys)
    @rule(number=st.integers(0, KEY_COUNT - 1), key=st.sampled_from(KEYS))
    def change_prepared_key(self, number: int, key: bytes) -> None:
        old = self.application.next_keys[number]
        status = "919D" if self.application.next_is_final else None
        self._expect(status, self.reader.change_other_key, bytes([1, number]), old, key)
        if status is None:
            self.application.next_keys[number] = key

    @precondition(lambda self: self.aid is not None and self.authenticated == 0)
    @rule()
    def finalize_key_set(self) -> None:
        ready = self.application.next_keys is not None and not self.application.next_is_final
        self._expect(None if ready else "919D", self.reader.managed, 0x57, b"\x01\x07")
        self.application.next_is_final = self.application.next_is_final or ready

    @precondition(lambda self: self.aid is not None and 2 in self.application.files)
    @rule(data=st.sampled_from(WRITTEN), commits=st.booleans(), twice=st.booleans())
    def transact(self, data: bytes, commits: bool, twice: bool) -> None:
        """A write to the second file and the end of the transaction, whatever stands between them elsewhere."""
        self.work_in(self.aid, 1)
        self.write(2, 0, data)
        self.read(2)
        self.end_transaction(commits, twice)

    @precondition(lambda self: self.aid is not None)
    @rule(keys=st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)), rolls=st.booleans())
    def prepare_all_keys(self, keys: tuple[bytes, bytes], rolls: bool) -> None:
        """The whole way to the next set of keys, up to rolling to it or not."""
        self.work_in(self.aid, 0)
        self.prepare_key_set()
        for number, key in enumerate(keys):
            self.change_prepared_key(number, key)
        self.finalize_key_set()
        if rolls:
            self.roll_key_set()

    @precondition(lambda self: self.aid is not None and self.authenticated is not None)
    @rule()
    def roll_key_set(self) -> None:
        """The old keys become the other set, which is not final any more."""
        application = self.application
        status = "91AE" if self.authenticated != 0 else None if application.next_is_final else "919D"
        self._expect(status, self.reader.roll_key_set, 1)
        if status is None:
            application.keys, application.next_keys = application.next_keys, application.keys
            application.next_is_final = False
            self.authenticated = None

    @precondition(lambda self: self.aid is None and self.authenticated is not None)
    @rule()
    def format_card(self) -> None:
        self._expect(None, self.reader.managed, 0xFC)
        self.applications = {}

    @invariant()
    def the_card_holds_what_the_model_holds(self) -> None:
        card = {application.aid: application for application in self.card.desfire.applications}
        assert set(card) == set(self.applications)
        for aid, model in self.applications.items():
            assert [key.value for key in card[aid].keys] == model.keys
            assert {n: bytes(file.content) for n, file in card[aid].files.items()} == {
                n: file.content for n, file in model.files.items()
            }


DesfireLife.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestDesfireLife = DesfireLife.TestCase
