# SPDX-License-Identifier: EUPL-1.2
"""The DESFire side of a card in a deck (schema in `cardsim.deck`): issued, also wrongly, or from the factory."""

from pathlib import Path

from cardsim.deck_fields import Fields
from cardsim.desfire import DesfireApplet
from cardsim.desfire_data import AccessRights, Application, StandardFile
from cardsim.desfire_memory import Chip
from cardsim.faults import StolenIdentity
from cardsim.personalise import (
    APPLICATION_MASTER_KEY,
    FILE_NUMBER,
    CardKeys,
    UseKeys,
    derive_card_keys,
    derive_picc_key,
    desfire_with,
    factory_desfire,
    use_application,
)

MAX_FILE_LENGTH = 4096
MAX_KEY_NUMBER = 15


def desfire_from(fields: Fields) -> tuple[DesfireApplet, str | None]:
    """The applet, and the name of the file that keeps it.

    Raises:
        DeckError: if a member breaks the schema.
        PersonalisationError: if the members do not make a card.
    """
    uid = fields.octets("uid", 7, 7) if fields.has("uid") else None
    memory_file = fields.text("memory_file") if fields.has("memory_file") else None
    if memory_file is not None and Path(memory_file).name != memory_file:
        raise fields.complaint("memory_file", "a file name without a folder is expected")
    if fields.has("factory"):
        return _factory(fields, uid), memory_file
    one_key_set = fields.flag("one_key_set")
    applications = [_application(Fields(use, where), fields, one_key_set) for use, where in fields.items("uses")]
    picc_key = _picc_key(fields)
    chip = _chip(fields, "chip") if fields.has("chip") else None
    shows_uid = fields.flag("shows_uid")
    fields.finish()
    applet = desfire_with(applications, uid=uid, picc_key=picc_key)
    if chip is not None:
        applet.memory.chip = chip
    applet.memory.configuration.random_uid = not shows_uid
    return applet, memory_file


def stolen_from(fields: Fields) -> list[StolenIdentity]:
    """What a cloner takes from the uses that are described.

    Raises:
        DeckError: if a member breaks the schema.
        PersonalisationError: if the members do not make a card.
    """
    keys = [_keys(Fields(use, where), _system_id(fields)) for use, where in fields.items("uses")]
    desfire_from(fields)
    return [StolenIdentity(one.aid_as_sent, one.locate_key, one.generation, one.number) for one in keys]


def _factory(fields: Fields, uid: bytes | None) -> DesfireApplet:
    chip = _chip(fields, "factory")
    capacity = fields.integer("capacity_bytes", 4096, 8192) if fields.has("capacity_bytes") else 8192
    fields.finish()
    return factory_desfire(chip=chip, capacity_bytes=capacity, uid=uid)


def _chip(fields: Fields, name: str) -> Chip:
    chip = fields.text(name)
    if chip not in Chip.__members__:
        raise fields.complaint(name, f"one of {', '.join(Chip.__members__)} is expected")
    return Chip[chip]


def _picc_key(fields: Fields) -> bytes | None:
    picc_key = fields.octets("picc_master", 16, 16) if fields.has("picc_master") else None
    if not fields.has("badge_number"):
        return picc_key
    if picc_key is None:
        raise fields.complaint("picc_master", "a badge number needs the master it diversifies")
    system_id, badge_number = fields.octets("system_id", 1, 16), fields.octets("badge_number", 12, 12)
    return derive_picc_key(system_id, picc_master=picc_key, badge_number=badge_number)


def _system_id(fields: Fields) -> bytes:
    return fields.octets("system_id", 1, 16) if fields.has("system_id") else b""


def _application(use: Fields, card: Fields, one_key_set: bool) -> Application:
    """The application of one use, with what is wrong in its file 1."""
    content = use.octets("file", 0, MAX_FILE_LENGTH) if use.has("file") else None
    read_key = use.integer("read_key", 0, MAX_KEY_NUMBER) if use.has("read_key") else None
    application = use_application(_keys(use, _system_id(card)), one_key_set=one_key_set)
    file = application.files[FILE_NUMBER]
    if content is not None and isinstance(file, StandardFile):
        file.content = bytearray(content)
    if read_key is not None:
        file.rights = AccessRights(read_key, *(APPLICATION_MASTER_KEY,) * 3)
    if content == b"":
        application.files.clear()
    return application


def _keys(fields: Fields, system_id: bytes) -> CardKeys:
    aid, number = fields.octets("aid_as_sent", 3, 3), fields.octets("number", 12, 12)
    generation = fields.integer("generation", 1, 255)
    locate_key = fields.octets("locate_key", 16, 16)
    as_held = fields.has("application_key") or fields.has("proof_key")
    suffix = "key" if as_held else "master"
    application, proof = (fields.octets(f"{name}_{suffix}", 16, 16) for name in ("application", "proof"))
    fields.finish()
    if as_held:
        return CardKeys(aid, application, proof, locate_key, generation, number)
    return derive_card_keys(system_id, UseKeys(aid, application, proof, locate_key, generation, number))
