# SPDX-License-Identifier: EUPL-1.2
"""The contract of doors' outputs on the simulated door, and on Modbus TCP against pymodbus' own server."""

from collections.abc import Iterator

import pytest
from contracts.door_output import DoorAtHand, DoorOutputContract
from support.modbus_module import ModuleProcess, running_module
from support.waiting import wait_until

from cardservice.doors.ports import Shown, StrikeState
from integrations.modbus import ModbusBoard
from integrations.simulated_io import SimulatedDoor
from readers.settings import ModbusPoint, ModbusSection

COIL, CONTACT, EXIT, TAMPER = 3, 4, 5, 6


class Simulated:
    """The simulated door and its handles."""

    def __init__(self) -> None:
        self.told: list[StrikeState] = []
        self.output = SimulatedDoor("door", self._note)
        self.repair = self.output.repair

    def _note(self, point: str, state: StrikeState, shown: Shown) -> None:
        if not self.told or self.told[-1] != state:
            self.told.append(state)

    def energised(self) -> bool:
        return self.output.state() == "released"

    def set_contact(self, *, is_open: bool) -> None:
        self.output.open_leaf(by_force=True) if is_open else self.output.close_leaf()

    def set_exit(self, *, pressed: bool) -> None:
        self.output.press_exit(pressed=pressed)

    def set_tamper(self, *, tampered: bool) -> None:
        self.output.tamper(tampered=tampered)

    def break_down(self) -> None:
        self.output.break_down("wire cut")


class OnModbus:
    """A point wired to a module in another process; loops are closed while all is well."""

    def __init__(self, module: ModuleProcess) -> None:
        wiring = ModbusPoint(strike=COIL, contact=CONTACT, rex=EXIT, tamper=TAMPER)
        self._module = module
        self.told: list[StrikeState] = []
        self._close_loops()
        self.board = ModbusBoard(ModbusSection(host="127.0.0.1", port=module.port, points={"door": wiring}))
        self.output = self.board.build("door", lambda _, state, __: self.told.append(state))
        wait_until(lambda: self.output.state() == "locked")

    def _close_loops(self) -> None:
        self.set_contact(is_open=False)
        self.set_tamper(tampered=False)

    def energised(self) -> bool:
        return self._module.coil(COIL)

    def set_contact(self, *, is_open: bool) -> None:
        self._module.set_input(CONTACT, on=not is_open)

    def set_exit(self, *, pressed: bool) -> None:
        self._module.set_input(EXIT, on=pressed)

    def set_tamper(self, *, tampered: bool) -> None:
        self._module.set_input(TAMPER, on=not tampered)

    def break_down(self) -> None:
        self._module.stop()

    def repair(self) -> None:
        self._module.start()


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleProcess]:
    with running_module() as running:
        yield running


class TestSimulated(DoorOutputContract):
    """The double of the demonstration and of other tests."""

    @pytest.fixture
    def door(self) -> DoorAtHand:
        return Simulated()


class TestModbus(DoorOutputContract):
    """Modbus TCP over a real socket; to fail, the module's process is killed."""

    @pytest.fixture
    def door(self, module: ModuleProcess) -> Iterator[DoorAtHand]:
        module.as_new()
        made = OnModbus(module)
        yield made
        made.board.close()
