# SPDX-License-Identifier: EUPL-1.2
"""What the page of encoding calls jobs, their states, steps and troubles."""

from collections.abc import Mapping
from typing import Any, Final

from cardservice.cards.encoding.rules import JobKind, JobState, Trouble
from cardservice.cards.pages import USES as ALL_USES
from cardservice.web.i18n import marked

KINDS: Final[Mapping[str, str]] = {
    JobKind.ENCODE: marked("Encode"),
    JobKind.REGISTER: marked("Register as it is"),
    JobKind.ERASE: marked("Erase"),
    JobKind.REKEY: marked("New keys"),
    JobKind.PROBE: marked("What is this card?"),
}
LAY_ON: Final[Mapping[str, str]] = {
    JobKind.ENCODE: marked("Please lay a blank card on the reader."),
    JobKind.REGISTER: marked("Please lay the card that they have on the reader. Nothing is written to it."),
    JobKind.ERASE: marked("Please lay the card that is to be erased on the reader."),
    JobKind.REKEY: marked("Please lay the card that gets new keys on the reader."),
    JobKind.PROBE: marked("Please lay any card on the reader."),
}
STATES: Final[Mapping[str, str]] = {
    JobState.RUNNING: marked("The card is being written. Please leave it on the reader."),
    JobState.INTERRUPTED: marked("The work was interrupted. Please lay the same card on again: it goes on by itself."),
    JobState.DONE: marked("Done. You can take the card away."),
    JobState.FAILED: marked("This did not work, and cannot be gone on with."),
    JobState.CANCELLED: marked("Cancelled. A card that was begun can be erased, or encoded again."),
}
TROUBLES: Final[Mapping[str, str]] = {
    Trouble.CARD_GONE: marked("The card was taken away too early, or the reader did not answer."),
    Trouble.OTHER_CARD: marked("That is another card than the one that belongs here. Nothing was written to it."),
    Trouble.NOT_DESFIRE: marked("This kind of card cannot be encoded. Nothing was written to it."),
    Trouble.WRONG_CHIP: marked("The chip of this card is too old. Nothing was written to it."),
    Trouble.OCCUPIED: marked("Somebody else's data is on this card. Nothing was written to it."),
    Trouble.CARD_FAULT: marked("The card answered wrongly. Lay it on again; if that does not help, use another blank."),
    Trouble.KEYS_AWAY: marked("The keys cannot be reached at the moment. Lay the card on again in a minute."),
    Trouble.NO_KEYS: marked("A key that this card needs is gone. Please ask whoever looks after the keys."),
    Trouble.CARD_CHANGED: marked("The card was changed in the register meanwhile, so it was not made."),
    Trouble.NOTHING_STABLE: marked("This card cannot be registered: it proves nothing and shows no number that stays."),
    Trouble.NUMBER_ALONE: marked(
        "This card proves nothing: all that it shows is a number, which anybody can copy. Such a number counts in one "
        "building alone, and to a day."
    ),
    Trouble.KNOWN: marked("This card is in the register already, or was. A new key on it makes it a new card."),
    Trouble.USELESS: marked("What this card can do is nothing that the ordered card is for. Please order another one."),
    Trouble.SERVICE: marked("The service could not go on. Lay the card on again; if that does not help, report it."),
}
STEPS: Final[Mapping[str, str]] = {
    "chip": marked("looking at the chip"),
    "card_key": marked("key of the card"),
    "configuration": marked("settings of the card"),
    "application": marked("writing a use"),
    "random_uid": marked("hiding the identifier"),
    "erase": marked("erasing"),
    "check": marked("checking"),
    "state": marked("looking at the card"),
    "keys": marked("writing keys"),
    "finalize": marked("closing the keys"),
    "roll": marked("changing the keys"),
    "number_file": marked("writing the number"),
}
USES: Final[Mapping[str, str]] = {
    "door": marked("Doors"),
    "timeclock": marked("Time clock"),
    "printer": marked("Printing"),
    "canteen": marked("Canteen"),
}
# What a stranger's reader finds, as `chip/open_reading.py` calls it.
PLACES: Final[Mapping[str, str]] = {
    "UID": marked("its number (UID)"),
    "GetVersion: UID": marked("the number of the chip"),
    "GetVersion: production": marked("the date of production"),
    "originality signature": marked("the maker's signature"),
    "application list": marked("the list of its applications"),
    "free memory": marked("its free memory"),
    "key settings of the card": marked("settings of its keys"),
    "key version of the card": marked("the version of its key"),
    "PIV selected by name": marked("its PIV application"),
    "PIV CHUID": marked("the identifier for PIV (CHUID)"),
    "PIV card authentication certificate": marked("its certificate"),
    "key settings": marked("settings of the keys of an application"),
    "key set versions": marked("versions of the keys of an application"),
    "key version": marked("the version of a key of an application"),
    "files": marked("the files of an application"),
    "file settings": marked("settings of a file"),
    "file content": marked("the content of a file"),
}
WORDS: Final[Mapping[str, Any]] = {
    "kinds": KINDS,
    "lay_on": LAY_ON,
    "states": STATES,
    "troubles": TROUBLES,
    "step_words": STEPS,
    "use_words": USES,
    "all_uses": ALL_USES,
    "places": PLACES,
}
