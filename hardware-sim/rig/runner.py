# SPDX-License-Identifier: EUPL-1.2
"""One running rig: the bank, pcscd beside it, and the commands both obey together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rig.bank import Bank
from rig.errors import RequestError
from rig.insertion import Card
from rig.pcscd import Pcscd
from rig.readers import NAME_RULE, Device, is_reader_name
from rig.vpcd import Plug

Operation = Callable[[Mapping[str, Any]], dict[str, Any]]
_OPTIONAL = {"executed", "pull_after"}


class Rig:
    """The readers, the deck and, unless it is left out, pcscd.

    Args:
        devices: the readers; a device is unplugged as a whole.
        cards: the deck.
        pcscd: not started yet, or None for readers inside this process only.
    """

    def __init__(self, devices: Sequence[Device], cards: Mapping[str, Card], pcscd: Pcscd | None) -> None:
        self._devices = tuple(devices)
        self._pcscd = pcscd
        self.bank = Bank([reader for device in devices for reader in device.readers], cards)
        self._operations: dict[str, tuple[dict[str, type], Operation]] = {
            "insert": ({"card": str, "reader": str, "pull_after": int, "executed": bool}, self._insert),
            "eject": ({"reader": str}, self._eject),
            "swap": ({"card": str, "reader": str}, self._swap),
            "pull_after": ({"reader": str, "n_apdus": int, "executed": bool}, self._pull_after),
            "stays": ({"reader": str}, self._stays),
            "remove_reader": ({"reader": str}, self._remove_reader),
            "restore_reader": ({"reader": str}, self._restore_reader),
            "rename_reader": ({"reader": str, "name": str}, self._rename_reader),
            "kill_pcscd": ({}, self._kill_pcscd),
            "restart_pcscd": ({}, self._restart_pcscd),
            "state": ({}, self._state),
        }

    def start(self) -> None:
        """Start pcscd and connect the cards.

        Raises:
            PcscdFailedError: pcscd did not become ready.
        """
        if self._pcscd is not None:
            self._pcscd.start(self._devices)
            Plug(self.bank, self._pcscd.ports(self._devices))

    def stop(self) -> None:
        """Take the power from all cards and end pcscd."""
        self.bank.close()
        if self._pcscd is not None:
            self._pcscd.stop()

    def describe_readers(self) -> dict[str, dict[str, Any]]:
        """Every reader under its PC/SC name: the device ("spec"), its slot number and its interface."""
        return {
            reader.name: {"spec": device.name, "slot": slot, "interface": reader.interface}
            for device in self._devices
            for slot, reader in enumerate(device.readers)
        }

    def execute(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command of the control socket and return what it answers.

        Raises:
            RequestError: unknown command, or missing, unknown or wrongly typed fields.
            RigError: the command cannot be carried out.
        """
        name = request.get("op")
        known = self._operations.get(name) if isinstance(name, str) else None
        if known is None:
            raise RequestError(f"op must be one of {', '.join(self._operations)}, quit")
        fields, operation = known
        given = set(request) - {"op"}
        if not set(fields) - _OPTIONAL <= given <= set(fields):
            raise RequestError(f"{name} takes {', '.join(fields) or 'no fields'}")
        for field in given:
            if type(request[field]) is not fields[field]:
                raise RequestError(f"{name}: {field} must be of type {fields[field].__name__}")
        return operation(request)

    def _insert(self, request: Mapping[str, Any]) -> dict[str, Any]:
        executed = request.get("executed", True)
        self.bank.insert(request["card"], request["reader"], pull_after=request.get("pull_after"), executed=executed)
        return {}

    def _eject(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"card": self.bank.eject(request["reader"])}

    def _swap(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"card": self.bank.swap(request["card"], request["reader"])}

    def _pull_after(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.bank.pull_after(request["reader"], request["n_apdus"], executed=request.get("executed", True))
        return {}

    def _stays(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"stays": [[stay.card_id, stay.answered] for stay in self.bank.stays(request["reader"])]}

    def _remove_reader(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._replug(request["reader"], self.bank.remove_reader)

    def _restore_reader(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._replug(request["reader"], self.bank.restore_reader)

    def _replug(self, reader: str, change: Callable[[str], None]) -> dict[str, Any]:
        """Unplug or plug in the whole device of a reader; pcscd learns it only by a restart.

        It ends first: a device that goes takes its cards with it, nobody sees them leave one by one.
        """
        readers = self._readers_beside(reader)
        restarts = self._pcscd if self._pcscd is not None and self._pcscd.alive else None
        if restarts is not None:
            restarts.stop()
        try:
            for name in readers:
                change(name)
        finally:
            if restarts is not None:
                restarts.start(self._devices, without=self._unplugged())
        return {"readers": readers}

    def _rename_reader(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let pcscd show the device of a reader under another name, also one that is taken; here it keeps its own."""
        reader, name = request["reader"], request["name"]
        self.bank.stays(reader)
        if not is_reader_name(name):
            raise RequestError(f"{name!r} is no name of a reader: {NAME_RULE}")
        self._devices = tuple(
            replace(device, shown_as=name) if reader in _names(device) else device for device in self._devices
        )
        if self._pcscd is not None and self._pcscd.alive:
            self._restart_pcscd({})
        return {}

    def _readers_beside(self, reader: str) -> list[str]:
        for device in self._devices:
            names = _names(device)
            if reader in names:
                return names
        return [reader]

    def _kill_pcscd(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        self._require_pcscd().kill()
        return {}

    def _restart_pcscd(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        pcscd = self._require_pcscd()
        pcscd.stop()
        pcscd.start(self._devices, without=self._unplugged())
        return {}

    def _state(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        inside = self.bank.cards_in()
        readers = {
            name: {"state": look.state, "events": look.events, "card": inside.get(name)}
            for name, look in self.bank.state().items()
        }
        return {"readers": readers, "pcscd": self._pcscd_state(), "cards": self.bank.card_ids}

    def _pcscd_state(self) -> dict[str, Any]:
        if self._pcscd is None:
            return {"running": False, "pid": None, "log": "this rig runs without pcscd"}
        return {"running": self._pcscd.alive, "pid": self._pcscd.pid, "log": self._pcscd.log_tail()}

    def _unplugged(self) -> frozenset[str]:
        states = self.bank.state()
        return frozenset(
            device.name for device in self._devices if states[device.readers[0].name].state == "unavailable"
        )

    def _require_pcscd(self) -> Pcscd:
        if self._pcscd is None:
            raise RequestError("this rig runs without pcscd")
        return self._pcscd


def _names(device: Device) -> list[str]:
    return [spec.name for spec in device.readers]
