# SPDX-License-Identifier: EUPL-1.2
"""Doors on a Modbus TCP module: a coil for each strike, discrete inputs for contact, request to exit and tamper."""

from integrations.modbus.board import ModbusBoard, open_outputs
from integrations.modbus.door import ModbusDoor

__all__ = ["ModbusBoard", "ModbusDoor", "open_outputs"]
