# SPDX-License-Identifier: EUPL-1.2
"""What a DESFire keeps without power: card level, applications, configuration, used memory; saved and restored as JSON.

A saved card holds its keys in the clear: it is a file of the test bench, not a backup of a card.
"""

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cardsim.desfire_ciphers import KeyKind
from cardsim.desfire_data import (
    AccessRights,
    AesKey,
    Application,
    CardFile,
    CardKey,
    CommunicationMode,
    KeySet,
    KeySetRules,
    RecordFile,
    StandardFile,
    ValueFile,
)
from cardsim.desfire_weakness import Weakness
from cardsim.errors import CardSimError

UID_LENGTH = 7
DEFAULT_KEY_LENGTH = 24
MEMORY_BLOCK = 32
FACTORY_KEY_SETTINGS = 0x0F
# TL, T0, TA1, TB1, TC1 and one historical byte, as DESFires leave the factory.
FACTORY_ATS = bytes.fromhex("067577810280")
VERSION = 1


class Chip(Enum):
    """A generation; the value is the version that hardware and software tell (major, minor)."""

    EV1 = ("0100", "0104")
    EV2 = ("1200", "0201")
    EV3 = ("3300", "0300")


class StateError(CardSimError):
    """Saved bytes are no DESFire."""


@dataclass
class Configuration:
    """What SetConfiguration set.

    Args:
        random_uid: whether activation shows a random UID; never taken back.
        format_disabled: whether FormatPICC is forbidden; never taken back.
        default_key: 24 bytes, of which new applications' keys take as many as they have.
        default_version: version of new applications' AES keys.
        ats: what the card answers to RATS.
    """

    random_uid: bool = False
    format_disabled: bool = False
    default_key: bytes = field(default=bytes(DEFAULT_KEY_LENGTH), repr=False)
    default_version: int = 0
    ats: bytes = FACTORY_ATS

    def new_key(self, kind: KeyKind) -> CardKey:
        """What a new application's keys are."""
        value = self.default_key[: kind.key_length]
        return AesKey(value, self.default_version) if kind is KeyKind.AES else CardKey(value, 0, kind)


@dataclass
class CardMemory:
    """Everything that survives without power.

    Args:
        picc: the PICC level, an application with AID 000000.
        applications: any number of applications with different AIDs.
        uid: the real UID, 7 bytes.
        chip: the generation.
        capacity_bytes: 4096 or 8192.
        configuration: what SetConfiguration set.
        used_bytes: of the capacity; only FormatPICC gives back what was deleted.
        is_disabled: whether the card has disabled itself for good.
        weakness: what the next write suffers; not saved.

    Raises:
        ValueError: if the parts do not fit together.
    """

    picc: Application
    applications: list[Application]
    uid: bytes
    chip: Chip = Chip.EV3
    capacity_bytes: int = 8192
    configuration: Configuration = field(default_factory=Configuration)
    used_bytes: int = 0
    is_disabled: bool = False
    weakness: Weakness = field(default_factory=Weakness)

    def __post_init__(self) -> None:
        aids = [application.aid for application in (self.picc, *self.applications)]
        if not self.picc.is_picc_level or len(set(aids)) != len(aids):
            raise ValueError("the PICC level has AID 000000 and every application an AID of its own")
        if len(self.uid) != UID_LENGTH:
            raise ValueError(f"the UID has {UID_LENGTH} bytes, got {len(self.uid)}")
        if self.capacity_bytes not in (4096, 8192):
            raise ValueError(f"a DESFire has 4096 or 8192 bytes, got {self.capacity_bytes}")

    @property
    def free_bytes(self) -> int:
        """What is left for applications and files."""
        return self.capacity_bytes - self.used_bytes

    def find(self, aid: bytes) -> Application | None:
        """The application with this AID, the PICC level included."""
        for application in (self.picc, *self.applications):
            if application.aid == aid:
                return application
        return None

    def to_bytes(self) -> bytes:
        """The card as a JSON text."""
        document = {
            "desfire": VERSION,
            "chip": self.chip.name,
            "capacity_bytes": self.capacity_bytes,
            "uid": self.uid.hex(),
            "used_bytes": self.used_bytes,
            "is_disabled": self.is_disabled,
            "configuration": {
                **vars(self.configuration),
                "default_key": self.configuration.default_key.hex(),
                "ats": self.configuration.ats.hex(),
            },
            "picc": _from_application(self.picc),
            "applications": [_from_application(application) for application in self.applications],
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def from_bytes(cls, saved: bytes) -> "CardMemory":
        """The card that `to_bytes` wrote.

        Raises:
            StateError: if the bytes are something else.
        """
        try:
            document = json.loads(saved)
            if document["desfire"] != VERSION:
                raise StateError(f"a saved DESFire has version {VERSION}")
            settings = dict(document["configuration"])
            settings["default_key"] = bytes.fromhex(settings["default_key"])
            settings["ats"] = bytes.fromhex(settings["ats"])
            return cls(
                _to_application(document["picc"]),
                [_to_application(application) for application in document["applications"]],
                bytes.fromhex(document["uid"]),
                Chip[document["chip"]],
                int(document["capacity_bytes"]),
                Configuration(**settings),
                int(document["used_bytes"]),
                bool(document["is_disabled"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StateError("these bytes are no saved DESFire") from error


def factory_fresh(
    uid: bytes, *, chip: Chip = Chip.EV2, capacity_bytes: int = 8192, configuration: Configuration | None = None
) -> CardMemory:
    """A card as it leaves the factory: a DES master key of zeros, no application, its real UID on the air.

    Raises:
        ValueError: if the UID or the capacity is wrong.
    """
    picc = Application(bytes(3), [CardKey(bytes(16), 0, KeyKind.DES)], key_settings=FACTORY_KEY_SETTINGS)
    return CardMemory(picc, [], uid, chip, capacity_bytes, configuration or Configuration())


def blocks(length: int) -> int:
    """Bytes that memory gives for so many: whole blocks, at least one."""
    return max(1, -(-length // MEMORY_BLOCK)) * MEMORY_BLOCK


def _from_key(key: CardKey) -> dict[str, Any]:
    return {"kind": key.kind.name, "value": key.value.hex(), "version": key.version}


def _to_key(saved: dict[str, Any]) -> CardKey:
    kind, value, version = KeyKind[saved["kind"]], bytes.fromhex(saved["value"]), int(saved["version"])
    return AesKey(value, version) if kind is KeyKind.AES else CardKey(value, version, kind)


def _from_application(application: Application) -> dict[str, Any]:
    rules = application.key_set_rules
    return {
        "aid": application.aid.hex(),
        "keys": [_from_key(key) for key in application.keys],
        "files": [_from_file(file) for file in application.files.values()],
        "key_settings": application.key_settings,
        "key_set_rules": None if rules is None else [rules.count, rules.max_key_length, rules.roll_key],
        "set_version": application.set_version,
        "prepared_sets": {
            str(number): {
                "keys": [_from_key(key) for key in prepared.keys],
                "version": prepared.version,
                "is_final": prepared.is_final,
            }
            for number, prepared in application.prepared_sets.items()
        },
        "iso_file_id": application.iso_file_id.hex() if application.iso_file_id else None,
        "df_name": application.df_name.hex(),
        "files_have_iso_ids": application.files_have_iso_ids,
    }


def _to_application(saved: dict[str, Any]) -> Application:
    files = [_to_file(file) for file in saved["files"]]
    return Application(
        bytes.fromhex(saved["aid"]),
        [_to_key(key) for key in saved["keys"]],
        {file.number: file for file in files},
        int(saved["key_settings"]),
        None if saved["key_set_rules"] is None else KeySetRules(*saved["key_set_rules"]),
        int(saved["set_version"]),
        {
            int(number): KeySet([_to_key(key) for key in prepared["keys"]], prepared["version"], prepared["is_final"])
            for number, prepared in saved["prepared_sets"].items()
        },
        bytes.fromhex(saved["iso_file_id"]) if saved["iso_file_id"] else None,
        bytes.fromhex(saved["df_name"]),
        saved.get("files_have_iso_ids"),
    )


def _from_file(file: CardFile) -> dict[str, Any]:
    common = {
        "type": file.type_code,
        "number": file.number,
        "mode": int(file.mode),
        "rights": file.rights.encode().hex(),
        "iso_file_id": file.iso_file_id.hex() if file.iso_file_id else None,
    }
    if isinstance(file, StandardFile):
        return common | {"content": bytes(file.content).hex()}
    if isinstance(file, ValueFile):
        names = ("lower", "upper", "value", "limited_credit", "options")
        return common | {name: getattr(file, name) for name in names}
    if isinstance(file, RecordFile):
        return common | {
            "record_size": file.record_size,
            "capacity": file.capacity,
            "records": [record.hex() for record in file.records],
        }
    raise TypeError(f"unknown file {type(file).__name__}")


def _to_file(saved: dict[str, Any]) -> CardFile:
    number, mode = int(saved["number"]), CommunicationMode(saved["mode"])
    rights = AccessRights.decode(bytes.fromhex(saved["rights"]))
    iso = bytes.fromhex(saved["iso_file_id"]) if saved["iso_file_id"] else None
    kind = saved["type"]
    if kind in (0, 1):
        content = bytearray.fromhex(saved["content"])
        return StandardFile(number, content, mode, rights, backup=kind == 1, iso_file_id=iso)
    if kind == 2:
        numbers = (int(saved[name]) for name in ("lower", "upper", "value", "limited_credit", "options"))
        return ValueFile(number, mode, rights, *numbers, iso_file_id=iso)
    records = [bytes.fromhex(record) for record in saved["records"]]
    size, capacity = int(saved["record_size"]), int(saved["capacity"])
    return RecordFile(number, mode, rights, size, capacity, kind == 4, records, iso_file_id=iso)
