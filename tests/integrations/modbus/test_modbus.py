# SPDX-License-Identifier: EUPL-1.2
"""Doors on a Modbus TCP module, beyond the port's contract: what the module does by itself, badly or not at all."""

import asyncio
import contextlib
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.modbus_module import ModuleProcess, running_module
from support.waiting import wait_until

from cardservice.doors.ports import DoorInputs, OutputFault
from integrations.modbus import ModbusBoard, ModbusDoor
from integrations.modbus.wiring import MOST_BITS, runs
from readers.settings import ModbusPoint, ModbusSection

READ_COILS, WRITE_COIL = 1, 5


@pytest.fixture(scope="module")
def plugged_in() -> Iterator[ModuleProcess]:
    with running_module() as running:
        yield running


@pytest.fixture
def module(plugged_in: ModuleProcess) -> ModuleProcess:
    plugged_in.as_new()
    return plugged_in


@contextlib.contextmanager
def board_of(port: int, **points: ModbusPoint) -> Iterator[ModbusBoard]:
    board = ModbusBoard(ModbusSection(host="127.0.0.1", port=port, timeout_ms=200, points=points))
    try:
        yield board
    finally:
        board.close()


@contextlib.contextmanager
def stopped(module: ModuleProcess) -> Iterator[None]:
    """Let the module hang for a while; whatever happens, it goes on for the tests that follow."""
    assert module.process is not None
    module.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        module.process.send_signal(signal.SIGCONT)


def door_of(board: ModbusBoard, point: str = "door", told: list[str] | None = None) -> ModbusDoor:
    told = [] if told is None else told
    door = board.build(point, lambda _, state, __: told.append(state))
    wait_until(lambda: door.state() == "locked")
    return door


def test_what_was_left_on_is_switched_off_before_anything_else(module):
    """What an agent that died had left released is locked by the one that starts."""
    module.tell("coil 0 1")
    with board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door_of(board)
        assert not module.coil(0)


def test_the_last_thing_a_module_hears_is_off(module):
    """Ending the agent in the middle of a pulse locks the door."""
    with board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door = door_of(board)
        door.pulse(60_000)
        assert module.coil(0)
    assert not module.coil(0)
    with pytest.raises(OutputFault):
        door.pulse(1_000)


def test_a_relay_that_somebody_switched_on_is_switched_off(module):
    with board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door_of(board)
        module.tell("coil 0 1")
        wait_until(lambda: not module.coil(0))


def test_two_points_of_one_door_share_its_strike(module):
    """Inside and outside: the longer pulse counts, whoever asked for it, and both sides tell what the strike does."""
    wiring = ModbusPoint(strike=2)
    with board_of(module.port, outside=wiring, inside=wiring) as board:
        outside, inside = door_of(board, "outside"), door_of(board, "inside")
        inputs: list[DoorInputs] = []
        outside.watch(inputs.append)
        inside.pulse(800)
        outside.pulse(100)
        began_s = time.monotonic()
        assert (outside.state(), inside.state()) == ("released", "released")
        assert inputs[-1].released
        wait_until(lambda: outside.state() == "locked")
        assert time.monotonic() - began_s > 0.5
        assert module.switched_on(2) == 1


def test_a_module_that_times_its_relays_ends_the_pulse():
    """The strike is what the module reads back, not what was asked for."""
    with running_module(timed_ms=150) as module, board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door = door_of(board)
        door.pulse(60_000)
        wait_until(lambda: door.state() == "locked")
        assert module.switched_on(0) == 1
        door.pulse(60_000)
        assert module.switched_on(0) == 2


@pytest.mark.parametrize("level", [False, True])
def test_every_loop_may_be_wired_either_way(module, level):
    wiring = ModbusPoint(
        strike=0, contact=1, rex=2, tamper=3, contact_closed=level, rex_pressed=level, tamper_fine=level
    )
    for number in (1, 3):
        module.set_input(number, on=level)
    module.set_input(2, on=not level)
    with board_of(module.port, door=wiring) as board:
        door = door_of(board)
        inputs: list[DoorInputs] = []
        door.watch(inputs.append)
        assert inputs[-1] == DoorInputs("closed")
        for number in (1, 3):
            module.set_input(number, on=not level)
        module.set_input(2, on=level)
        wait_until(lambda: inputs[-1] == DoorInputs("open", exit_pressed=True, tampered=True))


def test_a_module_that_hangs_is_a_fault_in_time_and_recovers(module):
    """Its connection stands, nothing answers: no call waits longer than two time-outs, and the pulse is over."""
    told: list[str] = []
    with board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door = door_of(board, told=told)
        door.pulse(60_000)
        with stopped(module):
            began_s = time.monotonic()
            # Its poll may have noticed before.
            with pytest.raises(OutputFault, match=r"no answer|not connected"):
                door.lock()
            assert time.monotonic() - began_s < 1.0
            wait_until(lambda: door.state() == "fault")
        wait_until(lambda: door.state() == "locked")
        assert not module.coil(0)
    assert told[-2:] == ["fault", "locked"]


def test_a_module_that_comes_and_goes_is_followed(module):
    """Killed and plugged in again, three times, once in the middle of a pulse each time."""
    with board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door = door_of(board)
        for _ in range(3):
            door.pulse(60_000)
            module.stop()
            wait_until(lambda: door.state() == "fault")
            with pytest.raises(OutputFault):
                door.pulse(1_000)
            module.start()
            wait_until(lambda: door.state() == "locked")
            assert not module.coil(0)


def test_a_module_that_is_not_there_yet_is_waited_for(module):
    module.stop()
    with board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door = board.build("door", lambda *_: None)
        wait_until(lambda: "no connection" in (board.trouble or ""))
        with pytest.raises(OutputFault, match="no connection"):
            door.pulse(1_000)
        module.start()
        wait_until(lambda: door.state() == "locked")
        assert board.trouble is None


def test_an_address_the_module_has_not_got_is_a_fault_that_names_it(module):
    with board_of(module.port, door=ModbusPoint(strike=0, contact=200)) as board:
        door = board.build("door", lambda *_: None)
        wait_until(lambda: "input 200: the module refuses it" in (board.trouble or ""))
        with pytest.raises(OutputFault, match="input 200"):
            door.pulse(1_000)


def test_a_point_that_is_not_wired_says_so(module):
    with board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door = board.build("gate", lambda *_: None)
        assert door.state() == "fault"
        with pytest.raises(OutputFault, match="gate"):
            door.pulse(1_000)
        with pytest.raises(OutputFault, match="gate"):
            door.lock()


def test_pulses_from_many_threads_do_not_disturb_each_other(module):
    points = {f"door-{n}": ModbusPoint(strike=n) for n in range(8)}
    with board_of(module.port, **points) as board:
        doors = [door_of(board, point) for point in points]
        threads = [threading.Thread(target=door.pulse, args=(300,)) for door in doors for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(module.coil(n) for n in range(8))
        wait_until(lambda: all(door.state() == "locked" for door in doors))
        assert not any(module.coil(n) for n in range(8))


Answer = Callable[[bytes], bytes]
HOSTILE: dict[str, Answer] = {
    "nothing": lambda _: b"",
    "noise": lambda _: bytes(range(256)),
    "another transaction": lambda ask: b"\xff\xff" + ask[2:],
    "another unit": lambda ask: ask[:6] + b"\x09" + ask[7:],
    "too few bits": lambda ask: ask[:4] + b"\x00\x03" + ask[6:8] + b"\x00",
    "a length without end": lambda ask: ask[:4] + b"\xff\xff" + ask[6:8] + b"\xff" * 4,
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_a_module_answers_it_is_at_worst_a_fault(answer):
    """Bytes from the network: no answer opens a door's state, hangs a call or ends the thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(5)
                    with contextlib.suppress(OSError):
                        while asked := peer.recv(300):
                            peer.sendall(answer(asked))

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with board_of(listener.getsockname()[1], door=ModbusPoint(strike=0, contact=0)) as board:
            door = board.build("door", lambda *_: None)
            wait_until(lambda: "not connected yet" not in (board.trouble or ""))
            began_s = time.monotonic()
            with pytest.raises(OutputFault):
                door.pulse(1_000)
            assert time.monotonic() - began_s < 1.0
            assert door.state() == "fault"
            ended.set()
        socket.create_connection(listener.getsockname()).close()
        server.join(5)
        assert not server.is_alive()


def test_addresses_are_read_in_runs_without_gaps():
    """One request for what lies together, none that touches an address nobody named, none too long."""
    assert runs([]) == []
    assert runs([5, 3, 4, 4, 9]) == [range(3, 6), range(9, 10)]
    assert [len(run) for run in runs(range(MOST_BITS + 1))] == [MOST_BITS, 1]


def test_a_pulse_takes_little_of_the_caller_s_time(module):
    """The agent's loop waits for one answer of the module: on loopback a few milliseconds."""
    with board_of(module.port, door=ModbusPoint(strike=0)) as board:
        door = door_of(board)

        async def median_s() -> float:
            took = []
            for _ in range(21):
                began_s = time.monotonic()
                door.pulse(1)
                took.append(time.monotonic() - began_s)
                await asyncio.sleep(0)
            return sorted(took)[10]

        assert asyncio.run(median_s()) < 0.05


class SlowModule:
    """A module that takes 20 ms for every answer: coils and inputs in all addresses, and a note of what was asked."""

    ANSWER_S = 0.02

    def __init__(self) -> None:
        self.coils: set[int] = set()
        self.asked: list[tuple[int, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        with peer, contextlib.suppress(OSError):
            while asked := peer.recv(300):
                function, address, value = struct.unpack_from(">BHH", asked, 7)
                self.asked.append((function, address))
                if function == WRITE_COIL:
                    (self.coils.add if value else self.coils.discard)(address)
                    answer = asked[7:12]
                else:
                    on = function == READ_COILS and address in self.coils
                    answer = bytes((function, 1, on))
                time.sleep(self.ANSWER_S)  # the slowness is what is tested
                peer.sendall(asked[:4] + struct.pack(">HB", len(answer) + 1, asked[6]) + answer)

    def close(self) -> None:
        """Wait for the agent's side to go, then close."""
        self._thread.join(5)
        self._listener.close()
        assert not self._thread.is_alive()


@contextlib.contextmanager
def slow_doors(count: int, told: list[str]) -> Iterator[tuple[SlowModule, list[ModbusDoor]]]:
    """Points whose coils and inputs all have gaps between them: a look is two requests for each."""
    points = {f"door-{n}": ModbusPoint(strike=2 * n, contact=2 * n) for n in range(count)}
    with contextlib.closing(SlowModule()) as module, board_of(module.port, **points) as board:
        doors = [board.build(point, lambda point, state, _: told.append(f"{point} {state}")) for point in points]
        wait_until(lambda: all(door.state() == "locked" for door in doors))
        yield module, doors


def test_a_pulse_waits_for_one_request_and_not_for_a_whole_look():
    """With ten doors a look takes 20 requests; whoever opens one is answered after the one under way and its own."""
    with slow_doors(10, []) as (module, doors):
        for door in doors:
            before = len(module.asked)
            began_s = time.monotonic()
            door.pulse(60_000)
            took_s = time.monotonic() - began_s
            assert door.state() == "released"
            sent = module.asked[before:].index((WRITE_COIL, 2 * doors.index(door)))
            # One that had reached the module and is not counted here, or is; and one that was just leaving.
            assert sent <= 2
            assert took_s < 10 * SlowModule.ANSWER_S
            door.lock()
            assert door.state() == "locked"


def test_what_an_older_look_read_ends_no_newer_pulse():
    """Released at every moment of a look: the door stays so and says so, for as long as it was asked to."""
    told: list[str] = []
    with slow_doors(2, told) as (module, doors):
        told.clear()
        for moment in range(6):
            reached = len(module.asked)
            wait_until(lambda reached=reached, moment=moment: len(module.asked) > reached + moment)
            doors[0].pulse(60_000)
            looked = len(module.asked)
            wait_until(lambda looked=looked: len(module.asked) > looked + 2 * 4)
            assert doors[0].state() == "released"
            assert 0 in module.coils
            doors[0].lock()
        assert told == ["door-0 released", "door-0 locked"] * 6


def test_a_pulse_ends_in_time_in_the_middle_of_a_look():
    """With ten doors a look takes 400 ms; a strike is not kept released until it is over."""
    with slow_doors(10, []) as (module, doors):
        took_s = []
        for _ in range(3):
            began_s = time.monotonic()
            doors[0].pulse(100)
            wait_until(lambda: 0 not in module.coils)
            took_s.append(time.monotonic() - began_s)
        assert min(took_s) >= 0.1
        assert sorted(took_s)[1] < 0.35
